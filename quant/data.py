"""Checking and scaling of what the user feeds to a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.host_side import normalized
from tilewright.graph.ir import Graph, Input

__all__ = ["check_data", "normalize", "prepare"]


def check_data(graph: Graph, data: Mapping[str, npt.NDArray[np.generic]], *, what: str) -> int:
    """Number of images in `data`, after checking it against the inputs of `graph`.

    Parameters
    ----------
    graph : the network
    data : one array [N, C, H, W] per graph input, the same N for all, N >= 1
    what : what the data are for, as in "Calibration data"; begins every message

    Raises
    ------
    TilewrightError
        If an input is missing, unknown, empty, of a wrong shape or holds NaN or infinity.
    """
    known = [i.name for i in graph.inputs]
    for name in data:
        if name not in known:
            raise TilewrightError(
                f"{what}: the network has no input {name!r}; its inputs are {', '.join(known)}"
            )
    counts = {i.name: _check_input(i, data, what) for i in graph.inputs}
    if len(set(counts.values())) != 1:
        raise TilewrightError(
            f"{what}: every input needs the same number of images, not "
            + ", ".join(f"{count} for {name!r}" for name, count in counts.items())
        )
    return next(iter(counts.values()))


def _check_input(spec: Input, data: Mapping[str, npt.NDArray[np.generic]], what: str) -> int:
    expected = f"an array of shape [N, {', '.join(map(str, spec.shape))}]"
    if spec.name not in data:
        raise TilewrightError(f"{what}: input {spec.name!r} is missing; give {expected}")
    array = data[spec.name]
    if array.ndim != 4 or array.shape[1:] != spec.shape:
        raise TilewrightError(
            f"{what}: input {spec.name!r} has shape {list(array.shape)}; give {expected}"
        )
    if len(array) == 0:
        raise TilewrightError(
            f"{what}: input {spec.name!r} has no images; give {expected} with N of at least 1"
        )
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise TilewrightError(
            f"{what}: input {spec.name!r} holds {array.dtype} values; give {expected} of real numbers"
        )
    if not np.isfinite(array).all():
        raise TilewrightError(
            f"{what}: input {spec.name!r} holds NaN or infinity; give {expected} of finite numbers"
        )
    return len(array)


def normalize(spec: Input, raw: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """What the network sees of `raw` [N, C, H, W]: (raw - mean) * scale, in float32."""
    return normalized(raw, spec.mean, spec.scale)


def prepare(
    graph: Graph, calibration: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Checked and normalized calibration data, in the order of the graph's inputs."""
    check_data(graph, calibration, what="Calibration data")
    for name, values in calibration.items():
        if values.size > 1 and values.min() == values.max():
            raise TilewrightError(
                f"Calibration data: input {name!r} is {float(values.min()):g} everywhere, which says "
                "nothing about its range; give real inputs"
            )
    return {i.name: normalize(i, calibration[i.name]) for i in graph.inputs}
