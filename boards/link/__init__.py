"""The host link: memory and registers over a UART, by the protocol of docs/link.md."""

from tilewright.boards.link.host_link import HostLink

__all__ = ["HostLink"]
