"""Compressing the weight streams of a program, layer by layer, where the target can decode them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tilewright.compiler.isa import Opcode
from tilewright.compiler.program import Region
from tilewright.compiler.rows import Stream, plain_stream
from tilewright.compiler.stream import Constants
from tilewright.compiler.target import Target
from tilewright.compiler.tokens import Draft
from tilewright.compress.coded_layer import Encoded, Rows, encode_layer
from tilewright.errors import TilewrightError

__all__ = ["code_weights"]


def code_weights(
    drafts: Sequence[Draft], regions: Sequence[Region], constants: Constants, target: Target
) -> tuple[list[Draft], list[Region], Constants]:
    """The program with each layer's weights compressed where that makes them smaller, not slower.

    Parameters
    ----------
    drafts : with tokens; addresses relative to `constants`
    constants : that they use

    Returns
    -------
    drafts with those that load blocks, regions with their new indices, constants
    """
    coded, moved, result = Constants(0), [], list[Draft]()
    done = 0
    for region in regions:
        first = len(result)
        part = drafts[region.first : region.last]
        layer = _Layer(part, constants, coded, target)
        for draft in part:
            result += layer.convert(draft)
        moved.append(replace(region, first=first, last=len(result)))
        done = region.last
    return [*result, *drafts[done:]], moved, coded


class _Layer:
    """One layer's constants on their way from the old place to the new one."""

    def __init__(
        self, drafts: Sequence[Draft], old: Constants, new: Constants, target: Target
    ) -> None:
        self._old, self._new, self._target = old, new, target
        self._addresses: dict[int, int] = {}
        streams = {
            draft.fields["address"]: plain_stream(
                old.part(draft.fields["address"]), draft.fields, target
            )
            for draft in drafts
            if draft.opcode is Opcode.WEIGHTS and not draft.fields.get("pack")
        }
        self._number = {address: number for number, address in enumerate(streams)}
        self._encoded = _encode(drafts, streams, target) if streams else None
        self._loaded: list[object] = []
        self._blocks: dict[bytes, int] = {}

    def convert(self, draft: Draft) -> Iterable[Draft]:
        """The instructions that take an instruction's place."""
        fields = dict(draft.fields)
        if draft.opcode is Opcode.STORE:
            fields["params"] = self._keep(fields["params"])
        if draft.opcode is Opcode.WEIGHTS:
            number = self._number.get(fields["address"])
            if self._encoded is not None and number is not None:
                yield from self._decoded(fields, self._encoded, number)
                return
            fields["address"] = self._keep(fields["address"])
        yield Draft(draft.opcode, fields, draft.needs)

    def _decoded(self, fields: dict[str, int], encoded: Encoded, number: int) -> Iterable[Draft]:
        wanted = encoded.offset_block_of[number]
        needs = [(0, encoded.block)]
        if wanted is not None:
            needs.append((1, encoded.offset_blocks[wanted]))
        for kind, block in needs:
            if self._loaded[kind : kind + 1] != [block]:
                self._loaded[kind:] = [block]
                yield Draft(Opcode.WEIGHTS, self._part(block) | {"tiles": 1, "block": 1})
        kept = {name: fields[name] for name in ("tiles", "gather")}
        yield Draft(Opcode.WEIGHTS, kept | self._part(encoded.streams[number]) | {"coded": 1})

    def _part(self, data: bytes) -> dict[str, int]:
        if data not in self._blocks:
            self._blocks[data] = self._new.place(data)
        return {"address": self._blocks[data], "beats": -(-len(data) // self._target.bus_bytes)}

    def _keep(self, address: int) -> int:
        if address not in self._addresses:
            self._addresses[address] = self._new.place(self._old.part(address))
        return self._addresses[address]


def _encode(drafts: Sequence[Draft], streams: dict[int, Stream], target: Target) -> Encoded | None:
    """The layer's streams, if they are smaller so, and need no more time than plain ones."""
    parts = [Rows(weights=s.weights, offsets=s.offsets) for s in streams.values()]
    try:
        encoded = encode_layer(
            parts, lanes=target.decoder_lanes, entry_bytes=1 if target.weight_bits <= 8 else 2
        )
    except TilewrightError:
        return None  # More different weights than a codebook holds, or none but zero.
    if encoded.size(target.bus_bytes) >= sum(stream.size for stream in streams.values()):
        return None
    cycles = dict(zip(streams, encoded.cycles, strict=True))
    array = plain = coded = 0
    for draft in drafts:
        f = draft.fields
        if draft.opcode is Opcode.CALC:
            pixels = max(f["rows"] * f["cols"], target.min_tile_period)
            array += f["tiles0"] * f["tiles1"] * f["tiles2"] * pixels
        elif draft.opcode is Opcode.WEIGHTS and f["address"] in cycles:
            plain += f["beats"]
            coded += cycles[f["address"]]
    return encoded if max(coded, array) <= max(plain, array) else None
