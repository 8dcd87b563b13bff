"""The design space: bits, arrays, buffers, clocks and boards tried, and the best of them kept."""
