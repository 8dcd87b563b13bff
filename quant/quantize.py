"""`quantize`: from a float network and calibration data to a fixed-point one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.quant.candidates import Step
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import prepare
from tilewright.quant.descent import descend
from tilewright.quant.equalize import channel_ranges, equalize
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.rescale import rescale
from tilewright.quant.resume import Keeper
from tilewright.quant.search import Progress, Search
from tilewright.quant.static import search_static

__all__ = ["QuantResult", "quantize"]


@dataclass(frozen=True, slots=True, eq=False)
class QuantResult:
    """A quantized network and the log of every decision that led to it.

    The float network in `fixed.graph` is the equalized one, if `config.equalize` was set: it computes
    what the given one does, but some of its feature maps are shifted or scaled.
    """

    fixed: FixedGraph
    log: tuple[Step, ...]


def quantize(
    graph: Graph,
    calibration: Mapping[str, npt.NDArray[np.generic]],
    config: QuantConfig | None = None,
    *,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> QuantResult:
    """Choose the fractional length of every tensor, and round the weights.

    Dynamic precision is the method of "Going Deeper with Embedded FPGA Platform for CNN" (FPGA
    2016), section 5.2: for weights argmin sum |W - W(bits, frac)|; for feature maps, greedily layer
    by layer, argmin sum |x_float - x_fixed(bits, frac)| on the calibration data with everything
    upstream already fixed. `QuantConfig.paper` is that and no more. By default the network is
    equalized first, errors are squared, every output channel's weights have their own fractional
    length, and are rounded and biased so that the layer's results come closest to float.

    Static precision is the baseline, see `tilewright.quant.static`.

    Parameters
    ----------
    graph : the float network
    calibration : array [N, C, H, W] of raw values for every graph input (before mean and scale)
    config : bits and options; 8-bit dynamic precision by default
    progress : called as progress(steps done, steps in all, last step's text)
    checkpoint : file (.npz) written every few seconds and when the search is interrupted (Ctrl-C),
        continued from if it is there, and removed at the end; the result is the same as without the
        interruption. Static precision, which takes seconds, leaves none. None: none

    Raises
    ------
    TilewrightError
        If the calibration data do not fit the network or hold NaN or infinity, if the weights do,
        if `config` names unknown layers, if a layer's accumulators cannot be made to fit, or if the
        checkpoint is of something else.
    """
    config = config or QuantConfig()
    config.check_names(graph)
    _check_weights(graph)
    data = prepare(graph, calibration)
    if config.static:
        result = search_static(graph, data, config, progress)
        return QuantResult(result.fixed, result.log)
    head: tuple[Step, ...] = ()
    if config.equalize:
        graph, notes = equalize(graph, channel_ranges(graph, data))
        head = tuple(_rewritten(name, note) for name, note in notes.items())
    if config.rescale:
        graph, notes = rescale(graph, data, config)
        head += tuple(_rewritten(name, note) for name, note in notes.items())
    keeper = None if checkpoint is None else Keeper(checkpoint, graph, data, config)
    try:
        result = Search(graph, data, config, progress=progress, keeper=keeper).run()
        fixed, log = result.fixed, head + result.log
        if config.descent:
            fixed, changes = descend(fixed, data, config, progress)
            log += changes
    except KeyboardInterrupt:
        if keeper is not None:
            keeper.write()
        raise
    if keeper is not None:
        keeper.remove()
    return QuantResult(fixed, log)


def _rewritten(name: str, note: str) -> Step:
    return Step(tensor=name, kind="equalized", bits=0, initial=0, candidates=(), frac=0, note=note)


def _check_weights(graph: Graph) -> None:
    for layer in graph.layers:
        if layer.conv is None:
            continue
        for what, values in (("weights", layer.conv.weight), ("bias", layer.conv.bias)):
            if not np.isfinite(values).all():
                raise TilewrightError(
                    f"Layer {layer.name!r}: its {what} hold NaN or infinity; every value must be "
                    "finite, train or export the network again"
                )
