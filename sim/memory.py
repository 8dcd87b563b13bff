"""How the bench's memory behaves, and the files through which it is filled and read."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilewright.compiler.registers import RESPONSES
from tilewright.sim.runner import SimulationError

__all__ = ["MemoryConfig", "Section", "read_section", "write_section"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Behaviour of the memory of a whole-network run; changing it needs no new build.

    Attributes
    ----------
    base : bus address of the program's memory (MEM_BASE), aligned to 4096; taken modulo what the
        target's addresses reach
    read_latency : the first beat comes 1 + read_latency cycles after its address at the earliest
    write_latency : the response comes 1 + write_latency cycles after the last data beat
    outstanding : reads, and writes, accepted ahead (1..16)
    shared : reads and writes share one data beat a cycle, as in an SDRAM
    data_first : the address of a write is accepted only once its data waits
    refuse_unwritten : reading memory that nobody wrote fails the run
    stall_ar, stall_r, stall_aw, stall_w, stall_b : of 256 cycles, how many each channel waits
    stall_host : the same for the register bus
    read_errors, write_errors : byte offsets (first, last exclusive) answered with an error
    error_response : which error: "SLVERR" or "DECERR"
    error_burst : which of the bursts that touch those offsets since the last reset gets the error,
        from 1; 0: every one
    decode_errors : accesses outside the program's memory are answered with DECERR, as by an
        interconnect, instead of failing the run
    poison : byte that memory holds where the program put nothing
    seed : of the stalls and of registers without reset value
    """

    base: int = 0x1000_0000
    read_latency: int = 20
    write_latency: int = 10
    outstanding: int = 8
    shared: bool = False
    data_first: bool = False
    refuse_unwritten: bool = False
    stall_ar: int = 0
    stall_r: int = 0
    stall_aw: int = 0
    stall_w: int = 0
    stall_b: int = 0
    stall_host: int = 0
    read_errors: tuple[int, int] | None = None
    write_errors: tuple[int, int] | None = None
    error_response: str = "SLVERR"
    error_burst: int = 0
    decode_errors: bool = False
    poison: int = 0xA5
    seed: int = 1

    def __post_init__(self) -> None:
        if self.base % 4096 or not 0 <= self.base < 2**32:
            raise ValueError(f"base must be a multiple of 4096 below 2^32, not {self.base:#x}")
        if not 1 <= self.outstanding <= 16:
            raise ValueError(f"outstanding must be in 1..16, not {self.outstanding}")
        if not all(0 <= stall < 256 for stall in self.stalls):
            raise ValueError(f"stalls must be in 0..255, not {self.stalls}")
        if min(self.read_latency, self.write_latency) < 0:
            raise ValueError("latencies must not be negative")
        if self.error_response not in RESPONSES:
            raise ValueError(
                f"error_response must be one of {', '.join(RESPONSES)}, not {self.error_response!r}"
            )
        if self.error_burst < 0:
            raise ValueError(f"error_burst must not be negative, not {self.error_burst}")

    @classmethod
    def chaotic(cls, seed: int) -> MemoryConfig:
        """Every choice at random, the same for the same seed: for tests of robustness."""
        chance = random.Random(seed)
        ar, r, aw, w, b, host = (chance.choice((0, 0, 32, 128, 230)) for _ in range(6))
        return cls(
            base=chance.randrange(0, 0xE000_0000, 4096),
            read_latency=chance.choice((0, 1, 2, 7, 50, 300)),
            write_latency=chance.choice((0, 1, 2, 7, 50, 300)),
            outstanding=chance.choice((1, 2, 3, 8, 16)),
            shared=chance.random() < 0.5,
            data_first=chance.random() < 0.25,
            stall_ar=ar,
            stall_r=r,
            stall_aw=aw,
            stall_w=w,
            stall_b=b,
            stall_host=host,
            poison=chance.randrange(256),
            seed=seed,
        )

    @property
    def stalls(self) -> tuple[int, ...]:
        """Probabilities of 256 in the order of the bench's byte vector."""
        return (
            self.stall_ar,
            self.stall_r,
            self.stall_aw,
            self.stall_w,
            self.stall_b,
            self.stall_host,
        )

    def within(self, address_bits: int, used: int) -> MemoryConfig:
        """The same memory, with a base from which `used` bytes have addresses of `address_bits`."""
        last = (1 << address_bits) - -(-used // 4096) * 4096
        return self if self.base <= last else replace(self, base=self.base % (last + 4096))

    def bench_values(self, used: int) -> dict[str, int]:
        """Values of the bench's variables, with `used` bytes of memory open to the program."""
        reads = self.read_errors or (0, 0)
        writes = self.write_errors or (0, 0)
        return {
            "cfg_base": self.base,
            "cfg_bytes": used,
            "cfg_read_latency": self.read_latency,
            "cfg_write_latency": self.write_latency,
            "cfg_outstanding": self.outstanding,
            "cfg_shared": int(self.shared),
            "cfg_data_first": int(self.data_first),
            "cfg_refuse_unwritten": int(self.refuse_unwritten),
            "cfg_stalls": int.from_bytes(bytes(self.stalls), "little"),
            "cfg_read_error_first": self.base + reads[0],
            "cfg_read_error_last": self.base + reads[1],
            "cfg_write_error_first": self.base + writes[0],
            "cfg_write_error_last": self.base + writes[1],
            "cfg_error_response": RESPONSES[self.error_response],
            "cfg_error_burst": self.error_burst,
            "cfg_decode_errors": int(self.decode_errors),
            "seed": random.Random(self.seed).getrandbits(63) | 1,
        }


@dataclass(frozen=True, slots=True)
class Section:
    """Bus beats `first` .. `first` + `beats` - 1 around `size` bytes that begin `skip` bytes in."""

    first: int
    beats: int
    skip: int
    size: int

    @classmethod
    def covering(cls, address: int, size: int, bus: int) -> Section:
        """Beats around bytes `address` .. `address` + `size` - 1."""
        first = address // bus
        return cls(first, -(-(address + size) // bus) - first, address - first * bus, size)


def write_section(path: Path, section: Section, data: bytes, bus: int) -> None:
    """Write `data` as the bench's $fread wants it: whole beats, most significant byte first.

    Bytes of the first and last beat that are not in `data` become 0.
    """
    assert section.size == len(data)
    image = np.zeros(section.beats * bus, np.uint8)
    image[section.skip : section.skip + section.size] = np.frombuffer(data, np.uint8)
    path.write_bytes(image.reshape(-1, bus)[:, ::-1].tobytes())


def read_section(path: Path, section: Section, bus: int) -> bytes:
    """Bytes of what the bench wrote with $writememh; raises SimulationError if it is not whole."""
    if not path.is_file():
        raise SimulationError(f"the simulation left no {path}")
    lines = [line for line in path.read_text().splitlines() if line[:1] not in ("", "/", "@")]
    try:
        raw = np.frombuffer(bytes.fromhex("".join(lines)), np.uint8)
    except ValueError:
        raise SimulationError(f"{path} holds unknown (X) values") from None
    if raw.size != section.beats * bus:
        raise SimulationError(f"{path} holds {raw.size} bytes, not {section.beats * bus}")
    image = raw.reshape(-1, bus)[:, ::-1].tobytes()
    return image[section.skip : section.skip + section.size]
