"""Measuring points: whatever the study's file does not know yet goes to the workers, and then into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tilewright.boards.registry import get_board
from tilewright.boards.tools import check_tools, versions
from tilewright.errors import TilewrightError
from tilewright.progress import Progress
from tilewright.sweep.digest import code_digest, digest
from tilewright.sweep.measure import (
    Source,
    measure_cycles,
    measure_float,
    measure_setting,
    open_network,
    shape,
    timing,
)
from tilewright.sweep.space import Hardware, Point, Setting
from tilewright.sweep.store import Store

if TYPE_CHECKING:
    from distributed import Future

    from tilewright.sweep.engine import Engine

__all__ = ["Evaluator", "study_key"]

_CHUNK = 16
"""Most jobs of a task: what is in one is done again after a worker's death."""

Result = dict[str, Any]

_SETTING = ("graph", "compress", "quant", "api.py", "planning.py", "shrinking.py", "compression.py",
            "sweep/measure.py")  # fmt: skip
_CONFIRMING = ("boards", "boards.memory", "boards.link", "hw", "hw.hls", "hw.multipliers", "sim",
               "sweep/confirm.py", "sweep/synthesis.py")  # fmt: skip
"""Tilewright's own source that accuracies, and measurements of a design, depend on."""


def study_key(source: Source) -> str:
    """Hash of what accuracies depend on besides the setting: network, images, options, code."""
    config = source.config
    train = config.compress.train
    return digest(
        code_digest(*_SETTING),
        source.graph,
        source.calibration,
        source.test,
        dataclasses.replace(config.quant, weight_bits=8, feature_bits=8, average_bits=None),
        dataclasses.replace(config.compress, methods=None, train=None),
        None if train is None else Path(train).read_bytes(),
        config.target.acc_bits,
        config.target.activations,
    )


