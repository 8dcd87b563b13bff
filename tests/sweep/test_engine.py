"""The engine on a real cluster of processes: nothing is lost with a worker, and a cluster may be given."""

import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")
from distributed import LocalCluster

from tilewright.errors import TilewrightError
from tilewright.sweep.engine import Engine


def held(value: int) -> tuple[int, int]:
    return value, os.getpid()


def work(shared: tuple[int, int], number: int, folder: Path) -> int:
    """A task that says in a file that it has begun, and by which process."""
    (folder / f"{number}-{os.getpid()}").touch()
    time.sleep(0.3)
    return shared[0] * number


def test_a_worker_killed_in_the_middle_loses_nothing_and_its_task_is_done_again(tmp_path):
    with Engine(workers=2) as engine:
        shared = engine.share(held, 10)
        victim = shared.result()[1]  # the process that alone holds what all tasks need
        results = {}
        for number, result in engine.run(work, [(shared, n, tmp_path) for n in range(8)]):
            results[number] = result
            if len(results) == 1:
                os.kill(victim, signal.SIGKILL)
        assert results == {n: 10 * n for n in range(8)}
    begun = [path.name for path in tmp_path.iterdir()]
    assert any(name.endswith(f"-{victim}") for name in begun)
    assert len(begun) > 8  # what the victim was doing was begun once more


def test_a_cluster_that_is_there_is_used():
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Engine(cluster.scheduler_address) as engine,
    ):
        assert list(engine.run(divmod, [(7, 2)])) == [(0, (3, 1))]


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("tilewright.sweep.engine.CONNECT_SECONDS", 1)
    with pytest.raises(TilewrightError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        Engine("tcp://127.0.0.1:9")


def test_what_a_call_raises_is_raised():
    with Engine(workers=0) as engine, pytest.raises(ZeroDivisionError):
        list(engine.run(divmod, [(7, 0)]))
