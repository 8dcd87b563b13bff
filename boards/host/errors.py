"""The one exception for what a user can mend."""

from __future__ import annotations

__all__ = ["HostError"]


class HostError(Exception):
    """A mistake in what was given, or something wrong with the board or the way to it.

    The message is one sentence that says what was found and what to do; the command line prints it
    without a traceback and ends with exit code 2.
    """
