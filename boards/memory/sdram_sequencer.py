"""The commands of an SDRAM: power-up, refresh, rows and columns."""

from __future__ import annotations

import math
from enum import IntEnum

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.boards.memory.sdram_segments import segment_layout
from tilewright.boards.memory.sdram_timing import SdramTiming
from tilewright.errors import TilewrightError

__all__ = ["BANKS", "SdramSequencer"]

BANKS = 4
_ALL_BANKS = 1 << 10  # on the address pins
_POWER_UP_REFRESHES = 8


class _Command(IntEnum):
    """The pins RAS, CAS and WE from bit 0 on, active high."""

    NOP = 0b000
    ACTIVE = 0b001
    READ = 0b010
    WRITE = 0b110
    PRECHARGE = 0b101
    REFRESH = 0b011
    MODE = 0b111


class _Step(IntEnum):
    """How far the row of the next segment is."""

    COMPARE = 0
    CLOSE = 1
    OPEN = 2
    READY = 3


class SdramSequencer(wiring.Component):
    """Plays segments on the chip, in order, and opens the next one's row meanwhile.

    A beat is one READ or WRITE whose burst length is the words of a beat, so that commands for rows go
    out between the beats (with one word a beat: in place of one). Rows stay open. Between two segments,
    when it is time, all rows are closed and refreshed. Powers the chip up by itself.

    Parameters
    ----------
    timing
        The chip, and the clock.
    words : of a beat: 1, 2, 4 or 8

    Members
    -------
    i : ``In(stream of segment_layout)``
    i_write : ``In(1)``
        The segment offered is to be written.
    command : ``Out(3)``
        RAS, CAS and WE from bit 0 on, active high; a register, as are `bank` and `address`.
    bank, address : ``Out``
    write, write_outside : ``Out(1)``
        A beat's WRITE will be on `command` in the next cycle; whether it lies beyond the chip.
    read, read_last, read_outside : ``Out(1)``
        The same of a READ, and whether it ends its burst.
    powered : ``Out(1)``
        Power-up is over.
    """

    def __init__(self, timing: SdramTiming, words: int) -> None:
        if words not in (1, 2, 4, 8):
            raise TilewrightError(f"SDRAM: a beat must have 1, 2, 4 or 8 words, not {words!r}")
        self._timing, self._words = timing, words
        super().__init__(
            {
                "i": In(stream.Signature(segment_layout(timing))),
                "i_write": In(1),
                "command": Out(_Command),
                "bank": Out(2),
                "address": Out(max(timing.row_bits, 11)),
                "write": Out(1),
                "write_outside": Out(1),
                "read": Out(1),
                "read_last": Out(1),
                "read_outside": Out(1),
                "powered": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = segment_layout(self._timing)
        # What is being transferred, and what comes after it.
        self._current, self._current_valid = Signal(layout), Signal()
        self._current_write = Signal()
        self._next, self._next_valid = Signal(layout), Signal()
        self._next_write = Signal()
        self._step = Signal(_Step)
        self._wait = Signal(range(16))  # of the next segment's row
        # Rows that are open, and how long a bank may not be closed.
        self._rows = Array(Signal(self._timing.row_bits, name=f"row_{n}") for n in range(BANKS))
        self._opened = Signal(BANKS)
        self._holds = [Signal(range(32), name=f"hold_{n}") for n in range(BANKS)]
        self._free = Signal()  # segments may go on
        self._close_all = Signal()

        column, row = Signal(), Signal()  # a command of the segments goes out
        self._columns(m, column, row)
        self._prepare(m, column, row)
        self._advance(m, column)
        self._maintain(m)
        return m

    def _columns(self, m: Module, column: Signal, row: Signal) -> None:
        """READ and WRITE of the current segment: a beat every `words` cycles."""
        timing, words = self._timing, self._words
        busy = Signal(range(words))  # words of the last beat that are still to come
        turn = Signal(range(timing.cas + words + 1))  # until read data have left the pins
        current = self._current
        wanted, granted = Signal(), Signal()
        m.d.comb += [
            wanted.eq(self._current_valid & (busy == 0) & ((turn == 0) | ~self._current_write)),
            granted.eq(wanted & ~row if words == 1 else wanted),
            column.eq(granted),
            self.write.eq(granted & self._current_write),
            self.write_outside.eq(current.outside),
            self.read.eq(granted & ~self._current_write),
            self.read_last.eq(current.last & (current.length == 0)),
            self.read_outside.eq(current.outside),
        ]
        with m.If(busy != 0):
            m.d.sync += busy.eq(busy - 1)
        with m.If(turn != 0):
            m.d.sync += turn.eq(turn - 1)
        for hold in self._holds:
            with m.If(hold != 0):
                m.d.sync += hold.eq(hold - 1)
        with m.If(granted):
            m.d.sync += [
                busy.eq(words - 1),
                current.column.eq(current.column + words),
                current.length.eq(current.length - 1),
                self.command.eq(Mux(self._current_write, _Command.WRITE, _Command.READ)),
                self.bank.eq(current.bank),
                self.address.eq(current.column),
            ]
        with m.Else():
            m.d.sync += self.command.eq(_Command.NOP)
        with m.If(self.read):
            m.d.sync += turn.eq(timing.cas + words)
        written = words + timing.cycles(timing.t_wr) - 2
        for number, hold in enumerate(self._holds):
            with m.If(granted & (current.bank == number)):
                with m.If(self._current_write & (hold <= written)):
                    m.d.sync += hold.eq(written)
                with m.Elif(~self._current_write & (hold <= words - 1)):
                    m.d.sync += hold.eq(words - 1)

    def _prepare(self, m: Module, column: Signal, row: Signal) -> None:
        """PRECHARGE and ACTIVE for the next segment."""
        timing, step, wait = self._timing, self._step, self._wait
        bank = self._next.bank
        t_rp = timing.cycles(timing.t_rp)
        t_ras = max(timing.cycles(timing.t_ras), timing.cycles(timing.t_rc) - t_rp)
        # Between two rows opened lies at least this, so that tRRD needs no counter of its own.
        t_rcd = max(timing.cycles(timing.t_rcd), timing.cycles(timing.t_rrd), 2)
        used = Signal()  # the current segment needs what is open in the bank
        held = Signal()
        slot, close, open_ = Signal(), Signal(), Signal()
        m.d.comb += [
            used.eq(self._current_valid & (self._current.bank == bank)),
            held.eq(Array(hold != 0 for hold in self._holds)[bank]),
            slot.eq(self._free & self._next_valid & (1 if self._words == 1 else ~column)),
            close.eq(slot & (step == _Step.CLOSE) & ~used & ~held),
            open_.eq(slot & (step == _Step.OPEN) & (wait == 0)),
            row.eq(close | open_),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self._next_valid & (step == _Step.COMPARE)):
            same = self._rows[bank] == self._next.row
            m.d.sync += step.eq(
                Mux(
                    self._opened.bit_select(bank, 1),
                    Mux(same, _Step.READY, _Step.CLOSE),
                    _Step.OPEN,
                )
            )
        with m.If(close):
            m.d.sync += [
                self.command.eq(_Command.PRECHARGE),
                self.bank.eq(bank),
                self.address.eq(0),
                self._opened.bit_select(bank, 1).eq(0),
                step.eq(_Step.OPEN),
                wait.eq(t_rp - 1),
            ]
        with m.If(open_):
            m.d.sync += [
                self.command.eq(_Command.ACTIVE),
                self.bank.eq(bank),
                self.address.eq(self._next.row),
                self._opened.bit_select(bank, 1).eq(1),
                self._rows[bank].eq(self._next.row),
                step.eq(_Step.READY),
                # The segment becomes the current one a cycle before its first column.
                wait.eq(t_rcd - 2),
            ]
            for number, hold in enumerate(self._holds):
                with m.If(bank == number):
                    m.d.sync += hold.eq(t_ras - 1)

    def _advance(self, m: Module, column: Signal) -> None:
        """The next segment becomes the current one, and another the next."""
        done, move = Signal(), Signal()
        m.d.comb += [
            done.eq(column & (self._current.length == 0)),
            move.eq(
                self._free
                & self._next_valid
                & (self._step == _Step.READY)
                & (self._wait == 0)
                & (~self._current_valid | done)
            ),
            # Not in the cycle of `move`: it would make one long way from the chip's timing to the bus.
            self.i.ready.eq(~self._next_valid),
        ]
        with m.If(done):
            m.d.sync += self._current_valid.eq(0)
        with m.If(move):
            m.d.sync += [
                self._current_valid.eq(1),
                self._current.eq(self._next),
                self._current_write.eq(self._next_write),
                self._next_valid.eq(0),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                self._next_valid.eq(self.i.valid),
                self._next.eq(self.i.p),
                self._next_write.eq(self.i_write),
                self._step.eq(_Step.COMPARE),
            ]

    def _maintain(self, m: Module) -> None:
        """Power-up and refresh."""
        timing = self._timing
        interval = int(timing.t_refi * timing.clock_mhz / 1000)
        count = Signal(range(interval), init=interval - 1)
        due = Signal()
        pause = Signal(range(timing.cycles(timing.t_rfc) + 2))
        power_up = Signal(range(64), init=max(math.ceil(timing.t_power / timing.t_refi) - 1, 0))
        left = Signal(range(_POWER_UP_REFRESHES), init=_POWER_UP_REFRESHES - 1)
        quiet = Signal()  # no bank is held open
        m.d.sync += count.eq(Mux(count == 0, interval - 1, count - 1))
        with m.If(count == 0):
            m.d.sync += due.eq(1)
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        m.d.sync += quiet.eq(~Cat(hold != 0 for hold in self._holds).any())

        def give(command: _Command, address: int, then: int) -> None:
            m.d.sync += [self.command.eq(command), self.bank.eq(0), self.address.eq(address)]
            m.d.sync += pause.eq(then - 1)

        with m.FSM():
            with m.State("POWER"), m.If(count == 0):
                m.d.sync += power_up.eq(power_up - 1)
                with m.If(power_up == 0):
                    m.next = "CLOSE"
            with m.State("CLOSE"), m.If(quiet):
                give(_Command.PRECHARGE, _ALL_BANKS, timing.cycles(timing.t_rp))
                m.d.comb += self._close_all.eq(1)
                m.next = "REFRESH"
            with m.State("REFRESH"), m.If(pause == 0):
                give(_Command.REFRESH, 0, timing.cycles(timing.t_rfc))
                m.d.sync += [due.eq(count == 0), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += left.eq(0)
                    m.next = "RESUME"
                    with m.If(~self.powered):
                        m.next = "MODE"
            with m.State("MODE"), m.If(pause == 0):
                mode = timing.cas << 4 | exact_log2(self._words)
                give(_Command.MODE, mode, timing.mrd_cycles)
                m.d.sync += self.powered.eq(1)
                m.next = "RESUME"
            with m.State("RESUME"), m.If(pause == 0):
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self._free.eq(~due)
                with m.If(due & ~self._current_valid):
                    m.next = "SETTLE"
            with m.State("SETTLE"):  # `quiet` knows of the last command
                m.next = "CLOSE"
        with m.If(self._close_all):
            m.d.sync += [self._opened.eq(0), self._step.eq(_Step.OPEN), self._wait.eq(0)]
