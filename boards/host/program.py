"""A compiled program, as far as a host must know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import program_file
from .errors import HostError
from .faults import MemoryMap
from .fit import IDENTITY
from .formats import QFormat
from .host_side import apply_host_ops, as_channels_first, normalized
from .pixels import PixelMap

__all__ = ["HostProgram", "Input", "Output", "Tensor"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A feature map in memory, `address` bytes from MEM_BASE."""

    address: int
    pixels: PixelMap
    format: QFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input as the network's user knows it; the network sees (raw - mean) * scale."""

    name: str
    tensor: Tensor
    layout: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.tensor.pixels.shape

    def integers(self, raw: Array) -> npt.NDArray[np.int64]:
        """Integers [C, H, W] of one image in the user's layout.

        Raises
        ------
        HostError
            If it has another shape, or holds something that is no finite number.
        """
        images = as_channels_first(raw[None], self.shape, self.layout)
        if images is None:
            raise HostError(
                f"Input {self.name!r} has shape {list(raw.shape)}; give one image of {self.wanted}"
            )
        if not np.issubdtype(images.dtype, np.number) or np.iscomplexobj(images):
            raise HostError(f"Input {self.name!r} holds {images.dtype} values; give real numbers")
        if not np.isfinite(images).all():
            raise HostError(f"Input {self.name!r} holds NaN or infinity; give finite numbers")
        seen = normalized(images, self.mean, self.scale)
        return self.tensor.format.quantize(seen).reshape(self.shape)

    def saturated(self, raw: Array) -> int:
        """How many values of an image lie more than half a step beyond what the format holds."""
        images = as_channels_first(raw[None], self.shape, self.layout)
        assert images is not None, "integers() has taken it"
        steps = np.ldexp(normalized(images, self.mean, self.scale), self.tensor.format.frac)
        low, high = self.tensor.format.min - 0.5, self.tensor.format.max + 0.5
        return int(((steps < low) | (steps > high)).sum())

    @property
    def wanted(self) -> str:
        """The shape to give."""
        channels, height, width = self.shape
        if self.layout == "nhwc":
            return f"[{height}, {width}, {channels}]"
        return f"[{channels}, {height}, {width}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output as the network's user knows it; `host_ops` are left to the host."""

    name: str
    tensor: Tensor
    shape: tuple[int, ...]
    host_ops: tuple[str, ...]

    def values(self, integers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What the network's user sees, of integers [C, H, W]."""
        real = self.tensor.format.dequantize(integers).astype(np.float32)
        shape = self.shape or integers.shape
        return apply_host_ops(real.reshape(1, *shape), self.host_ops).reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostProgram:
    """A program file.

    Attributes
    ----------
    target : name of the target that it was compiled for
    identity : registers of the accelerators that it fits
    image : initial content of memory from MEM_BASE on
    instructions, count : byte offset and number of the instructions
    memory_bytes : memory needed, feature maps included
    inputs, outputs : in the network's order
    instruction_bytes : of each
    """

    target: str
    identity: Mapping[str, int]
    image: bytes
    instructions: int
    count: int
    memory_bytes: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    instruction_bytes: int

    @classmethod
    def load(cls, path: str | Path) -> HostProgram:
        """Read a program file; raises HostError as `of_bytes` does, or if it cannot be read."""
        try:
            return cls.of_bytes(Path(path).read_bytes(), path)
        except OSError as error:
            raise HostError(
                f"Program file {str(path)!r} cannot be read ({error.strerror}); give one that "
                "'tilewright build' wrote"
            ) from None

    @classmethod
    def of_bytes(cls, data: bytes, path: str | Path = "") -> HostProgram:
        """A program from its file's content; `path` names it in messages.

        Raises
        ------
        HostError
            If it is no program, is damaged or of another version, or holds only a part of a
            network.
        """
        try:
            header, image = program_file.split(data, path)
            program = _program(header, image)
            if len(program.inputs) != len(header["inputs"]) or not program.outputs:
                raise program_file.ProgramFileError(
                    f"Program file {str(path)!r} holds a part of a network; give a whole network's"
                )
        except program_file.ProgramFileError as error:
            raise HostError(str(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HostError(str(program_file.damaged(path, error))) from None
        return program

    @property
    def memory(self) -> MemoryMap:
        """What stands where, to describe faults."""
        ends: tuple[Input | Output, ...] = (*self.inputs, *self.outputs)
        return MemoryMap(
            code=self.instructions,
            code_end=self.instructions + self.count * self.instruction_bytes,
            instruction_bytes=self.instruction_bytes,
            image_bytes=len(self.image),
            memory_bytes=self.memory_bytes,
            tensors=[(e.name, e.tensor.address, e.tensor.pixels.size) for e in ends],
        )


def _program(header: dict[str, Any], image: bytes) -> HostProgram:
    host = header["host"]
    tensors = {name: _tensor(item, header) for name, item in host["tensors"].items()}
    return HostProgram(
        target=str(header["target"]["name"]),
        identity={name: int(host["identity"][name]) for name in IDENTITY},
        image=image,
        instructions=int(header["instructions"]),
        count=int(header["count"]),
        memory_bytes=int(header["memory_bytes"]),
        inputs=tuple(
            Input(
                name=item["name"],
                tensor=tensors[item["name"]],
                layout=str(item["layout"]),
                mean=tuple(map(float, item["mean"])),
                scale=tuple(map(float, item["scale"])),
            )
            for item in header["images"]
        ),
        outputs=tuple(
            Output(
                name=item["name"],
                tensor=tensors[item["tensor"]],
                shape=tuple(map(int, item["shape"])),
                host_ops=tuple(item["host_ops"]),
            )
            for item in header["results"]
        ),
        instruction_bytes=int(host["instruction_bytes"]),
    )


def _tensor(item: dict[str, Any], header: dict[str, Any]) -> Tensor:
    pixels: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in item["pixels"].items()
    }
    bits, frac, signed = item["format"]
    found = Tensor(
        address=int(item["address"]),
        pixels=PixelMap(**pixels),
        format=QFormat(int(bits), int(frac), bool(signed)),
    )
    if not 0 <= found.address <= header["memory_bytes"] - found.pixels.size:
        raise ValueError("a tensor lies outside its memory")
    return found
