"""Every command and code block of the documentation is run as it stands there.

Blocks run page after page in one folder, so that a page may use what an earlier one made; a block with
`title="FILE"` is written to that file. Only blocks behind `<!-- not run: REASON -->` are left out, and
only for one of the REASONS.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tilewright import cli
from tilewright.graph import functions

ROOT = Path(__file__).parents[1]
PAGES = [
    f"docs/{name}"
    for name in re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
]
REASONS = {
    *("needs a board", "needs other machines", "needs a larger network"),
    *("takes minutes", "installs packages"),
}
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>\n]*) -->\n+)?"
    r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what it is and why it is not run, if it is not."""

    place: str
    language: str
    title: str
    text: str
    reason: str | None


def blocks(page: str) -> list[Block]:
    content = (ROOT / page).read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(content):
        line = content[: match.start("text")].count("\n")
        title = re.search(r'title="([^"]+)"', match["options"])
        found.append(
            Block(f"{page}:{line}", match["language"], title[1] if title else "", match["text"],
                  match["reason"])
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documentation")


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """What Python blocks have defined."""
    return {"__name__": "__main__"}


@pytest.fixture(autouse=True)
def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Imports and registered activations of a page, or of other tests, do not reach the next page."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(functions, "_functions", {})
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for block in (block for page in PAGES for block in blocks(page) if block.title):
        monkeypatch.delitem(sys.modules, Path(block.title).stem, raising=False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run_commands(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case []:
                continue
            case ["tilewright", *arguments]:
                assert cli.main(arguments) == 0, f"{block.place}: {line}"
            case ["python", script]:
                runpy.run_path(script, run_name="__main__")
            case _:
                raise AssertionError(f"{block.place}: cannot run {line!r}")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, names: dict[str, object]) -> None:
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text, "utf-8")
        elif block.reason is not None or block.language in ("", "text"):
            continue
        elif block.language == "python":
            padding = "\n" * int(block.place.rpartition(":")[2])
            exec(compile(padding + block.text, str(ROOT / page), "exec"), names)  # noqa: S102
        elif block.language == "sh":
            run_commands(block)
        elif block.language == "toml":
            tomllib.loads(block.text)
        else:
            assert block.language == "json", f"{block.place}: unknown language {block.language}"
            json.loads(block.text)


def test_what_is_not_run_says_why() -> None:
    skipped = {b.place: b.reason for page in PAGES for b in blocks(page) if b.reason is not None}
    assert set(skipped.values()) <= REASONS, skipped


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed (the extra `docs`)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        assert (tmp_path / Path(page).with_suffix(".html").name).is_file()


def test_the_readme_s_command_lines_are_accepted():
    text = (ROOT / "README.md").read_text("utf-8")
    lines = re.findall(r"^    tilewright (\w[^|\n]*)$", text, re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        cli._parser().parse_args(shlex.split(line, comments=True))
