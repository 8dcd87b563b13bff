"""The example of docs/hls.md is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_documented_example_runs(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "hls.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"\d+ cycles\n", result.stdout)
