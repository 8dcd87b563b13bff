"""Program files: what is written is what is read, and damage is named."""

import dataclasses
import json

import pytest

from tilewright.compiler.listing import instructions, listing
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program_file import MAGIC, join
from tilewright.compiler.save import load_program, save_program
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.sim.random_layers import random_network

TARGET = Target(rows=4, cols=4)


@pytest.fixture(scope="module")
def program():
    return compile_network(random_network(0, TARGET), TARGET)


def test_loaded_program_is_the_saved_one(program, tmp_path):
    save_program(program, tmp_path / "net.twp")
    loaded = load_program(tmp_path / "net.twp")
    for field in dataclasses.fields(program):
        assert getattr(loaded, field.name) == getattr(program, field.name)


def test_every_truncation_of_the_file_is_refused(program, tmp_path):
    save_program(program, tmp_path / "net.twp")
    data = (tmp_path / "net.twp").read_bytes()
    for size in range(0, len(data), max(1, len(data) // 40)):
        (tmp_path / "cut.twp").write_bytes(data[:size])
        with pytest.raises(TilewrightError, match=r"^Program file .*cut.twp"):
            load_program(tmp_path / "cut.twp")


def test_a_changed_byte_is_refused(program, tmp_path):
    save_program(program, tmp_path / "net.twp")
    data = bytearray((tmp_path / "net.twp").read_bytes())
    data[-1] ^= 1
    (tmp_path / "net.twp").write_bytes(data)
    with pytest.raises(TilewrightError, match="incomplete or altered"):
        load_program(tmp_path / "net.twp")


def test_another_format_version_is_refused(tmp_path):
    for found in (MAGIC + json.dumps({"version": 99}).encode() + b"\n", join({"version": 99}, b"")):
        (tmp_path / "net.twp").write_bytes(found)
        with pytest.raises(TilewrightError, match="format version 99"):
            load_program(tmp_path / "net.twp")


def test_a_changed_byte_of_the_header_is_refused(program, tmp_path):
    save_program(program, tmp_path / "net.twp")
    data = (tmp_path / "net.twp").read_bytes()
    (tmp_path / "net.twp").write_bytes(data.replace(b'"rows": 4', b'"rows": 5'))
    with pytest.raises(TilewrightError, match="its header is altered"):
        load_program(tmp_path / "net.twp")


def test_missing_file_and_unwritable_place_are_named(program, tmp_path):
    with pytest.raises(TilewrightError, match="cannot be read"):
        load_program(tmp_path / "none.twp")
    with pytest.raises(TilewrightError, match="cannot be written"):
        save_program(program, tmp_path / "none" / "net.twp")


def test_listing_has_one_line_for_each_instruction_and_layer(program):
    lines = listing(program).splitlines()
    assert len([line for line in lines if not line.startswith(";")]) == program.count
    assert [line.split()[1] for line in lines if line.startswith(";")] == [
        region.name for region in program.regions
    ]
    assert lines[-1].split()[1] == "FINISH"
    assert len(instructions(program)) == program.count
