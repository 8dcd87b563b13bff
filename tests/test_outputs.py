"""Results appear complete or not at all."""

import errno
import json
import re
from pathlib import Path

import pytest

from tilewright.errors import TilewrightError
from tilewright.outputs import staging, to_json


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_new_files_replace_those_of_the_same_name_and_leave_others(tmp_path):
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "old.v").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with staging(tmp_path) as stage:
        (stage / "rtl").mkdir()
        (stage / "rtl" / "new.v").write_text("new")
        (stage / "report.json").write_text("{}")
    assert entries(tmp_path) == ["notes.txt", "report.json", "rtl"]
    assert entries(tmp_path / "rtl") == ["new.v"]


def test_a_failure_leaves_an_existing_folder_as_it_was(tmp_path):
    (tmp_path / "report.json").write_text("old")
    with pytest.raises(ZeroDivisionError), staging(tmp_path) as stage:
        (stage / "report.json").write_text("half")
        raise ZeroDivisionError
    assert entries(tmp_path) == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


def test_a_failure_removes_the_folders_that_were_made_for_it(tmp_path):
    with pytest.raises(ZeroDivisionError), staging(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_clean_error(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "out"
    message = (
        f"^Output directory {re.escape(str(place))} cannot be written: Not a directory; choose"
    )
    with pytest.raises(TilewrightError, match=message), staging(place):
        raise AssertionError("must not begin")


def test_a_full_disk_is_a_clean_error_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(TilewrightError, match="cannot be written: No space left"),
        staging(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert entries(tmp_path) == []


def test_json_has_no_numbers_that_json_does_not_know():
    text = to_json({"a": [1.5, float("nan"), (float("inf"), -float("inf"))], 1: True})
    assert json.loads(text) == {"a": [1.5, None, [None, None]], "1": True}
