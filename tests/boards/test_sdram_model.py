# amaranth: UnusedElaboratable=no
"""The model of an SDRAM chip accepts what the data sheet allows and names what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sdram_scripts import SCRIPTS, ScriptedChips
from targets import need

from tilewright.boards.memory.sdram_chip import sdram_models
from tilewright.sim.unit import run_bench


@pytest.fixture(scope="module")
def found(tmp_path_factory: Any) -> dict[str, str]:
    """What the model said of each script; all are played at once, each on a chip of its own."""
    need("icarus")
    folder: Path = tmp_path_factory.mktemp("scripts")
    run_bench(
        ScriptedChips(), "sdram_scripts", work_dir=folder, simulator="icarus", models=sdram_models()
    )
    failures: dict[str, str] = json.loads((folder / "failures.json").read_text())
    return failures


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_judged(name: str, found: dict[str, str]) -> None:
    assert found[name] == SCRIPTS[name].failure


def test_every_violation_that_the_model_can_name_is_provoked() -> None:
    [model] = sdram_models().values()
    named = {part.split('"')[1] for part in model.split("fail(")[1:] if part.startswith('"')}
    assert named == {script.failure for script in SCRIPTS.values() if script.failure}
