"""Markdown tables of results, and where results come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["origin", "plain", "table"]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table, numbers to the right."""
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *(list(row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def origin(content: Mapping[str, Any]) -> list[str]:
    """Command, machine, load and versions of a result that `measuring.save` wrote."""
    machine = content["machine"]
    load = ", ".join(str(value) for value in content["load_average"])
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return [
        (
            f"`{content['command']}` on {machine['processor']}, {machine['cores']} cores, "
            f"{machine['memory_gb']} GB, Python {machine['python']}; load average at the end {load} "
            f"(1, 5, 15 minutes); {versions}."
        )
    ]


def plain(content: Any) -> list[str]:
    """Any result: a list of records as a table, everything else as a list of points."""
    if isinstance(content, list):
        keys = list(dict.fromkeys(key for record in content for key in record))
        rows = ([_cell(record.get(key)) for key in keys] for record in content)
        return table(keys, rows)
    own = {k: v for k, v in content.items() if k not in ("command", "machine", "load_average")}
    own.pop("versions", None)
    lines = [f"- {name}: {_cell(value)}" for name, value in _scalars(own)]
    for name, value in own.items():
        if _is_records(value):
            lines += ["", f"{name}:", "", *plain(value)]
    return lines


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def _scalars(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}, ")
        elif not _is_records(value):
            yield f"{prefix}{name}", value


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
