"""The study's file: what was measured, by the content that it depends on, and which points were asked for.

It is an SQLite database; a search keeps its Optuna study in the same file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tilewright.errors import TilewrightError
from tilewright.sweep.space import Point

__all__ = ["Store"]

_TABLES = """
CREATE TABLE IF NOT EXISTS tilewright_results (key TEXT PRIMARY KEY, value TEXT NOT NULL, data BLOB);
CREATE TABLE IF NOT EXISTS tilewright_points
    (study TEXT, point TEXT, PRIMARY KEY (study, point)) WITHOUT ROWID;
"""


class Store:
    """Results by key, and points by study, in one file; whatever was put in is there at once.

    Raises
    ------
    TilewrightError
        If the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise TilewrightError(
                f"Study {path} cannot be used: {error}; give an SQLite file that can be written "
                "with --study"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def get(self, key: str) -> dict[str, Any] | None:
        """The result called `key`."""
        query = "SELECT value FROM tilewright_results WHERE key = ?"
        row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def data(self, key: str) -> bytes:
        """The bytes that were put in with the result called `key`, which there is."""
        query = "SELECT data FROM tilewright_results WHERE key = ?"
        found: bytes = self._database.execute(query, (key,)).fetchone()[0]
        return found

    def put(self, key: str, value: dict[str, Any], data: bytes | None = None) -> None:
        """Keep a result, and bytes that belong to it."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO tilewright_results VALUES (?, ?, ?)",
                (key, json.dumps(value), data),
            )

    def points(self, study: str) -> list[Point]:
        """Points that were ever asked for in a study, in a fixed order."""
        query = "SELECT point FROM tilewright_points WHERE study = ?"
        rows = self._database.execute(query, (study,)).fetchall()
        return [Point.from_dict(json.loads(text)) for (text,) in rows]

    def remember(self, study: str, points: Iterable[Point]) -> None:
        """Add points to a study."""
        rows = [(study, json.dumps(point.as_dict(), sort_keys=True)) for point in points]
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO tilewright_points VALUES (?, ?)", rows
            )
