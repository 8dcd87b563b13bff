"""The link's bytes: a UART, and at power-up a script in its place."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tilewright.boards.link.baud import BaudRate
from tilewright.boards.link.receiver import UartReceiver
from tilewright.boards.link.script_player import ScriptPlayer
from tilewright.boards.link.transmitter import UartTransmitter

__all__ = ["ByteLine"]


class ByteLine(wiring.Component):
    """Bytes from a host and to it.

    Parameters
    ----------
    rate
        Of the UART.
    scripted
        Whether a script is played at power-up, before the host is heard.

    Members
    -------
    rx, tx : ``In(1)``, ``Out(1)``
        The UART's lines.
    valid, data, error : ``Out(1)``, ``Out(8)``, ``Out(1)``
        A byte for the link, as from UartReceiver.
    answer : ``In(stream(8))``
        A byte from it.
    script : ``In(stream(8))``, if scripted
        See ScriptPlayer.
    awake : ``Out(1)``
        The host is heard: no script is played.
    tested, passed : ``Out(1)``
        A script was there and is over; all its answers were right.
    """

    rx: Any
    tx: Any
    valid: Any
    data: Any
    error: Any
    answer: Any
    script: Any
    awake: Any
    tested: Any
    passed: Any

    def __init__(self, rate: BaudRate, *, scripted: bool) -> None:
        self._rate, self._scripted = rate, scripted
        script = {"script": In(stream.Signature(8))} if scripted else {}
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "valid": Out(1),
                "data": Out(8),
                "error": Out(1),
                "answer": In(stream.Signature(8)),
                "awake": Out(1),
                "tested": Out(1),
                "passed": Out(1),
                **script,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._rate)
        m.submodules.transmitter = transmitter = UartTransmitter(self._rate)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            transmitter.i.p.eq(self.answer.p),
        ]
        if not self._scripted:
            m.d.comb += [
                self.valid.eq(receiver.valid),
                self.data.eq(receiver.data),
                self.error.eq(receiver.error),
                transmitter.i.valid.eq(self.answer.valid),
                self.answer.ready.eq(transmitter.i.ready),
                self.awake.eq(1),
            ]
            return m
        m.submodules.player = player = ScriptPlayer()
        connect(m, flipped(self.script), player.i)
        playing = player.playing
        m.d.comb += [
            self.valid.eq(Mux(playing, player.valid, receiver.valid)),
            self.data.eq(Mux(playing, player.data, receiver.data)),
            self.error.eq(receiver.error & ~playing),
            transmitter.i.valid.eq(self.answer.valid & ~playing),
            player.answer.valid.eq(self.answer.valid & playing),
            player.answer.p.eq(self.answer.p),
            self.answer.ready.eq(Mux(playing, player.answer.ready, transmitter.i.ready)),
            self.awake.eq(~playing),
            self.tested.eq(player.done & ~playing),
            self.passed.eq(player.passed),
        ]
        return m
