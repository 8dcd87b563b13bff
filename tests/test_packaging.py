"""What is installed, and what importing it costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import tilewright

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_folder_with_modules_is_a_listed_package():
    source = ROOT / "src" / "tilewright"
    found = {"tilewright"}
    for folder in source.iterdir():
        if folder.is_symlink():
            assert (folder / "__init__.py").is_file(), f"{folder} is no package"
            modules = folder.resolve().rglob("__init__.py")
            inner = (m.parent.relative_to(ROOT) for m in modules)
            found |= {".".join(("tilewright", *path.parts)) for path in inner}
        elif (folder / "__init__.py").is_file():
            found.add(f"tilewright.{folder.name}")
    assert sorted(found) == PROJECT["tool"]["setuptools"]["packages"]


def test_the_version_is_the_same_everywhere():
    assert tilewright.__version__ == PROJECT["project"]["version"]
    assert f"## [{tilewright.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if not line.startswith("#")}
    groups = [PROJECT["project"]["dependencies"]]
    groups += PROJECT["project"]["optional-dependencies"].values()
    names = {dep.split(">")[0].split("[")[0].strip().lower() for group in groups for dep in group}
    assert names - {"tilewright"} <= pinned


def test_importing_the_package_and_the_command_line_needs_no_torch_and_no_simulator():
    code = (
        "import sys, tilewright, tilewright.cli\n"
        "print(sorted({'torch', 'cocotb', 'amaranth', 'onnxruntime'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
