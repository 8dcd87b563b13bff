"""A program as one file: a JSON header and the memory image, nothing that executes on load."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.program import Placement, Program, Region
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Op
from tilewright.quant.formats import QFormat

__all__ = ["FORMAT_VERSION", "load_program", "save_program"]

MAGIC = b"TILEWRIGHT PROGRAM\n"
FORMAT_VERSION = 2


def save_program(program: Program, path: str | Path) -> None:
    """Write a program to one file: magic line, JSON header line, memory image.

    Raises
    ------
    TilewrightError
        If the file cannot be written.
    """
    header = {
        "version": FORMAT_VERSION,
        "target": dataclasses.asdict(program.target),
        "image_bytes": len(program.image),
        "image_crc32": zlib.crc32(program.image),
        "instructions": program.instructions,
        "count": program.count,
        "memory_bytes": program.memory_bytes,
        "tensors": [_placement(place) for place in program.tensors.values()],
        "inputs": program.inputs,
        "outputs": program.outputs,
        "stamps": program.stamps,
        "regions": [dataclasses.asdict(r) | {"op": r.op.value} for r in program.regions],
    }
    data = MAGIC + json.dumps(header).encode() + b"\n" + program.image
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise TilewrightError(
            f"Program file {str(path)!r} cannot be written ({error.strerror}); choose another place"
        ) from None


def _placement(place: Placement) -> dict[str, Any]:
    return {
        "name": place.name,
        "address": place.address,
        "shape": place.layout.shape,
        "narrow": place.layout.narrow,
        "bits": place.format.bits,
        "frac": place.format.frac,
    }


def load_program(path: str | Path) -> Program:
    """Read a program that `save_program` wrote.

    Raises
    ------
    TilewrightError
        If the file cannot be read, is not a program, is damaged or of another version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TilewrightError(
            f"Program file {str(path)!r} cannot be read ({error.strerror}); "
            "give a file that 'tilewright compile' wrote"
        ) from None
    if not data.startswith(MAGIC):
        raise TilewrightError(
            f"Program file {str(path)!r} is not a Tilewright program; "
            "give a file that 'tilewright compile' wrote"
        )
    end = data.find(b"\n", len(MAGIC))
    try:
        header = json.loads(data[len(MAGIC) : max(end, 0)])
        version = header["version"]
        if version == FORMAT_VERSION:
            program = _program(header, data[end + 1 :])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TilewrightError(
            f"Program file {str(path)!r} is damaged ({type(error).__name__}: {error}); "
            "compile the network again"
        ) from None
    if version != FORMAT_VERSION:
        raise TilewrightError(
            f"Program file {str(path)!r} has format version {version!r}, this Tilewright reads "
            f"version {FORMAT_VERSION}; compile the network again"
        )
    return program


def _program(header: dict[str, Any], image: bytes) -> Program:
    if (len(image), zlib.crc32(image)) != (header["image_bytes"], header["image_crc32"]):
        raise ValueError("its memory image is incomplete or altered")
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


def _tensor(item: dict[str, Any], target: Target) -> Placement:
    channels, height, width = (int(v) for v in item["shape"])
    shape, narrow = (channels, height, width), int(item["narrow"])
    if narrow not in (0, TensorLayout.narrowest(shape, target).narrow):
        raise ValueError(f"tensor {item['name']!r} has {channels} channels, but narrow {narrow}")
    return Placement(
        name=str(item["name"]),
        address=int(item["address"]),
        layout=TensorLayout(shape, target, narrow),
        format=QFormat(int(item["bits"]), int(item["frac"])),
    )
