"""Interrupting the search for fractional lengths, and going on where it was.

Kept are the layers that are done and the log. Feature maps are not: they are computed again, by the
same arithmetic, so that the result is the same as without the interruption.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph, Layer
from tilewright.quant.candidates import Candidate, Step
from tilewright.quant.checkpoint import read_archive, write_archive
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import fix_slope
from tilewright.quant.fixed import FixedLayer
from tilewright.quant.formats import QFormat

__all__ = ["Keeper", "SearchState"]

_WHAT = "calibration"
_SECONDS = 10.0
"""Between two writings."""
_NUMBERS = ("weight_bits", "lo", "hi")
_ARRAYS = ("weight", "weight_frac", "acc_frac", "bias")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchState:
    """How far a search has come: the layers that are done, and every step that led to them."""

    layers: tuple[FixedLayer, ...]
    log: tuple[Step, ...]


class Keeper:
    """Keeps a search's state in a file.

    Parameters
    ----------
    path : .npz file; its folder is made with it
    graph, data, config : what is searched; a file made of something else is refused
    """

    def __init__(
        self,
        path: Path,
        graph: Graph,
        data: Mapping[str, npt.NDArray[np.float32]],
        config: QuantConfig,
    ) -> None:
        self._path, self._graph = path, graph
        self._identity = _identity(graph, data, config)
        self._state: SearchState | None = None
        self._written = time.monotonic()

    def load(self) -> SearchState | None:
        """The state in the file; None if there is no file.

        Raises
        ------
        TilewrightError
            If the file is damaged, or of another network, other data or other options.
        """
        if not self._path.exists():
            return None
        about, arrays = read_archive(self._path, _WHAT)
        if about.get("identity") != self._identity:
            raise TilewrightError(
                f"{self._path}: a calibration of another network, other images or other options; "
                "give the same ones, or remove it to begin anew"
            )
        done = zip(about["layers"], self._graph.layers, strict=False)
        return SearchState(
            layers=tuple(_layer(found, layer, arrays) for found, layer in done),
            log=tuple(_step(found) for found in about["log"]),
        )

    def keep(self, state: SearchState) -> None:
        """Take note of a state, and write it if the last writing was some seconds ago."""
        self._state = state
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> int:
        """Write the last state now; returns how many layers it has."""
        if self._state is None:
            return 0
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        layers = []
        for layer in self._state.layers:
            found = {name: getattr(layer, name) for name in _NUMBERS}
            layers.append({**found, "output": dataclasses.astuple(layer.output)})
            for name in _ARRAYS:
                if getattr(layer, name) is not None:
                    arrays[f"{layer.name}/{name}"] = _narrow(getattr(layer, name))
        log = [dataclasses.asdict(step) for step in self._state.log]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TilewrightError(f"{self._path}: cannot be written: {error.strerror}") from error
        write_archive(
            self._path, {"identity": self._identity, "layers": layers, "log": log}, arrays
        )
        self._written = time.monotonic()
        return len(layers)

    def remove(self) -> None:
        """Remove the file: the search is over."""
        if self._path.exists():
            self._path.unlink()


def _identity(
    graph: Graph, data: Mapping[str, npt.NDArray[np.float32]], config: QuantConfig
) -> str:
    digest = hashlib.sha256(repr(config).encode())
    for name, values in data.items():
        digest.update(repr((name, values.shape)).encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    for layer in graph.layers:
        arrays = () if layer.conv is None else (layer.conv.weight, layer.conv.bias)
        plain = (
            None
            if layer.conv is None
            else dataclasses.replace(
                layer.conv, weight=np.zeros((0,) * 4, np.float32), bias=np.zeros(0, np.float32)
            )
        )
        digest.update(repr(dataclasses.replace(layer, conv=None)).encode())
        digest.update(repr(plain).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """`values` in the smallest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return values.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))


def _layer(found: Mapping[str, Any], layer: Layer, arrays: Mapping[str, Any]) -> FixedLayer:
    constants: dict[str, Any] = {}
    for name in _ARRAYS:
        array = arrays.get(f"{layer.name}/{name}")
        constants[name] = None if array is None else array.astype(np.int64)
    constants |= {name: found[name] for name in _NUMBERS}
    output = QFormat(*found["output"])
    return FixedLayer(layer=layer, output=output, leaky=fix_slope(layer.activation), **constants)


def _step(found: Mapping[str, Any]) -> Step:
    candidates = tuple(Candidate(**candidate) for candidate in found["candidates"])
    return Step(**{**found, "candidates": candidates, "channels": tuple(found["channels"])})
