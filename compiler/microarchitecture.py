"""Depths and latencies of the hardware on which the cycle model counts, defined once for both."""

__all__ = [
    "ACCUMULATE_LATENCY",
    "BANK_LATENCY",
    "INNER_QUEUE",
    "READS_UNDER_WAY",
    "UNIT_QUEUE",
    "WRITES_PENDING",
]

UNIT_QUEUE = 4
"""Instructions that wait in front of each unit."""
INNER_QUEUE = 2
"""Instructions between the two halves of a unit."""
READS_UNDER_WAY = 16
"""Read bursts that may be under way at once."""
WRITES_PENDING = 16
"""Write bursts that may await their response at once."""
BANK_LATENCY = 3
"""Cycles from a pixel's address at row r to its activation behind row r's bank."""
ACCUMULATE_LATENCY = 4
"""Cycles before an accumulator may be added to again: the least period of weight tiles."""
