# amaranth: UnusedElaboratable=no
"""The board's end of the link in RTL, asked by the host's driver over a simulated line."""

from __future__ import annotations

from random import Random

import pytest
from line_noise import Noise
from link_bench import Bench
from synthesis import synthesize

from tilewright.boards.host.errors import HostError
from tilewright.boards.host.link import Link
from tilewright.boards.host.protocol import (
    FLAG,
    HEADER,
    NOT_ACKNOWLEDGED,
    Command,
    Identity,
    Status,
    enframe,
    unescape,
)
from tilewright.boards.link import HostLink
from tilewright.boards.link.host_link import PATIENCE
from tilewright.hw.verilog import component_verilog

BASE = 0x1000


def identity(**options: int) -> Identity:
    given = {"clock_hz": 12_000_000, "baud": 3_000_000, "data_bytes": 4, "payload": 64}
    return Identity(board="bench", memory_bytes=4096, memory_base=BASE, **(given | options))


def opened(bench: Bench) -> Link:
    return Link(bench, timeout_s=0.0001, gap_s=0.00001)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(identity())


@pytest.fixture(scope="module")
def link(bench: Bench) -> Link:
    return opened(bench)


def answers(bench: Bench, data: bytes) -> list[bytes | None]:
    """Bodies of the frames that the board sends on `data`, until it is silent."""
    bench.discard()
    bench.sent.extend(data)
    received = b""
    while chunk := bench.read(0.00005):
        received += chunk
    return [unescape(frame) for frame in received.split(bytes((FLAG,))) if frame]


def request(command: int, sequence: int, count: int, address: int, data: bytes = b"") -> bytes:
    return enframe(HEADER.pack(command, sequence, count, address) + data)


@pytest.mark.parametrize(
    "data_bytes, clock_hz, latency, drift", [(2, 12, 0, 0.01), (4, 13, 3, -0.01), (8, 14, 40, 0.0)]
)
def test_memory_and_registers_are_read_and_written(
    data_bytes: int, clock_hz: int, latency: int, drift: float
) -> None:
    made = identity(data_bytes=data_bytes, clock_hz=clock_hz * 1_000_000)
    bench = Bench(made, latency=latency, drift=drift)
    link = opened(bench)
    assert link.identity == made
    link.write_register(0x10, 0x12345678)
    assert link.read_register(0x10) == 0x12345678
    before = bytes(bench.memory)
    data = bytes([0x7E, 0x7D, 0x20, *range(40)])
    link.write_memory(BASE + 0x21, data)
    assert bench.memory == before[:0x21] + data + before[0x21 + len(data) :]
    assert link.read_memory(BASE + 0x1F, 47) == bench.memory[0x1F : 0x1F + 47]
    assert link.counts.retries == 0


def test_a_write_that_is_repeated_is_done_once_and_answered_again(bench: Bench, link: Link) -> None:
    bench.accesses.clear()
    frame = request(Command.WRITE_REGISTER, 77, 4, 0, b"\1\0\0\0")
    good = bytes((Command.WRITE_REGISTER, 77, 0))
    assert answers(bench, frame) == [good]
    assert answers(bench, frame) == [good]
    assert bench.accesses == [("write", 0, 1)]
    again = request(Command.WRITE_REGISTER, 78, 4, 0, b"\1\0\0\0")
    assert answers(bench, again) == [bytes((Command.WRITE_REGISTER, 78, 0))]
    assert bench.accesses == [("write", 0, 1)] * 2


def test_a_damaged_frame_is_refused_and_changes_nothing(bench: Bench, link: Link) -> None:
    before = bytes(bench.memory)
    frame = request(Command.WRITE_MEMORY, 80, 4, BASE, b"abcd")
    for at in range(1, len(frame) - 1, 3):
        damaged = frame[:at] + bytes((frame[at] ^ 0x04,)) + frame[at + 1 :]
        bench.discard()
        bench.sent.extend(damaged)
        assert bench.read(0.001) == bytes((NOT_ACKNOWLEDGED,))
    assert bench.memory == before


def test_a_frame_that_breaks_off_ends_with_the_next_one(bench: Bench, link: Link) -> None:
    frame = request(Command.WRITE_MEMORY, 81, 4, BASE, b"abcd")
    good = bytes((Command.WRITE_MEMORY, 81, 0))
    assert answers(bench, frame[:9] + frame)[-1] == good
    assert bench.memory[:4] == b"abcd"


def test_data_of_another_length_than_the_header_says_are_refused(bench: Bench, link: Link) -> None:
    for data in (b"abc", b"abcde", b""):
        assert answers(bench, request(Command.WRITE_MEMORY, 82, 4, BASE, data)) == [None]
    assert answers(bench, enframe(b"")) == [None]


