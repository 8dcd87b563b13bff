"""Fixed-point formats, the arithmetic's definition, fractional-length search and QONNX."""
