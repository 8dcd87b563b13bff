"""The one exception that a user's mistake raises."""

__all__ = ["TilewrightError"]


class TilewrightError(Exception):
    """A mistake in what the user gave: model, data, option or target.

    The message is one sentence that names the file, layer, attribute or option, says what was
    found and what is allowed, and what to do. The command line prints it without a traceback and
    exits with code 2. Faults of Tilewright itself are never raised as this class.
    """
