"""Bytes lost, damaged and doubled on the way."""

from __future__ import annotations

from random import Random

__all__ = ["Noise"]


class Noise:
    """Loses, damages and doubles bytes, each with probability `rate` / 3."""

    def __init__(self, random: Random, rate: float) -> None:
        self.random, self.rate = random, rate

    def __call__(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            chance = self.random.random()
            if chance < self.rate / 3:
                continue
            damage = 1 << self.random.randrange(8) if chance < self.rate * 2 / 3 else 0
            out.append(byte ^ damage)
            if self.rate * 2 / 3 <= chance < self.rate:
                out.append(byte)
        return bytes(out)
