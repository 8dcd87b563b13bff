"""Boards of AMD/Xilinx: projects for Vivado, which PyPI does not have. Nothing here was run."""
