"""Showing how far long work is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

__all__ = ["Progress", "show_progress"]

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all (0 if unknown) and what is being done."""


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Give a function that moves a bar on standard error; nothing is shown if `quiet`.

    Where standard error is no terminal, only the last state is written.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("", total=None)

        def move(done: int, total: int, text: str) -> None:
            line = text.splitlines()[0][:60] if text else ""
            bar.update(task, completed=done, total=total or None, description=line)

        yield move
