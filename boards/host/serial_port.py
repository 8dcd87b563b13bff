"""A serial port as the line to a board."""

from __future__ import annotations

import errno
from typing import Any, Self

from .errors import HostError

__all__ = ["SerialTransport"]

_ERRORS = (OSError, ValueError, TypeError)
"""pyserial's own are OSErrors; settings give ValueErrors, and a port that vanishes TypeErrors."""


class SerialTransport:
    """A serial port, or the pseudo-terminal of a virtual board.

    Parameters
    ----------
    port : such as /dev/ttyUSB0 or COM3
    baud : of the board's link

    In a `with` statement it is given back at the end.

    Raises
    ------
    HostError
        If the port is missing, busy or not allowed, here or in the midst of use.
    """

    def __init__(self, port: str, baud: int) -> None:
        import serial

        self.name = port
        try:
            self._port: Any = serial.Serial(port, baud, timeout=0, write_timeout=10, exclusive=True)
        except _ERRORS as error:
            raise HostError(_refusal(port, baud, error)) from None
        _hurry(self._port)

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._port.write(data)
        except _ERRORS as error:
            raise self._lost(error) from None

    def read(self, timeout: float) -> bytes:
        """What has arrived, waiting up to `timeout` seconds for the first byte; b"" if none came."""
        try:
            self._port.timeout = timeout
            first: bytes = self._port.read(1)
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except _ERRORS as error:
            raise self._lost(error) from None

    def discard(self) -> None:
        """Drop what has arrived and was not read."""
        try:
            self._port.reset_input_buffer()
        except _ERRORS as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _lost(self, error: Exception) -> HostError:
        return HostError(
            f"Port {self.name} has stopped working ({error}); plug the board in again and start anew"
        )


def _hurry(port: Any) -> None:
    """Have bytes handed over at once where the driver can: FTDI's waits 16 ms otherwise."""
    try:
        port.set_low_latency_mode(True)
    except (AttributeError, OSError, ValueError, NotImplementedError):
        return  # not Linux, or not such a driver: slower, but right


def _refusal(port: str, baud: int, error: Exception) -> str:
    """Why a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError) or number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"Port {port} does not exist; connect the board, and {_known_ports()}"
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return (
            f"Port {port} may not be opened by this user; add the user to the group that owns it "
            "(often dialout or uucp) and log in again"
        )
    if number in (errno.EAGAIN, errno.EBUSY) or "lock" in str(error):
        return f"Port {port} is in use by another program; end that program first"
    return (
        f"Port {port} cannot be opened at {baud} baud ({error}); check the port and the baud rate"
    )


def _known_ports() -> str:
    from serial.tools import list_ports

    names = sorted(entry.device for entry in list_ports.comports())
    return f"give one of {', '.join(names)}" if names else "no serial port is there now"
