"""Tilewright: fixed-point CNN accelerators for FPGAs, from a trained network to proven Verilog."""

__version__ = "0.1.0"
