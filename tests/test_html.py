"""The pages of --html: one file, nothing from elsewhere, each picture with its numbers."""

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pages import EVIL, REPORT, RESULTS, compressed, simulated

from tilewright.cli import main
from tilewright.html.parts import Section, Table, format_name, label, table_html
from tilewright.html.writing import write_page
from tilewright.outputs import to_json
from tilewright.reports import report_dict

pytest.importorskip("plotly")


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.figures: dict[str, Any] = {}
        self.tables = self.sections = 0
        self.names: list[str] = []
        self._figure = ""
        self._header = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("src", "href", "data", "action") if name in found]
        self._figure = found["id"] if found.get("class") == "figure" else ""
        self.tables += tag == "table"
        self.sections += tag == "section"
        self._header = found.get("scope") == "row"

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures[self._figure] = json.loads(data)
        if self._header:
            self.names.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._figure, self._header = "", False


def read(folder: Path, command: str, result: dict[str, Any]) -> tuple[str, Page]:
    path = folder / f"{command}.html"
    write_page(path, result)
    text = path.read_text("utf-8")
    return text, Page(text)


@pytest.fixture(scope="module", params=RESULTS)
def page(request, tmp_path_factory):
    """Text and content of each command's page."""
    folder = tmp_path_factory.mktemp("pages")
    return read(folder, request.param, RESULTS[request.param]())


def test_a_page_needs_nothing_from_elsewhere(page):
    text, found = page
    assert found.links and all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert "default-src 'none'" in text
    assert len(text.encode()) < 6_000_000


def test_ids_are_unique_and_every_picture_has_data_and_a_table(page):
    _, found = page
    assert len(found.ids) == len(set(found.ids))
    assert found.tables == found.sections >= len(found.figures) > 0
    for name, figure in found.figures.items():
        assert name.replace("-figure", "-picture") in found.ids
        assert any(trace.get("x") or trace.get("median") for trace in figure["data"])
        assert "template" not in figure["layout"]


def test_names_from_the_network_are_text_wherever_they_stand(page):
    text, found = page
    assert EVIL in found.names
    assert "<a href='http://x.invalid'" not in text
    figures = json.dumps(found.figures)
    assert "&lt;/script&gt;" in figures and "</script" not in figures


def test_a_roofline_has_each_layer_with_multiplications_under_the_roof(tmp_path):
    _, found = read(tmp_path, "report", report_dict(REPORT))
    roof, compute, memory = found.figures["roofline-figure"]["data"]
    assert roof["x"][1] == 256 / 8 and roof["y"][1:] == [256, 256]
    assert (compute["x"], compute["y"]) == ([9000 / 4000], [4.5])
    assert memory["y"] == [0.05]


def test_a_network_has_each_layer_below_what_it_reads_and_its_bound(tmp_path):
    _, found = read(tmp_path, "report", report_dict(REPORT))
    straight, bent, *nodes = found.figures["network-figure"]["data"]
    assert straight["y"] == [0, 1, None, 1, 2, None]
    assert bent["y"] == [0, 1, 2, None] and bent["x"][1] < 0  # around the layer in between
    assert {trace["name"]: trace["y"] for trace in nodes} == {
        "compute-bound": [1],
        "memory-bound": [2],
        "input": [0],
    }
    assert "8 b, +3" in nodes[0]["text"][0]


def test_a_timeline_shows_the_run_or_a_layer_and_stalls_before_work(tmp_path):
    text, found = read(tmp_path, "report", report_dict(REPORT))
    traces = found.figures["timeline-figure"]["data"]
    assert [(t["meta"], t["name"]) for t in traces] == [
        (view, name) for view in ("whole run", "0", "1") for name in ("at work", "stalled")
    ]
    assert [trace["visible"] for trace in traces] == [True, True, False, False, False, False]
    work, stalls = traces[:2]
    assert (work["y"], work["base"], work["x"]) == (["CALC", "LOAD"], [40, 15], [50, 15])
    assert (stalls["y"], stalls["base"], stalls["x"]) == (["CALC", "LOAD"], [90, 10], [5, 5])
    assert '<option value="1">fc: 1 of 1 instructions</option>' in text
    assert text.count("<button") == 4 and text.count("<select>") == 1  # no mouse is needed


