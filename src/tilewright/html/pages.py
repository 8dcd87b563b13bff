"""Which sections each command's page has: all that the command's result holds numbers for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tilewright.html.compression import bytes_section, stages_section
from tilewright.html.hardware import hardware_section
from tilewright.html.layers import (
    cycles_section,
    error_section,
    layers_section,
    loss_section,
)
from tilewright.html.network import network_section
from tilewright.html.page import page_text
from tilewright.html.pareto import confirmed_section, front_section, pareto_sections
from tilewright.html.parts import Section
from tilewright.html.ranges import ranges_section
from tilewright.html.roofline import roofline_section
from tilewright.html.simulated import counters_section, mismatch_section
from tilewright.html.timeline import timeline_section

__all__ = ["PAGES"]

Result = Mapping[str, Any]
"""What the command prints with --json, read back from JSON: no infinities, no tuples."""


def quantize_page(result: Result) -> str:
    """The page of `tilewright quantize`."""
    layers = result["layers"]
    found: list[Section | None] = [
        network_section(layers, result["edges"]),
        layers_section(layers),
        ranges_section(layers),
        error_section(layers),
        loss_section(result["losses"]),
    ]
    sections = [section for section in found if section is not None]
    return page_text(f"{result['name']}: quantization", {"Layers": str(len(layers))}, sections)


def report_page(result: Result) -> str:
    """The page of `tilewright report` and `tilewright build`."""
    layers, hardware = result["layers"], result["hardware"]
    sections: list[Section | None] = [
        network_section(layers, result["edges"]),
        layers_section(layers),
        roofline_section(layers, hardware),
        timeline_section(result["timeline"]),
        cycles_section(layers),
        hardware_section(result["resources"], result["board"]),
        ranges_section(result["ranges"]),
        error_section(layers),
    ]
    title = f"{result['name']} on target {result['target']}"
    return page_text(title, _report_facts(result), [s for s in sections if s is not None])


def _report_facts(result: Result) -> dict[str, str]:
    hardware, accuracy, rtl = result["hardware"], result["accuracy"], result["rtl"]
    facts = {
        "Array": f"{hardware['rows']} × {hardware['cols']} cells",
        "Bus": f"{hardware['bus_bytes']} bytes",
        "Clock": f"{hardware['clock_mhz']:g} MHz",
    }
    if accuracy is not None:
        facts["Accuracy"] = (
            f"float {accuracy['float']:.2%}, fixed {accuracy['fixed']:.2%} "
            f"on {accuracy['images']:,} images"
        )
    if rtl is not None:
        verdict = f"{rtl['mismatches']:,} differ" if rtl["mismatches"] else "all equal"
        facts["RTL"] = f"{rtl['values']:,} values on {rtl['images']:,} images, {verdict}"
        facts["Cycles"] = f"{rtl['cycles']:,} an image"
    return facts


def simulate_page(result: Result) -> str:
    """The page of `tilewright simulate`."""
    report = result["report"]
    layers = report["layers"]
    sections: list[Section | None] = [
        mismatch_section(result["mismatches"]),
        network_section(layers, report["edges"]),
        error_section(layers),
        cycles_section(layers),
        timeline_section(report["timeline"]),
        roofline_section(layers, report["hardware"]),
        counters_section(result["counters"]),
    ]
    title = f"{report['name']} on target {report['target']}: simulation"
    return page_text(title, _report_facts(report), [s for s in sections if s is not None])


def compress_page(result: Result) -> str:
    """The page of `tilewright compress`."""
    layers, plain, coded = result["layers"], result["plain_bytes"], result["stream_bytes"]
    formats = [{"name": name, **form} for name, form in result["formats"].items()]
    readers = {reader for _, reader in result["edges"]}
    sections: list[Section | None] = [
        stages_section(result["stages"]),
        bytes_section(layers),
        network_section([f for f in formats if f["name"] in readers], result["edges"]),
    ]
    facts = {
        "Steps": ", ".join(stage["step"] for stage in result["stages"][1:])
        or "Huffman codes alone",
        "Weights": f"{coded:,} of {plain:,} bytes, {plain / max(coded, 1):.1f} times fewer",
    }
    title = f"{result['name']}: compression"
    return page_text(title, facts, [s for s in sections if s is not None])


def sweep_page(result: Result) -> str:
    """The page of `tilewright sweep`."""
    points, front = result["points"], result["front"]
    sections: list[Section | None] = [
        *pareto_sections(points, front, result["objectives"]),
        front_section(points, front),
        confirmed_section(points),
    ]
    facts = {
        "Objectives": ", ".join(result["objectives"]),
        "Points": f"{len(points):,}, {len(front):,} of them on the front",
    }
    limits = {name: value for name, value in result["constraints"].items() if value is not None}
    if limits:
        facts["Constraints"] = ", ".join(f"{name} {value}" for name, value in limits.items())
    if result["float_accuracy"] is not None:
        facts["Float accuracy"] = f"{result['float_accuracy']:.2%} on {result['images']:,} images"
    if result["failed"]:
        facts["Cannot run"] = f"{len(result['failed']):,} points"
    title = f"{result['name']}: design space"
    return page_text(title, facts, [s for s in sections if s is not None])


PAGES: dict[str, Callable[[Result], str]] = {
    "compress": compress_page,
    "quantize": quantize_page,
    "report": report_page,
    "simulate": simulate_page,
    "sweep": sweep_page,
}
