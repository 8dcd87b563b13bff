"""What is on a board's FPGA: accelerator, host link and memory, and the shell that has its pins."""

from __future__ import annotations

from typing import Any, Protocol

from amaranth.build import ResourceError
from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out, connect

from tilewright.boards.board import Board, Memory
from tilewright.boards.clocks import CHIP_LAG, ClockGenerator
from tilewright.boards.host.protocol import Identity
from tilewright.boards.link import HostLink
from tilewright.boards.link.flash_reader import FlashReader
from tilewright.boards.link.script_rom import ScriptRom
from tilewright.boards.memory.arbiter import BusArbiter
from tilewright.boards.memory.beat_arbiter import BeatBusArbiter
from tilewright.boards.memory.block_memory import BlockMemory
from tilewright.boards.memory.sdram import SdramController, sdram_pins
from tilewright.boards.memory.spram import Spram
from tilewright.boards.script import selftest_script
from tilewright.boards.selftest import known_answer
from tilewright.compiler.target import Target
from tilewright.hw.axi import flat
from tilewright.hw.top import Accelerator
from tilewright.hw.verilog import component_verilog

__all__ = ["CORE", "LEDS", "BoardCore", "BoardTop", "Settings", "core_verilog"]

CORE = "tilewright_board"
"""Name of the core's module."""

FLASH_PINS = {
    "flash_cs": Out(1),
    "flash_clk": Out(1),
    "flash_copi": Out(1),
    "flash_cipo": In(1),
}
"""The core's ports of FlashReader's members."""

LEDS = 3
"""Alive (blinks), the host sends, the accelerator's interrupt."""


class Settings(Protocol):
    """What the core must know of a board."""

    @property
    def target(self) -> Target:
        """The accelerator."""

    @property
    def memory(self) -> Memory:
        """Where programs and feature maps are."""

    @property
    def flash_address(self) -> int | None:
        """Where in its flash the board finds the script of power-up; None: in block RAM."""

    def identity(self, baud: int | None = None) -> Identity:
        """What the board says of itself over its link."""


class BoardCore(wiring.Component):
    """Everything but pins and clock: the same Verilog on the board and on the virtual board.

    The host link and the accelerator share the memory; the link alone has the registers.

    Parameters
    ----------
    board
    baud
        Of the link, where it is not the board's.

    Members
    -------
    rx, tx : ``In(1)``, ``Out(1)``
        The UART.
    leds : ``Out(3)``
        See LEDS.
    awake : ``Out(1)``
        The host is heard: what is done at power-up is over.
    sdram_* : sdram_pins, on boards with an SDRAM
        For I/O cells with registers; the chip's clock lags by a quarter of a cycle.
    flash_* : as of FlashReader, on boards with a script in flash
    """

    rx: Any
    tx: Any
    leds: Any
    awake: Any

    def __init__(self, board: Settings, baud: int | None = None) -> None:
        self._board = board
        self._identity = board.identity(baud)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "leds": Out(LEDS),
                "awake": Out(1),
                **_memory_ports(board),
                **({} if board.flash_address is None else FLASH_PINS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self._board.target.bus_bytes
        m.submodules.accelerator = accelerator = Accelerator(self._board.target)
        m.submodules.link = link = HostLink(self._identity, scripted=True)
        connect(m, self._script(m), link.script)
        bursts = self._board.target.bursts
        m.submodules.arbiter = arbiter = (BusArbiter if bursts else BeatBusArbiter)(width)
        m.submodules.memory = memory = _memory(self._board)
        if self._board.memory.chip is not None:
            _connect_flat(m, self, "sdram", memory.pins)
        connect(m, link.memory, arbiter.masters[0])
        _connect_flat(m, accelerator, "m_axi", arbiter.masters[1])
        connect(m, arbiter.slave, memory.bus)
        _connect_flat(m, accelerator, "s_axi", link.registers)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.awake.eq(link.awake),
            link.irq.eq(accelerator.irq),
            self.leds.eq(self._status(m, accelerator.irq)),
        ]
        return m

    def _script(self, m: Module) -> Any:
        """What the link plays at power-up, a stream."""
        address = self._board.flash_address
        if address is None:
            known = known_answer(self._board.target)
            m.submodules.rom = rom = ScriptRom(selftest_script(self._identity, known))
            return rom.o
        m.submodules.flash = flash = FlashReader(address)
        for name, member in FLASH_PINS.items():
            pin, port = getattr(flash, name.removeprefix("flash_")), getattr(self, name)
            m.d.comb += pin.eq(port) if member.flow is In else port.eq(pin)
        return flash.o

    def _status(self, m: Module, irq: Signal) -> Any:
        """The LEDs; a byte from the host keeps its LED on for long enough to be seen."""
        count = Signal(round(self._board.target.clock_mhz * 1e6).bit_length())
        heard = Signal(2)
        m.d.sync += count.eq(count + 1)
        with m.If(~self.rx):
            m.d.sync += heard.eq(3)
        with m.Elif(count[:-3].all()):  # some ten times a second
            m.d.sync += heard.eq(heard >> 1)
        return Cat(count[-1], heard[0], irq)


