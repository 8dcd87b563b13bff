"""What tests of several folders share."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def simulations(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of compiled simulations: one for all tests, which share Verilator's run-time library.

    Kept between test runs where pytest keeps its cache.
    """
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("simulations") if cache else tmp_path_factory.mktemp("simulations"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that compile simulations: last, one of them would run alone for long."""
    compiling = {item.path for item in items if "simulations" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in compiling)


def pytest_collection_finish() -> None:
    """Leave what was imported out of every search for garbage, and search seldom.

    Torch and Amaranth are a million objects that stay; a fifth of the tests' time went there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