class Evaluator:
    """Measures settings and points, each once.

    Parameters
    ----------
    connect : starts the engine; called only if something is unknown
    latency : of the memory where there is no board

    Attributes
    ----------
    study : name of the study within the file
    measured : results that were not known before
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        connect: Callable[[], Engine],
        latency: int,
        progress: Progress,
    ) -> None:
        self._source, self._store, self._connect = source, store, connect
        self._latency, self._progress = latency, progress
        self._engine: Engine | None = None
        self._shared: Future | None = None
        self._networks: dict[str, Future] = {}
        self.study = study_key(source)
        self.measured = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.__exit__(kind, error, trace)

    @property
    def engine(self) -> Engine:
        """The engine, started when it is first needed."""
        if self._engine is None:
            self._progress(0, 0, "start the workers")
            self._engine = self._connect()
        return self._engine

    def float_accuracy(self) -> float | None:
        """Accuracy of the float network; None without labels."""
        key = digest("float", self.study)
        found = self._store.get(key)
        if found is None:
            call = (self._source_on_workers(),)
            ((_, found),) = self.engine.run(measure_float, [call])
            self._store.put(key, found)
        accuracy: float | None = found["accuracy"]
        return accuracy

    def settings(self, settings: Iterable[Setting]) -> dict[Setting, Result]:
        """What is known of each setting: accuracy, SQNR, bits; or `error`."""
        wanted = {setting: self._setting_key(setting) for setting in settings}
        unknown = [setting for setting, key in wanted.items() if self._store.get(key) is None]
        if unknown:
            calls = [(self._source_on_workers(), setting) for setting in unknown]
            self._progress(0, len(unknown), "accuracy of settings")
            for done, (number, (found, content)) in enumerate(
                self.engine.run(measure_setting, calls), 1
            ):
                if content is not None:
                    found["network"] = digest(content)
                self._store.put(wanted[unknown[number]], found, content)
                self.measured += 1
                self._progress(done, len(unknown), f"accuracy: {unknown[number]} done")
        return {setting: self._known(key) for setting, key in wanted.items()}

    def points(self, points: Sequence[Point]) -> list[Result]:
        """For each point what is known of its setting, and `cycles` and `memory_bytes`, or `error`."""
        settings = self.settings(dict.fromkeys(point.setting for point in points))
        keys = {
            point: self._cycles_key(settings[point.setting], point.hardware)
            for point in points
            if "error" not in settings[point.setting]
        }
        unknown = {key: point for point, key in keys.items() if self._store.get(key) is None}
        if unknown:
            self._count(unknown)
        return [
            {**settings[point.setting], **(self._known(keys[point]) if point in keys else {})}
            for point in points
        ]

    def confirmed(self, points: Sequence[Point]) -> list[Result]:
        """What synthesis, placement and simulation say of each point; all of them can run."""
        from tilewright.sweep.confirm import confirm

        settings = self.settings(dict.fromkeys(point.setting for point in points))
        keys = [
            digest(
                "confirm",
                self._cycles_key(settings[point.setting], point.hardware),
                code_digest(*_CONFIRMING),
                point.hardware.target.clock_mhz,
                _tools(point.hardware.board),
            )
            for point in points
        ]
        unknown = [i for i, key in enumerate(keys) if self._store.get(key) is None]
        images = self._source.test or self._source.calibration
        calls = [
            (self.network(points[i].setting), points[i].hardware, images.first(1), self._latency)
            for i in unknown
        ]
        if calls:
            self._progress(0, len(calls), "synthesize, place, simulate")
            for done, (number, found) in enumerate(self.engine.run(confirm, calls), 1):
                self._store.put(keys[unknown[number]], found)
                self.measured += 1
                self._progress(done, len(calls), "synthesize, place, simulate")
        return [self._known(key) for key in keys]

    def _count(self, unknown: Mapping[str, Point]) -> None:
        """Cycles of the points not known yet; those of one hardware go together."""
        groups: dict[str, list[str]] = {}
        for key, point in unknown.items():
            hardware = point.hardware
            groups.setdefault(digest(hardware.board, shape(hardware.target)), []).append(key)
        chunks = [
            keys[first : first + _CHUNK]
            for keys in groups.values()
            for first in range(0, len(keys), _CHUNK)
        ]
        calls = [self._call([unknown[key] for key in keys]) for keys in chunks]
        done = 0
        self._progress(done, len(unknown), "cycles of points")
        for number, results in self.engine.run(measure_cycles, calls):
            for key, found in zip(chunks[number], results, strict=True):
                self._store.put(key, found)
            done += len(results)
            self.measured += len(results)
            self._progress(done, len(unknown), "cycles of points")

    def _call(self, points: Sequence[Point]) -> tuple[Any, ...]:
        """Arguments of `measure_cycles`."""
        order = list(dict.fromkeys(point.setting for point in points))
        networks = [self.network(setting) for setting in order]
        jobs = [(order.index(point.setting), point.hardware) for point in points]
        return networks, jobs, self._latency

    def network(self, setting: Setting) -> Future:
        """The setting's quantized network, on the workers."""
        key = self._setting_key(setting)
        if key not in self._networks:
            self._networks[key] = self.engine.share(open_network, self._store.data(key))
        return self._networks[key]

    def _source_on_workers(self) -> Future:
        if self._shared is None:
            self._shared = self.engine.share(_same, self._source)
        return self._shared

    def _setting_key(self, setting: Setting) -> str:
        return digest("setting", self.study, setting)

    def _cycles_key(self, setting: Result, hardware: Hardware) -> str:
        """Hash of everything that cycles, and whether a network can be compiled, depend on."""
        fields = dataclasses.asdict(hardware.target)
        for name in ("name", "prefix", "clock_mhz", "counters"):
            del fields[name]
        memory = timing(hardware, self._latency)
        code = code_digest("compiler", "quant")
        return digest("cycles", code, setting["network"], fields, memory)

    def _known(self, key: str) -> Result:
        found = self._store.get(key)
        assert found is not None, key
        return found


def _tools(board: str | None) -> dict[str, str]:
    """Versions of what places a board's design; none where it is missing: once it is there, it is asked."""
    if board is None:
        return {}
    family = get_board(board).family
    try:
        check_tools(family)
    except TilewrightError:
        return {}
    return versions(family)


def _same(value: Any) -> Any:
    return value