def test_a_bus_that_does_not_answer_is_reported_and_used_again_once_it_does(
    bench: Bench, link: Link
) -> None:
    patient = Link(bench, timeout_s=2 * PATIENCE / bench.identity.clock_hz, gap_s=0.00001)
    where = BASE + 8
    reports = "got no answer from its bus on {} at 0x1000; reset the board"
    for name, use in (
        ("read memory", lambda: patient.read_memory(BASE, 16)),
        ("write memory", lambda: patient.write_memory(BASE, bytes(16))),
    ):
        bench.mute.add(where)
        with pytest.raises(HostError, match=reports.format(name)):
            use()
        assert patient.counts.retries == 0
        with pytest.raises(HostError, match="got no answer from its bus on read register"):
            patient.read_register(0)
        bench.mute.clear()
        bench.run(100)
        use()
        assert patient.read_register(0) == bench.registers.get(0, 0)
        assert patient.read_memory(BASE, 64) == bench.memory[:64]


def test_flags_between_frames_mean_nothing(bench: Bench, link: Link) -> None:
    assert answers(bench, bytes((FLAG,)) * 5) == []


@pytest.mark.parametrize(
    "command, count, address",
    [(4, 68, 0), (9, 4, 0), (0, 3, BASE), (0, 4, BASE + 2), (0, 68, BASE), (1, 4, 1), (6, 0, 0)],
)
def test_what_the_board_does_not_know_is_refused_and_not_done(
    bench: Bench, link: Link, command: int, count: int, address: int
) -> None:
    bench.accesses.clear()
    bench.bursts.clear()
    assert answers(bench, request(command, 90, count, address)) == [
        bytes((command, 90, Status.REFUSED))
    ]
    assert not bench.accesses
    assert not bench.bursts


def test_bus_errors_are_reported_for_reads_and_writes_and_the_next_request_is_good(
    bench: Bench, link: Link
) -> None:
    bench.faults = {BASE + 8, 0x40}
    for access in (
        lambda: link.read_memory(BASE, 16),
        lambda: link.write_memory(BASE + 8, b"1234"),
        lambda: link.read_register(0x40),
        lambda: link.write_register(0x40, 1),
    ):
        with pytest.raises(HostError, match=r"^Board 'bench' got a bus error on (read|write) "):
            access()
    assert link.status == Status.BUS_ERROR | Status.BUS_DECODE
    bench.faults = set()
    assert link.read_memory(BASE, 16) == bench.memory[:16]


def test_waiting_ends_with_the_interrupt_or_with_another_request(bench: Bench, link: Link) -> None:
    assert not link.wait(0.0001)
    assert link.read_register(0x10) == bench.registers.get(0x10, 0)
    bench.irq = 1
    assert link.wait(0.0001)
    bench.irq = 0


def test_a_line_that_was_cut_in_the_midst_of_a_write_is_usable_again(
    bench: Bench, link: Link
) -> None:
    before = bytes(bench.memory)
    frame = request(Command.WRITE_MEMORY, 99, 8, BASE, b"12345678")
    bench.sent.extend(frame[:14])
    for _ in range(200):
        bench.drive_line(0)
    bench.drive_line(1)
    bench.read(0.0002)
    again = opened(bench)
    assert again.read_memory(BASE, 16) == before[:16]


def test_noise_both_ways_is_repaired() -> None:
    noise = Noise(Random(5), 0.01)
    bench = Bench(identity(), noise=noise)
    link = opened(bench)
    before = bytes(bench.memory)
    data = Random(6).randbytes(70)
    for number in range(4):
        link.write_register(0x20, number)
    link.write_memory(BASE + 64, data)
    assert link.read_memory(BASE + 60, 90) == bench.memory[60:150]
    assert bench.memory == before[:64] + data + before[134:]
    assert [value for kind, _, value in bench.accesses if kind == "write"] == list(range(4))
    assert link.counts.refused
    assert link.counts.damaged


def test_a_board_that_does_not_answer_is_reported_after_so_many_tries() -> None:
    bench = Bench(identity(), noise=lambda data: b"")
    with pytest.raises(HostError, match=r"^No answer on the simulated line after 3 tries; check "):
        Link(bench, timeout_s=0.0001, tries=3)


def test_it_fits_in_500_luts_of_an_ice40() -> None:
    made = identity(data_bytes=2, payload=256)
    text = component_verilog(HostLink(made), name="link_top", prefix="link")
    cells = synthesize(text, "link_top", "ice40")[1]
    assert cells["SB_LUT4"] < 500
    assert cells["SB_RAM40_4K"] == 1
