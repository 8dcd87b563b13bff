"""The generated pages are those in the repository."""

from pathlib import Path

import pytest

from tilewright.docs import PAGES

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_equals_the_generated_one(name):
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run `make docs`"


def test_every_instruction_field_is_described():
    page = PAGES["isa.md"]()
    assert "`row_beats`" in page and "STORE unit: write the cycle counter" in page
