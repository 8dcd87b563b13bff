"""What the pre-flight check finds: one record per operator or attribute that is not supported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.errors import TilewrightError

__all__ = ["Finding", "Problem", "Unsupported", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing in a model that Tilewright cannot map.

    Attributes
    ----------
    node : name of the node, or of the graph input or output
    op_type : its operator, or "Input" / "Output"
    attribute : the attribute or operand at fault; None if it is the operator as a whole
    reason : what was found and what is allowed
    source : the user's source line ("file:line") where the exporter kept it; else None
    advice : what to do instead
    """

    node: str
    op_type: str
    attribute: str | None
    reason: str
    source: str | None
    advice: str

    def __str__(self) -> str:
        where = f" ({self.source})" if self.source else ""
        what = self.op_type if self.attribute is None else f"{self.op_type}.{self.attribute}"
        return f"{self.node}{where}: {what}: {self.reason}; {self.advice}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding before it is tied to a node."""

    reason: str
    advice: str
    attribute: str | None = None


class Unsupported(Exception):
    """Raised while one node is lowered; the importer turns it into findings and goes on."""

    def __init__(self, reason: str, advice: str, attribute: str | None = None) -> None:
        super().__init__(reason)
        self.problems: tuple[Problem, ...] = (Problem(reason, advice, attribute),)

    @classmethod
    def collect(cls, problems: Sequence[Problem]) -> None:
        """Raise one exception with all `problems`; do nothing if there are none."""
        if problems:
            error = cls(problems[0].reason, problems[0].advice, problems[0].attribute)
            error.problems = tuple(problems)
            raise error


def refusal(model: str, findings: Sequence[Finding]) -> TilewrightError:
    """Return the error that lists every finding, one a line."""
    plural = "thing" if len(findings) == 1 else "things"
    lines = [f"{model} has {len(findings)} {plural} that Tilewright does not support:"]
    return TilewrightError("\n".join([*lines, *(f"  {finding}" for finding in findings)]))
