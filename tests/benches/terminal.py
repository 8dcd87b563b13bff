"""A pseudo-terminal behind which a board in Python answers."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Iterator

from board_model import BoardModel

__all__ = ["terminal"]


@contextlib.contextmanager
def terminal(board: BoardModel | None) -> Iterator[str]:
    """Name of the terminal; nobody answers if `board` is None."""
    master, slave = os.openpty()
    tty.setraw(slave)
    stop_read, stop_write = os.pipe()

    def serve() -> None:
        while True:
            ready, _, _ = select.select([master, stop_read], [], [])
            if stop_read in ready:
                return
            data = os.read(master, 4096)
            if board is not None:
                board.write(data)
                os.write(master, board.read(0.0))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.write(stop_write, b"x")
        thread.join()
        for handle in (master, slave, stop_read, stop_write):
            os.close(handle)
