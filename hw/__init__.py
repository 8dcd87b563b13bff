"""The accelerator in Amaranth: array, buffers, DMA, post-processing, control."""
