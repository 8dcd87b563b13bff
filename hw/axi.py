"""The signatures of the two buses, as their masters see them."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["axi4", "axi_lite", "flat"]


def axi4(data_bytes: int) -> wiring.Signature:
    """AXI4 with 32-bit addresses, without IDs, locks, caches, protection or regions.

    Parameters
    ----------
    data_bytes : bytes of a beat, a power of two
    """
    return wiring.Signature(
        {
            **{
                f"{channel}{name}": Out(width)
                for channel in ("aw", "ar")
                for name, width in (
                    ("addr", 32),
                    ("len", 8),
                    ("size", 3),
                    ("burst", 2),
                    ("valid", 1),
                )
            },
            "awready": In(1),
            "arready": In(1),
            "wdata": Out(8 * data_bytes),
            "wstrb": Out(data_bytes),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "rdata": In(8 * data_bytes),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def axi_lite(address_bits: int) -> wiring.Signature:
    """AXI4-Lite of 32-bit data, without protection."""
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def flat(prefix: str, signature: wiring.Signature) -> dict[str, wiring.Member]:
    """The signature's members as ports of a top module, each behind `prefix`."""
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}
