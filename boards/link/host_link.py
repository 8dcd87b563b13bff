"""The board's end of the host link."""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from tilewright.boards.host.protocol import (
    NOT_ACKNOWLEDGED,
    REGISTER_BYTES,
    Command,
    Identity,
    Status,
)
from tilewright.boards.link.baud import BaudRate
from tilewright.boards.link.bus_master import BusMaster
from tilewright.boards.link.byte_line import ByteLine
from tilewright.boards.link.crc import Crc32
from tilewright.boards.link.deframer import Deframer
from tilewright.boards.link.enframer import Enframer
from tilewright.boards.link.request_buffer import RequestBuffer
from tilewright.hw.axi import axi4, axi_lite
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS

__all__ = ["PATIENCE", "HostLink"]

_TRANSFER = Command.READ_MEMORY >> 2
_OTHER = Command.IDENTIFY >> 2
_SILENT = exact_log2(Status.BUS_SILENT)

PATIENCE = 1 << 12
"""Cycles that memory or registers may take to answer; a burst beside an SDRAM's refresh takes some
hundred."""


class _Place(NamedTuple):
    """Where in its data a request is: the index of a beat's first byte, and a byte in the beat.

    `start` and `step` move it; `last` says that the byte is its beat's last, `ends` that no beat is
    left.
    """

    start: Signal
    step: Signal
    index: Signal
    lane: Signal
    last: Signal
    ends: Signal


