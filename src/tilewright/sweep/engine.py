"""The engine: Dask distributed, on processes of this machine or on a cluster that is there already."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distributed import (
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    Worker,
    WorkerPlugin,
    as_completed,
)

from tilewright.errors import TilewrightError
from tilewright.usercode import load_activations

__all__ = ["Engine"]

CONNECT_SECONDS = 20


class _Activations(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Registers the user's activations in every worker, also in those that come later."""

    def __init__(self, path: Path) -> None:
        self._file, self._content = path.name, path.read_bytes()
        self.name = f"activations-{hashlib.sha256(self._content).hexdigest()[:16]}"

    def setup(self, worker: Worker) -> None:
        """Run the file's content: workers need not have the file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, self._file)
            path.write_bytes(self._content)
            load_activations(str(path))


class Engine:
    """Runs functions on workers.

    What a killed worker was doing, or held, is done again by another: every value that tasks share is
    a task itself.

    Parameters
    ----------
    scheduler : address of a Dask scheduler, "tcp://host:port"; None starts workers on this machine
    workers : so many, one a processor if None; 0 runs in threads of this process
    activations : Python file that registers activations, which the workers shall know

    Raises
    ------
    TilewrightError
        If no scheduler answers.
    """

    def __init__(
        self,
        scheduler: str | None = None,
        workers: int | None = None,
        activations: str | None = None,
    ) -> None:
        self._cluster: LocalCluster | None = None
        if scheduler is None:
            self._cluster = LocalCluster(
                n_workers=max(workers or 1, 1) if workers is not None else os.cpu_count() or 1,
                threads_per_worker=1,
                processes=workers != 0,
                dashboard_address=":0",
                silence_logs="CRITICAL",
            )
        try:
            self.client = Client(self._cluster or scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise TilewrightError(
                f"Option --scheduler: no Dask scheduler answers at {scheduler} ({error}); start one "
                "with `dask scheduler`, or leave the option out"
            ) from error
        if activations is not None and workers != 0:  # threads share what is registered here
            self.client.register_plugin(_Activations(Path(activations)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def share(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """The result of a call that other calls take as an argument; it stays with the workers."""
        return self.client.submit(function, *arguments, pure=False)

    def run(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        """Call `function` with each of `calls`; gives numbers and results as they come.

        Raises
        ------
        TilewrightError
            If a call raises it, or kills worker after worker.
        """
        futures = [self.client.submit(function, *call, pure=False) for call in calls]
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in as_completed(futures):
                try:
                    result = future.result()
                except KilledWorker as error:
                    raise TilewrightError(
                        f"Workers died again and again at the same task ({error}); give each more "
                        "memory, or use fewer with --workers"
                    ) from error
                yield numbers[future.key], result
        finally:
            self.client.cancel(futures)
