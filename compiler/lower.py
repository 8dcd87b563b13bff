"""The compiler's entry: a quantized network and a target become a program."""

from __future__ import annotations

from collections.abc import Callable

from tilewright.compiler.checks import check_network
from tilewright.compiler.coding import code_weights
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, encode
from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.machine import Machine
from tilewright.compiler.memory import Lifetime, place
from tilewright.compiler.program import Placement, Program, Region, stamp_pitch
from tilewright.compiler.schedule import Planner, Summary, schedule_layer
from tilewright.compiler.stream import ALIGNMENT, Constants
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import choose_plan
from tilewright.compiler.tokens import assign_tokens
from tilewright.compiler.work import layer_work
from tilewright.errors import TilewrightError
from tilewright.quant.fixed import FixedGraph, FixedLayer

__all__ = ["Progress", "compile_network"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many layers are done, and how many there are."""


def compile_network(
    fixed: FixedGraph,
    target: Target,
    *,
    keep: bool = False,
    layer: str | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
    planner: Planner = choose_plan,
) -> Program:
    """Compile a network, or one layer of it, or one accumulator fill of that layer.

    Parameters
    ----------
    keep : keep every layer's output in memory to the end, instead of reusing its space
    layer : compile only this layer; its input tensors become the program's inputs
    tile : with `layer`, only this accumulator fill; the rest of its output keeps what memory held
    progress : called before each layer
    planner : chooses the tiling of each layer; the cheapest by the quick estimate if not given

    Raises
    ------
    TilewrightError
        If the target cannot compute the network, or `layer` or `tile` does not exist.
    """
    layers = _selected(fixed, layer, tile)
    check_network(fixed, target)
    inputs, outputs = _ends(fixed, layers, layer)
    lifetimes = _lifetimes(fixed, target, layers, inputs, outputs, keep)
    # Addresses of feature maps depend on how much the constants take, and the instructions that
    # hold them do not change in number: schedule with relative addresses, then shift.
    relative, tensor_bytes = place(lifetimes, 0)
    constants = Constants(0)
    machine = Machine(target, relative, constants)
    regions = []
    for number, item in enumerate(layers):
        if progress is not None:
            progress(f"compile {item.name}", number, len(layers))
        regions.append(_region(fixed, item, machine, number, tile, planner))
    machine.emit(Opcode.FINISH, [])
    if progress is not None:
        progress("compiled", len(layers), len(layers))
    assign_tokens(machine.drafts)
    if target.decoder_lanes:
        machine.drafts, regions, machine.constants = code_weights(
            machine.drafts, regions, machine.constants, target
        )
    return _assemble(fixed, machine, regions, relative, tensor_bytes, inputs, outputs, keep)


def _selected(fixed: FixedGraph, layer: str | None, tile: int | None) -> tuple[FixedLayer, ...]:
    if layer is None:
        if tile is not None:
            raise TilewrightError(f"Option tile = {tile} needs a layer; name it with layer")
        return fixed.layers
    try:
        return (fixed.layer(layer),)
    except KeyError:
        names = ", ".join(item.name for item in fixed.layers)
        raise TilewrightError(
            f"Option layer: the network has no layer {layer!r}; its layers are {names}"
        ) from None


def _ends(
    fixed: FixedGraph, layers: tuple[FixedLayer, ...], layer: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if layer is not None:
        return tuple(dict.fromkeys(layers[0].layer.all_inputs)), (layer,)
    inputs = tuple(item.name for item in fixed.graph.inputs)
    return inputs, tuple(dict.fromkeys(item.tensor for item in fixed.graph.outputs))


def _lifetimes(
    fixed: FixedGraph,
    target: Target,
    layers: tuple[FixedLayer, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    keep: bool,
) -> list[Lifetime]:
    end = len(layers)
    first = {name: -1 for name in inputs}
    last = {name: end for name in inputs}
    for number, item in enumerate(layers):
        first[item.name] = number
        last[item.name] = end if keep or item.name in outputs else number
        for name in item.layer.all_inputs:
            last[name] = max(last[name], number)
    return [
        Lifetime(name, TensorLayout.of(fixed, name, target).size, first[name], last[name])
        for name in first
    ]


def _region(
    fixed: FixedGraph,
    layer: FixedLayer,
    machine: Machine,
    number: int,
    tile: int | None,
    planner: Planner,
) -> Region:
    first = len(machine.drafts)
    work = layer_work(fixed, layer, machine.target)
    summary: Summary = schedule_layer(work, machine, tile, planner)
    if tile is not None and not 0 <= tile < summary.fills:
        raise TilewrightError(
            f"Option tile: layer {layer.name!r} has tiles 0..{summary.fills - 1}, not {tile}"
        )
    machine.emit(Opcode.STAMP, [], address=number * stamp_pitch(machine.target))
    return Region(
        name=layer.name,
        op=layer.layer.op,
        first=first,
        last=len(machine.drafts),
        tiles=summary.fills,
        bound=summary.bound,
        macs=fixed.graph.macs(layer.layer),
        slots=summary.slots,
    )


def _assemble(
    fixed: FixedGraph,
    machine: Machine,
    regions: list[Region],
    relative: dict[str, int],
    tensor_bytes: int,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    keep: bool,
) -> Program:
    target, drafts = machine.target, machine.drafts
    constants = len(drafts) * INSTRUCTION_BYTES
    stamps = constants + machine.constants.end
    tensors = stamps + -(-len(regions) * stamp_pitch(target) // ALIGNMENT) * ALIGNMENT
    if tensors + tensor_bytes > 1 << target.address_bits:
        raise TilewrightError(
            f"Network {fixed.graph.name!r} needs {tensors + tensor_bytes} bytes of memory; target "
            f"{target.name!r} addresses at most {1 << target.address_bits} (address_bits = "
            f"{target.address_bits})"
        )
    bases = {
        (Opcode.LOAD, "address"): tensors,
        (Opcode.STORE, "address"): tensors,
        (Opcode.STORE, "params"): constants,
        (Opcode.WEIGHTS, "address"): constants,
        (Opcode.STAMP, "address"): stamps,
    }
    code = []
    for draft in drafts:
        fields = dict(draft.fields)
        for name in ("address", "params"):
            if name in fields:
                fields[name] += bases[draft.opcode, name]
        code.append(encode(draft.opcode, **fields))
    return Program(
        target=target,
        image=b"".join([*code, machine.constants.image()]),
        instructions=0,
        count=len(drafts),
        memory_bytes=tensors + tensor_bytes,
        tensors={
            name: Placement(
                name=name,
                address=tensors + relative[name],
                layout=TensorLayout.of(fixed, name, target),
                format=fixed.formats[name],
            )
            for name in relative
            if keep or name in inputs or name in outputs
        },
        inputs=inputs,
        outputs=outputs,
        stamps=stamps,
        regions=tuple(regions),
        images=tuple(item for item in fixed.graph.inputs if item.name in inputs),
        results=tuple(item for item in fixed.graph.outputs if item.tensor in outputs),
    )
