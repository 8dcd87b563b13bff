"""What SCALE-Sim says of the same layers on the same arrays, as a baseline beside utilization.py.

SCALE-Sim 3 (PyPI `scalesim`) models a systolic array that computes one fold (tile) after the other,
weight-stationary or output-stationary. Its compute model runs here with an ideal memory: every
operand is there when it is wanted, so its numbers are a bound for such an array, without stalls.
Pooling costs it nothing and is left out. A depthwise layer is one matrix product for each channel.

All columns of folds of a matrix product take equally long in the model, so one of each layer is run
and counted as often as there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from measuring import missing, save

from tilewright.graph.ir import Conv, Graph, Layer

__all__ = ["ARRAYS", "Product", "products"]

ARRAYS = ((16, 16), (12, 12))
DATAFLOWS = {"ws": "weight-stationary", "os": "output-stationary"}


class Product:
    """A layer as `count` products of an `outputs` x `terms` with a `terms` x `channels` matrix."""

    def __init__(self, conv: Conv, pixels: int) -> None:
        channels, per_group, *kernel = conv.weight.shape
        self.count: int = conv.groups
        self.outputs = pixels
        self.terms: int = per_group * int(np.prod(kernel))
        self.channels: int = channels // conv.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.count * self.outputs * self.terms * self.channels

    def cycles(self, rows: int, cols: int, dataflow: str) -> int:
        """Cycles on an array of rows x cols."""
        from scalesim.compute.systolic_compute_os import systolic_compute_os
        from scalesim.compute.systolic_compute_ws import systolic_compute_ws
        from scalesim.scale_config import scale_config

        config = scale_config()
        config.set_arr_dims(rows=rows, cols=cols)
        config.set_dataflow(dataflow)
        config.force_valid()
        width = min(self.channels, cols)
        model = {"ws": systolic_compute_ws, "os": systolic_compute_os}[dataflow]()
        model.set_params(
            config_obj=config,
            ifmap_op_mat=np.zeros((self.outputs, self.terms)),
            filter_op_mat=np.zeros((self.terms, width)),
            ofmap_op_mat=np.zeros((self.outputs, width)),
        )
        model.create_ifmap_demand_mat()
        columns = -(-self.channels // cols)
        return self.count * columns * int(model.ifmap_demand_matrix.shape[0])


def products(graph: Graph) -> Iterator[tuple[str, Product]]:
    """The matrix products of a network's convolutions and fully connected layers."""
    for layer in graph.layers:
        if layer.conv is not None:
            yield layer.name, Product(layer.conv, _pixels(graph, layer))


def _pixels(graph: Graph, layer: Layer) -> int:
    """Accumulators of a convolution, before a pooling that is fused with it."""
    assert layer.conv is not None
    _, height, width = layer.conv.output_shape(graph.shapes[layer.inputs[0]])
    return height * width


def _records(name: str, graph: Graph) -> Iterator[dict[str, Any]]:
    known: dict[tuple[object, ...], int] = {}
    for rows, cols in ARRAYS:
        for dataflow in DATAFLOWS:
            macs = cycles = 0
            for layer, product in products(graph):
                key = (*vars(product).values(), rows, cols, dataflow)
                if key not in known:
                    known[key] = product.cycles(rows, cols, dataflow)
                yield _record(name, layer, rows, cols, dataflow, product.macs, known[key])
                macs, cycles = macs + product.macs, cycles + known[key]
            yield _record(name, "total", rows, cols, dataflow, macs, cycles)


def _record(
    network: str, layer: str, rows: int, cols: int, dataflow: str, macs: int, cycles: int
) -> dict[str, Any]:
    return {
        "network": network,
        "layer": layer,
        "rows": rows,
        "cols": cols,
        "dataflow": dataflow,
        "macs": macs,
        "cycles": cycles,
        "utilization": round(macs / (rows * cols * cycles), 5),
    }


def main() -> int:
    """Run all networks on all arrays and dataflows."""
    reason = missing("scalesim", "tqdm", "torch", "foolbox", "PIL", "efficientnet_lite_pytorch")
    if reason:
        print(f"scale_sim skipped: {reason}")
        return 0
    import networks

    records = []
    for name in networks.NETWORKS:
        for record in _records(name, networks.build(name).fixed.graph):
            records.append(record)
            if record["layer"] == "total":
                print(
                    f"{name:19s}{record['rows']:3d}x{record['cols']:<3d}{record['dataflow']} "
                    f"{record['cycles']:12,d} cycles {record['utilization']:7.2%}",
                    flush=True,
                )
    save("scale_sim", {"dataflows": DATAFLOWS, "records": records}, ("scalesim", "numpy"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
