"""A page as Chromium shows it, from disk and without a network: drawn, usable, light and dark."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import REPORT

from tilewright.html.writing import write_page
from tilewright.reports import report_dict

pytest.importorskip("plotly")
Image = pytest.importorskip("PIL.Image")

NAMES = ("chromium", "chromium-browser", "google-chrome")
HEIGHT = 4600
DARK = "--blink-settings=preferredColorScheme=0"
STALLED = (0xD9, 0x82, 0x2B)

_WATCH = """<script>
const wrong = [];
window.addEventListener("error", (event) => wrong.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
</script>"""
_USE = """<script>
const timeline = document.getElementById("timeline-picture");
const shown = () => ({
  views: timeline.data.filter((trace) => trace.visible).map((trace) => trace.meta),
  range: timeline.layout.xaxis.range,
});
const controls = document.querySelector(".views");
const choice = controls.querySelector("select");
const found = { first: shown() };
choice.value = "1";
choice.dispatchEvent(new Event("change"));
found.chosen = shown();
controls.querySelectorAll("button")[0].click();
found.zoomed = shown();
controls.querySelectorAll("button")[3].click();
found.moved = shown();
found.wrong = wrong;
found.drawn = [...document.querySelectorAll(".picture")].map((place) => [
  place.id, place.querySelectorAll("svg.main-svg").length, place.getBoundingClientRect().height,
]);
found.reached = [...document.querySelectorAll("a, select, button, summary")].map((e) => e.tabIndex);
found.overflow = document.documentElement.scrollWidth - window.innerWidth;
window.dispatchEvent(new Event("beforeprint"));
const parts = [...document.querySelectorAll("details")];
const widths = () => [...document.querySelectorAll(".picture svg.main-svg")].map(
  (drawing) => drawing.getBoundingClientRect().width);
found.printed = [parts.every((part) => part.open), timeline.layout.template.layout.paper_bgcolor];
found.paper = Math.max(...widths());
window.dispatchEvent(new Event("afterprint"));
found.after = [parts.some((part) => part.open), timeline.layout.template.layout.paper_bgcolor];
found.screen = Math.min(...widths());
document.body.dataset.found = JSON.stringify(found);
</script></body>"""

Browser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "report.html"
    write_page(path, report_dict(REPORT))
    return path


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Open a page with options; CI has to have Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")

    def run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                program,
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"),
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--window-size=1200,{HEIGHT}",
                "--virtual-time-budget=10000",
                *options,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )

    return run


def test_every_picture_is_drawn_used_without_a_mouse_and_printed_light(
    page: Path, browser: Browser, tmp_path: Path
) -> None:
    text = page.read_text("utf-8").replace("<head>", f"<head>{_WATCH}", 1)
    used = tmp_path / "used.html"
    used.write_text(_USE.join(text.rsplit("</body>", 1)), "utf-8")
    dump = browser(used, "--dump-dom", DARK).stdout
    match = re.search(r'data-found="([^"]*)"', dump)
    assert match is not None, dump[-2000:]
    found: dict[str, Any] = json.loads(html.unescape(match[1]))
    assert found["wrong"] == []
    assert len(found["drawn"]) == 7
    for name, drawings, height in found["drawn"]:
        assert drawings > 0 and height > 100, name
    assert found["overflow"] <= 0
    assert min(found["reached"]) >= 0
    assert found["first"]["views"] == ["whole run"] * 2
    assert found["chosen"]["views"] == ["1"] * 2
    first, chosen, zoomed, moved = (
        np.array(found[name]["range"]) for name in ("first", "chosen", "zoomed", "moved")
    )
    assert np.ptp(chosen) < np.ptp(first)  # a short layer fills the picture
    assert np.ptp(zoomed) == pytest.approx(np.ptp(chosen) / 2)
    assert moved - zoomed == pytest.approx(0.4 * np.ptp(zoomed))
    # On paper: all tables, and the light template; afterwards as the reader had it.
    assert found["printed"] == [True, "white"]
    assert found["after"] == [False, "rgb(17,17,17)"]
    assert found["paper"] <= 688 < found["screen"]  # between A4's margins, then the window's again


@pytest.mark.parametrize(
    ("options", "paper"),
    [((), (255, 255, 255)), ((DARK,), (17, 17, 17))],
    ids=["light", "dark"],
)
def test_a_screenshot_has_the_readers_colours_and_the_stalls(
    page: Path, browser: Browser, tmp_path: Path, options: tuple[str, ...], paper: tuple[int, ...]
) -> None:
    shot = tmp_path / "shot.png"
    browser(page, f"--screenshot={shot}", *options)
    with Image.open(shot) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert pixels.shape == (HEIGHT, 1200, 3)
    assert tuple(pixels[0, 0]) == paper
    shares = [(pixels == colour).all(axis=2).mean() for colour in (paper, STALLED)]
    assert shares[0] > 0.5  # figures have the page's paper too
    assert shares[1] * pixels.shape[0] * pixels.shape[1] > 300