def _memory_ports(board: Settings) -> dict[str, Any]:
    chip = board.memory.chip
    return {} if chip is None else flat("sdram", sdram_pins(chip))


def _memory(board: Settings) -> Any:
    """The memory, an AXI4 slave `bus`."""
    memory, width = board.memory, board.target.bus_bytes
    if memory.chip is not None:
        timing = memory.chip.at(board.target.clock_mhz)
        return SdramController(timing, width, read_latency=timing.read_latency(CHIP_LAG))
    if memory.kind == "spram":
        return Spram(width, bursts=board.target.bursts)
    return BlockMemory(memory.size, width)


def _connect_flat(m: Module, component: Any, prefix: str, bus: Any) -> None:
    """Connect the ports `prefix`_* of a component with the other end of what they are."""
    for name, member in bus.signature.members.items():
        port = getattr(component, f"{prefix}_{name}")
        other = getattr(bus, name)
        m.d.comb += other.eq(port) if member.flow is In else port.eq(other)


def core_verilog(board: Board, baud: int | None = None) -> str:
    """Verilog of the board's core; `baud` only where it is not the board's."""
    return component_verilog(BoardCore(board, baud), name=CORE, prefix="tilewright")


class BoardTop(Elaboratable):
    """The top of a bitstream: PLL, reset, buffers at the pins, and the core as Verilog.

    Parameters
    ----------
    board
    verilog
        Of `core_verilog`.
    """

    def __init__(self, board: Board, verilog: str) -> None:
        self._board = board
        self._verilog = verilog

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        board = self._board
        m.domains.sync = ClockDomain()
        if board.family == "ecp5":
            m.domains.late = ClockDomain(reset_less=True)
        m.submodules.clock = ClockGenerator(
            board.family, board.pll, board.input_mhz, board.target.clock_mhz
        )
        platform.add_file("core.v", self._verilog)
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        leds = Signal(LEDS)
        ports = {"i_rx": rx.i, "o_tx": tx.o, "o_leds": leds}
        for number, pin in enumerate(_led_pins(platform)):
            m.submodules[f"led_{number}"] = led = io.Buffer("o", pin)
            m.d.comb += led.o.eq(leds[number])
        if board.memory.chip is not None:
            ports |= self._sdram(m, platform.request("sdram", 0, dir="-"))
        if board.flash_address is not None:
            ports |= _flash(m, platform)
        m.submodules.core = Instance(CORE, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)
        return m

    def _sdram(self, m: Module, pins: Any) -> dict[str, Any]:
        """Buffers with registers at the SDRAM's pins; the core's ports to them."""
        ports: dict[str, Any] = {}
        for name, pin in (
            *(("cke", pins.clk_en), ("cs", pins.cs), ("ras", pins.ras), ("cas", pins.cas)),
            *(("we", pins.we), ("ba", pins.ba), ("a", pins.a), ("dqm", pins.dqm)),
        ):
            m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer("o", pin)
            ports[f"o_sdram_{name}"] = buffer.o
        m.submodules.sdram_dq = dq = io.FFBuffer("io", pins.dq)
        m.submodules.sdram_clk = clock = io.DDRBuffer("o", pins.clk, o_domain="late")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        return ports | {
            "o_sdram_dq_o": dq.o,
            "o_sdram_dq_oe": dq.oe,
            "i_sdram_dq_i": dq.i,
        }


def _led_pins(platform: Any) -> list[Any]:
    """As many of the board's LEDs as there is something to show on."""
    pins = []
    for number in range(LEDS):
        try:
            pins.append(platform.request("led", number, dir="-"))
        except ResourceError:  # it has no more
            break
    return pins


def _flash(m: Module, platform: Any) -> dict[str, Any]:
    """Buffers at the flash's pins; the core's ports to them."""
    pins = platform.request("spi_flash_1x", 0, dir="-")
    ports = {}
    for name in ("cs", "clk", "copi"):
        m.submodules[f"flash_{name}"] = buffer = io.Buffer("o", getattr(pins, name))
        ports[f"o_flash_{name}"] = buffer.o
    for name in ("wp", "hold"):  # neither is asserted
        m.submodules[f"flash_{name}"] = io.Buffer("o", getattr(pins, name))
    m.submodules.flash_cipo = cipo = io.Buffer("i", pins.cipo)
    return {**ports, "i_flash_cipo": cipo.i}
