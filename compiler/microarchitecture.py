"""Depths and latencies of the hardware on which the cycle model counts, defined once for both."""

__all__ = [
    "ACCUMULATE_LATENCY",
    "BANK_LATENCY",
    "DECODER_LATENCY",
    "DECODER_ROWS",
    "HALF_LATENCY",
    "HEAD_CYCLES",
    "INNER_QUEUE",
    "NEIGHBOURHOODS",
    "QUEUE_LATENCY",
    "READS_UNDER_WAY",
    "SUM_LATENCY",
    "UNIT_QUEUE",
    "WRITES_PENDING",
]

UNIT_QUEUE = 4
"""Instructions that wait in front of each unit, unless the target says otherwise."""
QUEUE_LATENCY = 2
"""Cycles from an instruction's entering a unit's queue to its head, if that is empty."""
HALF_LATENCY = 2
"""Cycles from an instruction's leaving a unit's first half to its being seen by the second."""
HEAD_CYCLES = 3
"""Cycles from an instruction's leaving a half of a unit to the next one's being seen there."""
INNER_QUEUE = 2
"""Instructions that the first half of a unit may be ahead of the second."""
READS_UNDER_WAY = 16
"""Read bursts that may be under way at once."""
WRITES_PENDING = 16
"""Write bursts that may await their response at once."""
BANK_LATENCY = 3
"""Cycles from a pixel's address at row r to its activation behind row r's bank."""
DECODER_LATENCY = 10
"""Cycles from the arrival of a compressed stream's words to the first row decoded from them."""
DECODER_ROWS = 16
"""Rows that each lane of the decoder holds ready."""
ACCUMULATE_LATENCY = 4
"""Cycles before an accumulator may be added to again, with short stages one more."""
NEIGHBOURHOODS = 4
"""Most groups of columns, from one to the next of which pass what all share, with short stages."""
SUM_LATENCY = 3
"""Cycles from a column's sum to its being part of an accumulator."""
