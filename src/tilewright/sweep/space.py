"""What is explored: bits and compression of the network, and the hardware that runs it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tilewright.boards.registry import get_board
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError

__all__ = ["AUTO", "Hardware", "Point", "Setting", "Space"]

AUTO: Mapping[str, tuple[Any, ...]] = {
    "arrays": tuple(
        (rows, cols)
        for rows, cols in itertools.product((2, 4, 8, 12, 16), repeat=2)
        if rows in (cols, 2 * cols) or cols == 2 * rows
    ),
    "act_depth": (512, 1024, 2048, 4096),
    "acc_depth": (64, 128, 256, 512),
}
"""What `auto` stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a network's accuracy depends on.

    Attributes
    ----------
    weight_bits, feature_bits : of all layers
    average_bits : bits of a weight on average, chosen layer by layer, instead of `weight_bits`
    compress : steps of `tilewright compress` before, as "prune 0.9"
    """

    weight_bits: int = 8
    feature_bits: int = 8
    average_bits: float | None = None
    compress: tuple[str, ...] = ()

    def __str__(self) -> str:
        weights = (
            f"w{self.weight_bits}" if self.average_bits is None else f"w~{self.average_bits:g}"
        )
        return " ".join([*(f"{step}," for step in self.compress), weights, f"x{self.feature_bits}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a network's cycles and the resources depend on, besides the network.

    Attributes
    ----------
    board : whose memory is behind the bus; None: a memory of fixed latency
    target : the accelerator
    """

    board: str | None
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One design: a network's setting on a hardware."""

    setting: Setting
    hardware: Hardware

    def as_dict(self) -> dict[str, Any]:
        """As plain values, which `from_dict` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Point:
        """What `as_dict` gave, also after a way through JSON."""
        setting, hardware = dict(values["setting"]), values["hardware"]
        setting["compress"] = tuple(setting["compress"])
        return cls(
            setting=Setting(**setting),
            hardware=Hardware(board=hardware["board"], target=Target(**hardware["target"])),
        )

    @property
    def axes(self) -> dict[str, Any]:
        """The point's value on each axis of a space."""
        target = self.hardware.target
        values = {name: getattr(target, name) for name in Space.FIELDS}
        return {
            "setting": str(self.setting),
            "board": self.hardware.board or "",
            "array": f"{target.rows}x{target.cols}",
            **values,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All points that may be tried.

    Attributes
    ----------
    settings : of the network
    boards : names, or None for `base`
    base : target whose other parameters hold where there is no board
    arrays : rows and columns
    fields : values of other parameters of the target; those of the board or of `base` where missing
    least_bits : of weights and of feature maps, for layers that have bits of their own whatever the
        setting says
    """

    settings: tuple[Setting, ...]
    boards: tuple[str | None, ...]
    base: Target
    arrays: tuple[tuple[int, int], ...]
    fields: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    least_bits: tuple[int, int] = (2, 2)

    FIELDS = ("act_depth", "acc_depth", "bus_bytes", "weights_per_multiplier", "clock_mhz")

    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Every axis and its values, as `Point.axes` names them; fields left alone are no axes."""
        return {
            "setting": tuple(map(str, self.settings)),
            "board": tuple(board or "" for board in self.boards),
            "array": tuple(f"{rows}x{cols}" for rows, cols in self.arrays),
            **self.fields,
        }

    def point(self, chosen: Mapping[str, Any]) -> Point:
        """The point at these values of the axes.

        Raises
        ------
        TilewrightError
            If the hardware cannot be built with them.
        """
        setting = next(s for s in self.settings if str(s) == chosen["setting"])
        board = chosen["board"] or None
        base = self.base if board is None else get_board(board).target
        rows, cols = map(int, chosen["array"].split("x"))
        changes = {name: chosen[name] for name in self.fields}
        target = dataclasses.replace(
            base,
            name=f"{rows}x{cols}",
            rows=rows,
            cols=cols,
            act_bits=max(setting.feature_bits, self.least_bits[1]),
            weight_bits=max(setting.weight_bits, self.least_bits[0]),
            activations=self.base.activations,
            **changes,
        )
        if board is not None:  # its clock must suit the PLL, the memory and the link
            dataclasses.replace(get_board(board), target=target)
        return Point(setting=setting, hardware=Hardware(board=board, target=target))

    def can_give(self, point: Point) -> bool:
        """Whether options name everything in which the point differs from its board's or `base`'s target."""
        target, board = point.hardware.target, point.hardware.board
        base = self.base if board is None else get_board(board).target
        swept = ("name", "rows", "cols", "act_bits", "weight_bits", *self.FIELDS)
        given = {name: getattr(target, name) for name in swept}
        return dataclasses.replace(base, activations=self.base.activations, **given) == target

    def points(self) -> Iterator[Point]:
        """All points that can be built.

        Raises
        ------
        TilewrightError
            If there is none; the last one's reason is given.
        """
        axes, none, reason = self.axes(), True, None
        for values in itertools.product(*axes.values()):
            try:
                yield self.point(dict(zip(axes, values, strict=True)))
                none = False
            except TilewrightError as error:
                reason = error
        if none and reason is not None:
            raise TilewrightError(f"No design of the sweep can be built: {reason}")
