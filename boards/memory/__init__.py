"""Memories that a board puts behind the accelerator's AXI4 port."""
