"""The page of a sweep: pairs of objectives as pictures, and the command of each of the best points."""

import json
import shlex
from typing import Any

import pytest

pytest.importorskip("plotly")

from tilewright.html.page import page_text
from tilewright.html.pareto import pareto_sections
from tilewright.html.parts import Copy, copies_html


def test_a_page_shows_each_pair_of_objectives_and_commands_that_reproduce_points(
    sweep, folder, capsys
):
    found = sweep(
        "--board", "ulx3s-85f", "--bits", "4,8", "--arrays", "2x2,4x4", "-o", "page", "--html",
        "--objective", "sqnr_db,cycles,luts", "--min-fps", "1e4",
    )  # fmt: skip
    text = (folder / "page" / "sweep.html").read_text("utf-8")
    for key in ("pareto-sqnr_db-cycles", "pareto-sqnr_db-luts", "pareto-cycles-luts", "front"):
        assert f'<section id="{key}"' in text
    figure = text.split('id="pareto-sqnr_db-cycles-figure">')[1].split("</script>")[0]
    traces = {trace["name"]: trace for trace in json.loads(figure)["data"]}
    assert len(traces["on the front"]["x"]) == len(found["front"])
    assert sum(len(trace["x"]) for trace in traces.values()) == len(found["points"]) == 4
    assert text.count('class="copy"') == len(found["points"]), "also without a mouse"
    point = found["points"][found["front"][0]]
    assert point["command"] in traces["on the front"]["customdata"]
    # The command's words, but for what it measures at the end, find the same point again.
    words = shlex.split(point["command"])
    assert words[:3] == ["tilewright", "sweep", "net.onnx"] and words[-3:] == [
        "--only",
        "--confirm",
        "1",
    ]
    alone = sweep(*words[5:-2], "-o", "page", "--objective", "sqnr_db,cycles,luts")
    assert alone["measured_now"] == 0
    (only,) = alone["points"]
    assert {k: v for k, v in only.items() if k != "violations"} == {
        k: v for k, v in point.items() if k != "violations"
    }


def test_commands_of_points_off_the_front_stand_once_under_a_pictures_numbers():
    names = ("accuracy", "sqnr_db", "cycles", "fps", "luts", "ffs", "dsps", "brams", "memory_bytes",
             "fmax_mhz", "clock_mhz")  # fmt: skip
    point: dict[str, Any] = dict.fromkeys(names, 1.0) | {"violations": {}}
    best, other = (point | {"name": name, "command": f"try {name}"} for name in ("best", "other"))
    first, *rest = pareto_sections([best, other], [0], ("accuracy", "cycles", "luts"))
    assert first.copies == (Copy("other", "try other"),)
    assert not any(section.copies for section in rest)
    assert "try other" in page_text("t", {}, [first]).split("<details>")[1].split("</details>")[0]


def test_texts_to_copy_cannot_leave_their_attribute():
    assert 'data-text="&quot;&gt;&lt;b&gt;"' in copies_html([Copy("a", '"><b>')])
    assert copies_html([]) == ""
