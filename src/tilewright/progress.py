"""Showing how far long work is, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

__all__ = ["Progress", "show_progress"]

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all (0 if unknown) and what is being done."""


INTERVAL = 5.0
"""Least seconds between two lines where standard error is no terminal."""


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Give a function that shows progress on standard error; nothing is shown if `quiet`.

    A terminal gets a bar, anything else a line every few seconds and where something else begins; both
    say how much time is left.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda done, total, text: None
    elif console.is_terminal:
        with _bar(console) as move:
            yield move
    else:
        yield _lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total or None, description=text[:60]
        )


def _lines(console: Console) -> Progress:
    last = -INTERVAL
    shown = ""
    seen: tuple[int, int, float] = (0, 0, 0.0)
    """Steps in all and done when a line last had them, and at what time."""

    def move(done: int, total: int, text: str) -> None:
        nonlocal last, seen, shown
        now = time.monotonic()
        begins = done == 0 and text != shown  # something that may take long
        if now - last < INTERVAL and not begins:
            return
        last, shown = now, text
        count = f" ({done}/{total}{_left(done, total, now, seen)})" if total else ""
        seen = (total, done, now)
        console.print(f"{text[:60]}{count}", markup=False, highlight=False)

    return move


def _left(done: int, total: int, now: float, seen: tuple[int, int, float]) -> str:
    """Time left at the speed since the last line; empty without a line of the same work."""
    known, before, since = seen
    if known != total or done <= before:
        return ""
    seconds = round((now - since) * (total - done) / (done - before))
    return f", {seconds // 60}:{seconds % 60:02d} left"
