"""The one exception that a user's mistake raises."""

import difflib
from collections.abc import Iterable

__all__ = ["TilewrightError", "nearest"]


class TilewrightError(Exception):
    """A mistake in what the user gave: model, data, option or target.

    The message is one sentence that names the file, layer, attribute or option, says what was
    found and what is allowed, and what to do. The command line prints it without a traceback and
    exits with code 2. Faults of Tilewright itself are never raised as this class.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint for the message about an unknown name: the nearest known one, or all of them."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(options)}"