class HostLink(wiring.Component):
    """Answers a host's requests over a UART: docs/link.md has the protocol.

    One request at a time: received, checked, done and answered; what comes in meanwhile is dropped.
    A request that the host sends again is answered again, but a write is done once. Single beats,
    one at a time, on either bus.

    Parameters
    ----------
    identity
        What the board says of itself; its clock, baud rate, data_bytes and payload are also what is
        built. A block RAM holds twice the payload.
    scripted
        Whether a script is played at power-up, before the host is heard.

    Members
    -------
    rx, tx : ``In(1)``, ``Out(1)``
        The UART's lines, 1 when idle; rx is synchronized here, tx is a register.
    memory : ``Out(axi4(data_bytes))``
        Master of the memory's bus.
    registers : ``Out(axi_lite(12))``
        Master of the accelerator's registers.
    irq : ``In(1)``
        What WAIT waits for, in this clock domain.
    awake : ``Out(1)``
        The host is heard: no script is played.
    script : ``In(stream(8))``, if scripted
        See ScriptPlayer; whether it was right is part of each answer's status.
    """

    memory: Any
    registers: Any
    script: Any

    def __init__(self, identity: Identity, *, scripted: bool = False) -> None:
        self._identity = identity
        self._scripted = scripted
        self._rate = BaudRate(clock_hz=identity.clock_hz, baud=identity.baud)
        script = {"script": In(stream.Signature(8))} if scripted else {}
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "memory": Out(axi4(identity.data_bytes)),
                "registers": Out(axi_lite(REGISTER_ADDRESS_BITS)),
                "irq": In(1),
                "awake": Out(1),
                **script,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.deframer = deframer = Deframer()
        m.submodules.buffer = buffer = RequestBuffer(self._identity)
        m.submodules.enframer = enframer = Enframer()
        m.submodules.master = master = BusMaster(self._identity.data_bytes)
        connect(m, flipped(self.memory), master.memory)
        connect(m, flipped(self.registers), master.registers)
        tested = self._connect_frames(m, deframer, buffer, enframer)

        request = buffer.request
        place = self._count_bytes(m, request)
        status = Signal(4)
        block = len(buffer.index)
        m.d.comb += [
            buffer.index.eq(place.index | place.lane),
            buffer.of_identity.eq(request.kind == _OTHER),
            # A request stays in its block, so that only the low bits change.
            master.address.eq(
                Cat((request.address + place.index)[:block], request.address[block:])
            ),
            master.to_registers.eq(request.registers),
            master.data.eq(buffer.byte),
        ]
        with m.If(master.done):
            m.d.sync += status[:2].eq(status[:2] | master.response)

        silent = self._silent(m, master)
        with m.FSM(init="RECEIVE"):
            with m.State("RECEIVE"):
                m.d.comb += deframer.listen.eq(1)
                with m.If(buffer.good):
                    m.d.comb += place.start.eq(1)
                    m.next = "DECODE"
            with m.State("DECODE"):
                self._decode(m, request, status, master.busy)
            with m.State("WAIT"):
                m.d.comb += deframer.listen.eq(1)
                with m.If(deframer.begin):  # another request comes: this one needs no answer
                    m.next = "RECEIVE"
                with m.Elif(self.irq):
                    m.next = "COMMAND"
            self._write_states(m, master, place, silent, status)
            flags = Cat(status, tested)
            self._answer_states(m, buffer, master, enframer, place, status, silent, flags)
        return m

    def _count_bytes(self, m: Module, request: Any) -> _Place:
        """The place in a request's data, in beats and bytes."""
        place = _Place(
            start=Signal(),
            step=Signal(),
            index=Signal(exact_log2(self._identity.payload) + 1),
            lane=Signal(3),
            last=Signal(),
            ends=Signal(),
        )
        unit = Mux(request.registers, REGISTER_BYTES, self._identity.data_bytes)
        m.d.comb += [
            place.last.eq(place.lane == unit - 1),
            place.ends.eq(place.index == request.count),
        ]
        with m.If(place.start):
            m.d.sync += [place.index.eq(0), place.lane.eq(0)]
        with m.Elif(place.step):
            m.d.sync += place.lane.eq(place.lane + 1)
            with m.If(place.last):
                m.d.sync += [place.lane.eq(0), place.index.eq(place.index + unit)]
        return place

    def _connect_frames(
        self, m: Module, deframer: Deframer, buffer: RequestBuffer, enframer: Enframer
    ) -> Value:
        """The line, the CRC, which serves both ways in turn, and the byte that refuses a frame.

        Gives what the status says of the board's own test: whether it is over, and has passed.
        """
        m.submodules.line = line = ByteLine(self._rate, scripted=self._scripted)
        m.submodules.crc = crc = Crc32()
        refusing = Signal()
        with m.If(buffer.bad):
            m.d.sync += refusing.eq(1)
        with m.Elif(line.answer.ready):
            m.d.sync += refusing.eq(0)
        m.d.comb += [
            line.rx.eq(self.rx),
            self.tx.eq(line.tx),
            self.awake.eq(line.awake),
            deframer.i_valid.eq(line.valid),
            deframer.i_data.eq(line.data),
            deframer.i_error.eq(line.error),
            buffer.begin.eq(deframer.begin),
            buffer.end.eq(deframer.end),
            buffer.damaged.eq(deframer.damaged),
            buffer.valid.eq(deframer.valid),
            buffer.data.eq(deframer.data),
            buffer.checked.eq(crc.good),
            crc.start.eq(deframer.begin | enframer.crc_start),
            crc.valid.eq(deframer.valid | enframer.crc_valid),
            crc.data.eq(Mux(deframer.listen, deframer.data, enframer.i.p)),
            crc.shift.eq(enframer.crc_shift),
            enframer.crc_low.eq(crc.low),
            line.answer.valid.eq(enframer.o.valid | refusing),
            line.answer.p.eq(Mux(refusing, NOT_ACKNOWLEDGED, enframer.o.p)),
            enframer.o.ready.eq(line.answer.ready & ~refusing),
        ]
        if self._scripted:
            connect(m, flipped(self.script), line.script)
        return Cat(line.tested, line.passed)

    def _silent(self, m: Module, master: BusMaster) -> Signal:
        """Whether the bus has let an access wait for too long."""
        waited = Signal(range(PATIENCE))
        silent = Signal()
        m.d.comb += silent.eq(waited.all() & ~master.done)
        with m.If(master.read | master.write):
            m.d.sync += waited.eq(0)
        with m.Elif(~waited.all()):
            m.d.sync += waited.eq(waited + 1)
        return silent

    def _decode(self, m: Module, request: Any, status: Signal, busy: Signal) -> None:
        """What to do with a whole request; nothing while the bus has not ended the access before."""
        payload, data_bytes = self._identity.payload, self._identity.data_bytes
        before = Signal.like(request.sequence)
        transfer = request.kind == _TRANSFER
        known = transfer | ((request.kind == _OTHER) & ~request.write)
        odd = (request.count | request.address) & Mux(
            request.registers, REGISTER_BYTES - 1, data_bytes - 1
        )
        m.d.sync += before.eq(request.sequence)
        m.next = "COMMAND"
        with m.If(~known | (odd != 0) | (request.count > payload)):
            m.d.sync += status.eq(Status.REFUSED)
        with m.Elif(transfer & busy):
            m.d.sync += [status.eq(Status.BUS_SILENT), before.eq(before)]
        with m.Elif(transfer & request.write & (request.sequence != before)):
            m.d.sync += status.eq(0)
            m.next = "FILL"
        with m.Elif(~request.write):  # a write that is repeated keeps its status
            m.d.sync += status.eq(0)
            with m.If(~transfer & request.registers):
                m.next = "WAIT"

    def _write_states(
        self, m: Module, master: BusMaster, place: _Place, silent: Signal, status: Signal
    ) -> None:
        """Beat by beat from the buffer to the bus."""
        with m.State("FILL"):  # the buffer's byte comes a cycle late
            m.next = "SHIFT"
            with m.If((place.lane == 0) & place.ends):
                m.next = "COMMAND"
        with m.State("SHIFT"):
            m.d.comb += master.shift.eq(1)
            with m.If(place.last):
                m.d.comb += master.write.eq(1)
                m.next = "WRITE"
            with m.Else():
                m.d.comb += place.step.eq(1)
                m.next = "FILL"
        with m.State("WRITE"):
            with m.If(master.done):
                m.d.comb += place.step.eq(1)
                m.next = "FILL"
            with m.If(silent):
                m.d.sync += status[_SILENT].eq(1)
                m.next = "COMMAND"

    def _answer_states(
        self,
        m: Module,
        buffer: RequestBuffer,
        master: BusMaster,
        enframer: Enframer,
        place: _Place,
        status: Signal,
        silent: Signal,
        flags: Value,
    ) -> None:
        """Command, sequence number, data if any, the flags; beats are read as they are sent."""
        request = buffer.request
        command = request.as_value()[:8]
        identify = request.kind == _OTHER
        carries = ~request.write & ~(identify & request.registers) & (status != Status.REFUSED)
        carries &= ~status[_SILENT]

        def send(state: str, byte: Any, following: str) -> None:
            with m.State(state):
                m.d.comb += [
                    enframer.i.valid.eq(1),
                    enframer.i.p.eq(byte),
                    enframer.last.eq(state == "STATUS"),
                ]
                with m.If(enframer.i.ready):
                    m.next = following

        send("COMMAND", command, "SEQUENCE")
        send("SEQUENCE", request.sequence, "NEXT")
        with m.State("NEXT"):
            with m.If(~carries | place.ends):
                m.next = "STATUS"
            with m.Elif(identify):
                m.next = "BYTES"
            with m.Else():
                m.d.comb += master.read.eq(1)
                m.next = "READ"
        with m.State("READ"):
            with m.If(master.done):
                m.next = "BYTES"
            with m.If(silent):
                m.d.sync += status[_SILENT].eq(1)
                m.next = "NEXT"
        with m.State("BYTES"):
            m.d.comb += [
                enframer.i.valid.eq(1),
                enframer.i.p.eq(Mux(identify, buffer.byte, master.low)),
            ]
            with m.If(enframer.i.ready):
                m.d.comb += [master.shift.eq(1), place.step.eq(1)]
                with m.If(place.last):
                    m.next = "NEXT"
        send("STATUS", flags, "END")
        with m.State("END"), m.If(enframer.done):
            m.next = "RECEIVE"
