"""Calibration and test data: .npy and .npz files, arrays, and PyTorch DataLoaders."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.host_side import as_channels_first
from tilewright.graph.ir import Graph, Input
from tilewright.quant.data import check_data

__all__ = ["Data", "as_data", "read_arrays", "read_data"]

LABELS = "labels"

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """Inputs [N, C, H, W] by input name, and int64 labels [N] or None."""

    inputs: dict[str, Array]
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def first(self, count: int) -> Data:
        """The first `count` images (fewer if there are fewer)."""
        labels = None if self.labels is None else self.labels[:count]
        return Data(inputs={n: a[:count] for n, a in self.inputs.items()}, labels=labels)


def read_arrays(path: Path) -> dict[str, Array]:
    """Arrays of an .npz file by name, or the one of an .npy file under the name "".

    Raises
    ------
    TilewrightError
        If the file is missing, truncated or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else _members(loaded)
    except OSError as error:
        raise TilewrightError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise TilewrightError(
            f"{path}: not a .npy or .npz file of plain arrays ({error}); write it with numpy.save "
            "or numpy.savez"
        ) from error


def read_data(path: Path, graph: Graph) -> Data:
    """Data from an .npy file (one input) or an .npz file (arrays by input name, and `labels`).

    In an .npz file of a network with one input, the input's array may have any name.

    Raises
    ------
    TilewrightError
        If the file cannot be read or does not fit the network.
    """
    return as_data(read_arrays(path), graph, what=str(path))


def _members(loaded: Any) -> dict[str, Array]:
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def as_data(source: Any, graph: Graph, *, what: str = "Calibration data") -> Data:
    """Data from an array, a mapping of arrays, or an iterable of batches such as a DataLoader.

    A batch is an array or tensor of inputs, or a pair of inputs and labels.

    Parameters
    ----------
    source : the data; already a `Data` is returned as it is after the same checks
    graph : the network whose inputs it must fit
    what : begins every message

    Raises
    ------
    TilewrightError
        If it does not fit the network's inputs or holds NaN or infinity.
    """
    if isinstance(source, Data):
        data = source
    elif isinstance(source, Mapping):
        data = _from_mapping({n: np.asarray(a) for n, a in source.items()}, graph, what)
    elif isinstance(source, np.ndarray):
        data = _from_mapping({"": source}, graph, what)
    elif isinstance(source, Iterable):
        data = _from_mapping(_from_batches(source, what), graph, what)
    else:
        raise TilewrightError(
            f"{what}: must be an array, arrays by input name or a DataLoader, not "
            f"{type(source).__name__}"
        )
    count = check_data(graph, data.inputs, what=what)
    if data.labels is not None and data.labels.shape != (count,):
        raise TilewrightError(
            f"{what}: labels have shape {list(data.labels.shape)}; give [{count}], one an image"
        )
    return data


def _from_mapping(arrays: dict[str, Array], graph: Graph, what: str) -> Data:
    inputs = dict(arrays)
    labels = inputs.pop(LABELS, None)
    if labels is not None and not np.issubdtype(labels.dtype, np.integer):
        raise TilewrightError(f"{what}: labels must be integers, not {labels.dtype}")
    if len(inputs) == 1 and len(graph.inputs) == 1:
        inputs = {graph.inputs[0].name: next(iter(inputs.values()))}
    layouts = {spec.name: spec for spec in graph.inputs}
    inputs = {n: _as_maps(layouts.get(n), array) for n, array in inputs.items()}
    return Data(inputs=inputs, labels=None if labels is None else labels.astype(np.int64))


def _as_maps(spec: Input | None, array: Array) -> Array:
    """[N, C, H, W] from the layout in which the user's model takes its images."""
    if spec is None:
        return array
    found = as_channels_first(array, spec.shape, spec.layout)
    return array if found is None else found


def _from_batches(batches: Iterable[Any], what: str) -> dict[str, Array]:
    images: list[Array] = []
    labels: list[Array] = []
    for batch in batches:
        first, *rest = batch if isinstance(batch, (list, tuple)) else (batch,)
        images.append(np.asarray(first))
        if rest:
            labels.append(np.atleast_1d(np.asarray(rest[0])))
    if not images:
        raise TilewrightError(f"{what}: is empty; give at least one image")
    result: dict[str, Array] = {"": np.concatenate(images)}
    return {**result, LABELS: np.concatenate(labels)} if labels else result
