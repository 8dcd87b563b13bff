"""The host's driver of an accelerator on a board; needs NumPy, pyserial and nothing else.

`tilewright build` copies this folder, with a network's program, as the package `tilewright_host`.

    from tilewright_host import Accelerator, HostProgram, SerialTransport

    accelerator = Accelerator(SerialTransport("/dev/ttyUSB0", 3_000_000))
    accelerator.load(HostProgram.load("program.twp"))
    print(accelerator.run(image).classes[:5])
"""

from .accelerator import Accelerator, Run
from .errors import HostError
from .link import Link
from .program import HostProgram
from .serial_port import SerialTransport
from .transport import Transport

__all__ = [
    "Accelerator",
    "HostError",
    "HostProgram",
    "Link",
    "Run",
    "SerialTransport",
    "Transport",
]
