"""The schedule as a timeline: what each unit does when, in no more pieces than can be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tilewright.compiler.cycles import Event

__all__ = ["LayerSpans", "Span", "Timeline", "make_timeline"]

_OVERVIEW = 1500
_DETAIL = 6000
_LAYER = (40, 400)
"""Spans of a layer: at least, even if `_DETAIL` is exceeded, and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a unit's time: an instruction, or neighbours of one layer that were joined.

    Attributes
    ----------
    unit : load, weights, calc or store
    begin, end : cycles, end exclusive
    worked : cycles of these at work
    stalled : cycles in which an instruction waited for weights, memory, or who takes what it gives; in
        the other cycles the unit waited for another unit or for an instruction
    instructions : how many were joined
    """

    unit: str
    layer: str
    begin: int
    end: int
    worked: int
    stalled: int
    instructions: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpans:
    """The first instructions of a layer, and how many it has."""

    layer: str
    instructions: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The whole run, with neighbours joined where there are too many, and each layer's beginning."""

    cycles: int
    overview: tuple[Span, ...]
    layers: tuple[LayerSpans, ...]


def make_timeline(
    events: Iterable[Event], names: Sequence[str], cycles: int, *, most: int = _OVERVIEW
) -> Timeline:
    """The timeline of a program.

    Parameters
    ----------
    events : of the cycle model
    names : of the layers, in the order in which they run
    cycles : of the run
    most : spans of the overview, unless each layer has only one on each unit
    """
    spans = [_span(event, names) for event in sorted(events, key=lambda event: event.begin)]
    by_layer: dict[str, list[Span]] = {name: [] for name in names}
    for span in spans:
        by_layer[span.layer].append(span)
    least, largest = _LAYER
    shown = min(max(_DETAIL // len(names), least), largest)
    return Timeline(
        cycles=cycles,
        overview=_overview(spans, cycles, most),
        layers=tuple(
            LayerSpans(layer=name, instructions=len(found), spans=tuple(found[:shown]))
            for name, found in by_layer.items()
        ),
    )


def _span(event: Event, names: Sequence[str]) -> Span:
    return Span(
        unit=event.unit,
        layer=names[event.region],
        begin=event.begin,
        end=event.end,
        worked=event.end - event.begin - event.stalled,
        stalled=event.stalled,
    )


def _overview(spans: Sequence[Span], cycles: int, most: int) -> tuple[Span, ...]:
    """All spans, neighbours joined over ever longer gaps until few enough are left."""
    found, gap = sorted(spans, key=lambda span: (span.unit, span.begin)), max(cycles // 4096, 1)
    while len(found) > most and gap < 2 * cycles:
        found, gap = _joined(found, gap), 2 * gap
    return tuple(found)


def _joined(spans: Sequence[Span], gap: int) -> list[Span]:
    """Spans of one unit and layer that lie at most `gap` cycles apart become one."""
    groups: list[list[Span]] = []
    for span in spans:
        last = groups[-1][-1] if groups else None
        near = last is not None and span.begin - last.end <= gap
        if last is not None and near and (last.unit, last.layer) == (span.unit, span.layer):
            groups[-1].append(span)
        else:
            groups.append([span])
    return [
        Span(
            unit=group[0].unit,
            layer=group[0].layer,
            begin=group[0].begin,
            end=group[-1].end,
            worked=sum(span.worked for span in group),
            stalled=sum(span.stalled for span in group),
            instructions=sum(span.instructions for span in group),
        )
        for group in groups
    ]
