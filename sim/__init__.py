"""Simulation of the generated Verilog against the integer reference."""
