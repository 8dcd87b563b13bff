"""Targets, tensor layout, tiling, instruction encoding and the cycle model."""
