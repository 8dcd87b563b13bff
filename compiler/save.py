"""A program as one file: a JSON header and the memory image, nothing that executes on load.

The part `host` of the header says what a host must know that has nothing of the compiler: which
registers' values the program fits, and how its inputs and outputs lie in memory.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tilewright.compiler.capabilities import capability_words
from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.layout import TensorLayout, stored_offset
from tilewright.compiler.program import Placement, Program, Region
from tilewright.compiler.program_file import ProgramFileError, damaged, join, read
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Input, Op, Output
from tilewright.quant.formats import QFormat

__all__ = ["load_program", "program_bytes", "save_program"]


def save_program(program: Program, path: str | Path) -> None:
    """Write a program to one file.

    Raises
    ------
    TilewrightError
        If the file cannot be written.
    """
    try:
        Path(path).write_bytes(program_bytes(program))
    except OSError as error:
        raise TilewrightError(
            f"Program file {str(path)!r} cannot be written ({error.strerror}); choose another place"
        ) from None


def program_bytes(program: Program) -> bytes:
    """The content of a program's file: magic line, JSON header line, memory image."""
    header = {
        "target": dataclasses.asdict(program.target),
        "instructions": program.instructions,
        "count": program.count,
        "memory_bytes": program.memory_bytes,
        "tensors": [_placement(place) for place in program.tensors.values()],
        "inputs": program.inputs,
        "outputs": program.outputs,
        "stamps": program.stamps,
        "regions": [dataclasses.asdict(r) | {"op": r.op.value} for r in program.regions],
        "images": [dataclasses.asdict(item) for item in program.images],
        "results": [dataclasses.asdict(item) for item in program.results],
        "host": _for_host(program),
    }
    return join(header, program.image)


def _placement(place: Placement) -> dict[str, Any]:
    return {
        "name": place.name,
        "address": place.address,
        "shape": place.layout.shape,
        "narrow": place.layout.narrow,
        "bits": place.format.bits,
        "frac": place.format.frac,
        "signed": place.format.signed,
    }


def _for_host(program: Program) -> dict[str, Any]:
    ends = {name: program.tensors[name] for name in (*program.inputs, *program.outputs)}
    return {
        "identity": capability_words(program.target),
        "instruction_bytes": INSTRUCTION_BYTES,
        "tensors": {
            name: {
                "address": place.address,
                "pixels": dataclasses.asdict(place.layout.pixels),
                "format": [place.format.bits, place.format.frac, place.format.signed],
            }
            for name, place in ends.items()
        },
    }


def load_program(path: str | Path) -> Program:
    """Read a program that `save_program` wrote.

    Raises
    ------
    TilewrightError
        If the file cannot be read, is not a program, is damaged or of another version.
    """
    try:
        header, image = read(path)
    except ProgramFileError as error:
        raise TilewrightError(str(error)) from None
    try:
        return _program(header, image)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TilewrightError(str(damaged(path, error))) from None


def _program(header: dict[str, Any], image: bytes) -> Program:
    target = Target(**header["target"])
    program = Program(
        target=target,
        image=image,
        instructions=header["instructions"],
        count=header["count"],
        memory_bytes=header["memory_bytes"],
        tensors={item["name"]: _tensor(item, target) for item in header["tensors"]},
        inputs=tuple(header["inputs"]),
        outputs=tuple(header["outputs"]),
        stamps=header["stamps"],
        regions=tuple(Region(**(item | {"op": Op(item["op"])})) for item in header["regions"]),
        images=tuple(Input(**_with_tuples(item)) for item in header["images"]),
        results=tuple(Output(**_with_tuples(item)) for item in header["results"]),
    )
    code_end = program.instructions + program.count * INSTRUCTION_BYTES
    if not 0 <= program.instructions <= code_end <= len(image) <= program.memory_bytes:
        raise ValueError("its instructions lie outside its image")
    for place in program.tensors.values():
        if not len(image) <= place.address <= program.memory_bytes - place.layout.size:
            raise ValueError(f"tensor {place.name!r} lies outside its memory")
    for name in (*program.inputs, *program.outputs):
        if name not in program.tensors:
            raise ValueError(f"tensor {name!r} is missing")
    return program


def _with_tuples(item: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in item.items()}


def _tensor(item: dict[str, Any], target: Target) -> Placement:
    channels, height, width = (int(v) for v in item["shape"])
    shape, narrow = (channels, height, width), int(item["narrow"])
    if narrow not in (0, TensorLayout.narrowest(shape, target).narrow):
        raise ValueError(f"tensor {item['name']!r} has {channels} channels, but narrow {narrow}")
    form = QFormat(int(item["bits"]), int(item["frac"]), bool(item["signed"]))
    return Placement(
        name=str(item["name"]),
        address=int(item["address"]),
        layout=TensorLayout(shape, target, narrow, stored_offset(form, target)),
        format=form,
    )
