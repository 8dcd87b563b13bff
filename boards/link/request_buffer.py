"""Where a request waits until it is known to be whole."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.boards.host.protocol import CRC_BYTES, HEADER, Identity

__all__ = ["REQUEST", "RequestBuffer"]

REQUEST = data.StructLayout(
    {
        "registers": 1,
        "write": 1,
        "kind": unsigned(6),
        "sequence": unsigned(8),
        "count": unsigned(16),
        "address": unsigned(32),
    }
)
"""A request's header; `registers`, `write` and `kind` are the command."""


class RequestBuffer(wiring.Component):
    """Holds a request's header in registers and its data in a block RAM, beside the identity.

    A write that does not have as many data as its header says is damaged, whatever its CRC.

    Parameters
    ----------
    identity
        Its payload is the most data a request may have.

    Members
    -------
    begin, end, damaged, valid, data : ``In``
        From the deframer.
    checked : ``In(1)``
        With `end`: the CRC is right.
    good, bad : ``Out(1)``
        With `end`: whether `request` is whole, now and until the next flag.
    request : ``Out(REQUEST)``
    index : ``In``
        Of a byte of the request's data.
    of_identity : ``In(1)``
        Of the identity's instead.
    byte : ``Out(8)``
        That byte, a cycle later.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        super().__init__(
            {
                "begin": In(1),
                "end": In(1),
                "damaged": In(1),
                "valid": In(1),
                "data": In(8),
                "checked": In(1),
                "good": Out(1),
                "bad": Out(1),
                "request": Out(REQUEST),
                "index": In(exact_log2(identity.payload)),
                "of_identity": In(1),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        payload = self._identity.payload
        m.submodules.storage = storage = Memory(
            shape=8, depth=2 * payload, init=[*bytes(payload), *self._identity.to_bytes()]
        )
        write, read = storage.write_port(), storage.read_port()

        index = Signal(len(self.index) + 2)  # negative in the header
        header, beyond = index[-1], index[-2]
        # How many bytes ago the CRC should have begun.
        ago = Signal(CRC_BYTES)
        starts = Mux(self.request.write, index == self.request.count, ~header)
        m.d.comb += [
            write.en.eq(self.valid & ~header & ~beyond),
            write.addr.eq(index[:-2]),
            write.data.eq(self.data),
            read.addr.eq(Cat(self.index, self.of_identity)),
            self.byte.eq(read.data),
            self.good.eq(self.end & self.checked & ~self.damaged & ago[-1]),
            self.bad.eq(self.end & ~self.good),
        ]
        with m.If(self.begin):
            m.d.sync += [index.eq(-HEADER.size), ago.eq(0)]
        with m.Elif(self.valid):
            m.d.sync += [index.eq(index + 1), ago.eq(Cat(starts, ago))]
            with m.If(header):
                m.d.sync += Value.cast(self.request).eq(
                    Cat(Value.cast(self.request)[8:], self.data)
                )
        return m
