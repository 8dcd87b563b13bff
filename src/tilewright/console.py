"""What a subcommand gives back, and printing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Outcome", "print_lines", "print_table"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Exit code, result for --json, and how to print it otherwise."""

    code: int
    result: dict[str, Any]
    render: Callable[[Console], None]


def print_lines(console: Console, lines: list[str]) -> None:
    """Print each line as it is."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table of text."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