def test_what_the_hardware_takes_is_drawn_as_a_share_of_the_board(tmp_path):
    _, found = read(tmp_path, "report", report_dict(REPORT))
    estimated, measured = found.figures["hardware-figure"]["data"]
    assert (estimated["x"], measured["x"]) == ([50.0], [60.0])


def test_a_simulation_says_first_where_the_rtl_differs(tmp_path):
    text, found = read(tmp_path, "simulate", simulated())
    assert found.links[0] == "#mismatches" and "0, 1, 2</td><td>5</td><td>-7" in text
    text, found = read(tmp_path, "simulate", {**simulated(), "mismatches": [[]]})
    assert "#mismatches" not in found.links


def test_a_compression_shows_accuracy_over_parameters_and_bytes_of_each_layer(tmp_path):
    text, found = read(tmp_path, "compress", compressed())
    (stages,) = found.figures["stages-figure"]["data"]
    assert (stages["x"], stages["y"]) == ([1000, 250], [90.0, 88.0])
    plain, coded = found.figures["bytes-figure"]["data"]
    assert (plain["x"], coded["x"]) == ([900, 900], [300, None])
    assert "1,200 of 1,800 bytes" in text


def test_sections_of_what_is_not_known_are_left_out(tmp_path):
    bare = dataclasses.replace(REPORT, timeline=None, resources=(), board=None)
    _, found = read(tmp_path, "report", report_dict(bare))
    assert not {"timeline", "hardware"} & set(found.ids)


def test_ranges_are_drawn_as_shares_of_the_largest_magnitude(tmp_path):
    _, found = read(tmp_path, "report", report_dict(REPORT))
    bar, box, _ = found.figures["ranges-figure"]["data"]
    assert bar["base"] == [-1.0, -1.0] and bar["x"][0] == pytest.approx(31.875 / 16)
    assert (box["lowerfence"][0], box["median"][0]) == (-1.25, 0.5 / 16)


def test_formats_and_tables_read_as_written():
    assert format_name(8, 3) == "Q5.3" and format_name(4, -2) == "Q6.-2"
    assert label("<b>&") == "&lt;b&gt;&amp;"
    table = Table(columns=("a", "b"), rows=(("<x>", "1"),))
    assert "<th scope='row'>&lt;x&gt;</th><td>1</td>" in table_html(table)
    assert Section(key="k", title="t", text="", table=table).figure is None


def test_without_plotly_the_message_names_the_extra(tmp_path, capsys, monkeypatch):
    def missing(name: str, *rest: Any) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("tilewright.html.writing.importlib.import_module", missing)
    assert main(["quantize", "none.onnx", "--html", "-q"]) == 2
    assert "This needs plotly, which is missing: pip install 'tilewright[report]'" in (
        capsys.readouterr().err
    )


def test_one_tile_has_no_page(capsys):
    assert main(["simulate", "none.onnx", "--layer", "a", "--tile", "0", "--html", "-q"]) == 2
    assert "--html is not for --tile" in capsys.readouterr().err


def test_a_board_that_needs_vivado_has_no_page(capsys):
    assert main(["build", "none.onnx", "--board", "arty-z7-20", "--html", "-q"]) == 2
    assert "--html is not for boards that need Vivado" in capsys.readouterr().err


def test_the_json_beside_a_page_holds_what_it_shows():
    found = json.loads(to_json(report_dict(REPORT)))
    assert found["hardware"]["rows"] == 16 and found["edges"][0] == ["x", EVIL]
    assert found["layers"][1]["sqnr_db"] is None and found["ranges"][0]["low"] == -16.0
