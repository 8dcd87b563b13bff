"""Run every benchmark and set their numbers side by side: `make bench`.

Each runs in a process of its own and leaves results/<name>.json; one whose packages are not
installed says so, and its numbers from before stay. results/summary.md is written from the files.

    python benchmarks/run.py             # run all, then write the summary
    python benchmarks/run.py --summary   # only write the summary
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import accuracy_table
import compression_table
import reach
from measuring import RESULTS
from tables import origin, plain, table

__all__ = ["BENCHMARKS", "summary"]

ROAD = ("import", "quantize", "compile")
BENCHMARKS = (
    "utilization",
    "scale_sim",
    "tiling_search",
    "place_and_route",
    "sdram",
    "narrow_weights",
    "activation_cost",
    "tool_speed",
    "conv_utilization",
    "efficientnet_lite0",
    "accuracy",
    "onnx_wheel",
    "board_arrays",
    "vivado_boards",
    "ternary_array",
    "virtual_board",
    "resources",
    "clocks",
    "sweep",
    "calibration_speed",
    "shift_table",
)

COUNTED = ("lut", "ff", "dsp", "bram")
QIU_GOPS_PER_DSP = "0.24 (16 bit, whole network)"

MINUTES, GIGABYTES, USE = 3, 4, 0.95
"""What EfficientNet-Lite0 may take on 2 cores, and the array use that is asked of a convolution."""


def summary() -> str:
    """All results as a Markdown page."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `make bench` from the JSON files beside this page.",
        "",
    ]
    parts += [*reach.page(), ""]
    for name, (title, lines) in TABLES.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            content = json.loads(path.read_text("utf-8"))
            parts += [*([f"## {title}", ""] if title else []), *lines(content), ""]
            parts += [*origin(content), ""] if "machine" in content else []
    return "\n".join(parts)


def _clock(records: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            f"{found['rows']}×{found['cols']}, {found['part']}",
            f"≥ {found['target_mhz']:g}",
            f"**{found['fmax_mhz']:g}**",
            "yes" if found["met"] else "**no**",
            *(f"{found[key]:,}" for key in ("lut", "ff", "dsp", "bram")),
            f"{found['gops_per_dsp']:.3f}",
            QIU_GOPS_PER_DSP,
            found["critical_path"],
        )
        for found in records
    ]
    head = (
        *("accelerator", "MHz asked", "MHz after routing", "met", "LUT", "FF", "DSP", "BRAM"),
        *("GOP/s per DSP, peak", "Qiu 2016", "slowest path"),
    )
    lines: list[str] = table(head, rows)
    return lines


def _sdram(content: dict[str, Any]) -> list[str]:
    controllers = content["controllers"]
    cases = next(iter(controllers.values()))["words_per_clock"]
    rows: list[tuple[str, ...]] = [
        (case, *(f"{found['words_per_clock'][case]:.3f}" for found in controllers.values()))
        for case in cases
    ]
    for label, key in (("LUT4", "lut"), ("FF", "ff"), ("MHz after routing", "fmax_mhz")):
        rows.append((label, *(f"{one['implementation'][key]:,}" for one in controllers.values())))
    head = (f"words a clock, {content['chip']} at {content['clock_mhz']:g} MHz", *controllers)
    lines: list[str] = table(head, rows)
    return lines


def _boards(records: list[dict[str, Any]]) -> list[str]:
    networks = list(dict.fromkeys(name for found in records for name in found["fps"]))
    rows = [
        (
            f"{found['board']}, {found['part']}",
            f"{found['rows']}×{found['cols']}",
            f"{found['target_mhz']:g}",
            f"{found['fmax_mhz']:g}",
            *("–" if found[key] is None else f"{found[key]:,}" for key in COUNTED),
            f"{found['bitstream_bytes']:,}",
            f"{found['peak_gops']:g}",
            *("–" if (fps := found["fps"][name]) is None else f"{fps:,.1f}" for name in networks),
        )
        for found in records
    ]
    head = (
        *("board", "array", "MHz asked", "MHz after routing", *map(str.upper, COUNTED)),
        *("bitstream bytes", "peak GOP/s", *(f"{name}, images/s" for name in networks)),
    )
    lines: list[str] = table(head, rows)
    return lines


def _arrays(content: dict[str, Any]) -> list[str]:
    """The best arrays of each board."""
    rows = [
        (
            board,
            f"{found['rows']}×{found['cols']}",
            f"{found['luts_estimated']:,}",
            *(f"{count:,}" for count in found["cycles"].values()),
        )
        for board, arrays in content["boards"].items()
        for found in arrays
    ]
    networks = next(iter(content["boards"].values()))[0]["cycles"]
    head = ("board", "array", "LUTs, estimated", *(f"{name}, cycles" for name in networks))
    lines: list[str] = table(head, rows)
    return lines


def _vivado(content: dict[str, Any]) -> list[str]:
    rows = [
        (
            f"{name}, {found['part']}",
            f"{found['rows']}×{found['cols']}",
            "core" if found["whole_core"] else "accelerator",
            *(f"{found[key]:,} of {found['available'][key]:,}" for key in COUNTED),
            f"{found['cascaded']:,}",
        )
        for name, found in content["boards"].items()
    ]
    head = ("board", "array", "synthesized", *map(str.upper, COUNTED), "DSP48E1 in a cascade")
    lines: list[str] = table(head, rows)
    return lines


def _convolution(content: dict[str, Any]) -> list[str]:
    rows = [
        (
            {"read_write_apart": "side by side", "read_write_shared": "one beat a cycle"}[memory],
            f"{found['cycles_measured']:,}",
            f"{found['cycles_predicted'] / found['cycles_measured']:.4f}",
            f"{found['utilization']:.2%}",
            f"{USE:.0%}",
            f"{found['mismatches']} of {found['values']:,}",
        )
        for memory, found in content["result"].items()
    ]
    return [
        "## Array use, measured in RTL",
        "",
        (
            "Convolution of 64 to 64 channels, 3×3, padding 1, on 28×28; 16×16 array, 8-byte bus, "
            f"{content['latency']} cycles of latency. Cycles are the whole run's, from start to "
            "interrupt."
        ),
        "",
        *table(
            ("reads and writes", "cycles", "predicted ÷ measured", "useful", "asked", "wrong"), rows
        ),
    ]


def _efficientnet(content: dict[str, Any]) -> list[str]:
    steps, road, answers = content["steps"], content["road"], content["accuracy"]
    rtl, program = content["rtl"], content["program"]
    rows = [
        (name, f"{steps[name]['seconds']:.1f}", f"{steps[name]['cpu_seconds']:.1f}", "")
        for name in ROAD
    ]
    limit = 60 * MINUTES
    together = f"{sum(steps[name]['cpu_seconds'] for name in ROAD):.1f}"
    rows.append(("together", f"{road['seconds']:.1f}", together, f"{road['seconds'] / limit:.2f}"))
    lines = [
        "## EfficientNet-Lite0 with its ImageNet weights, 224×224, 8 bits",
        "",
        (
            f"{content['calibration_images']} calibration images; {program['layers']} layers, "
            f"{program['macs'] / 1e6:.0f} M multiply-accumulates."
        ),
        "",
        *table(("step", "seconds", "CPU seconds", f"÷ {MINUTES} minutes"), rows),
        "",
        (
            f"Peak memory {road['peak_mb'] / 1000:.2f} GB, {road['peak_mb'] / 1000 / GIGABYTES:.2f} of "
            f"{GIGABYTES} GB. Predicted: {program['cycles_predicted']:,} cycles an image, "
            f"{program['macs'] / program['cycles_predicted'] / 256:.0%} useful slots."
        ),
        (
            f"Right on {answers['photos']} photos: float {answers['float_correct']}, fixed "
            f"{answers['fixed_correct']}; the same answer on {answers['same_answer']}. (The photos are "
            "among the calibration images, and few.)"
        ),
        "",
    ]
    if rtl["skipped"]:
        return [*lines, f"RTL was not simulated: {rtl['skipped']}."]
    return [
        *lines,
        (
            f"RTL against the reference, {rtl['tiles']} tiles of every kind of layer: "
            f"{rtl['mismatches']} of {rtl['values']:,} values differ."
        ),
        "",
        *table(
            ("kind of layer", "tiles", "values", "wrong", "cycles", "predicted ÷ measured"),
            _tiles(content["rtl_tiles"]),
        ),
    ]


def _tiles(tiles: list[dict[str, Any]]) -> Iterable[tuple[str, ...]]:
    """One row for each kind of layer."""
    for kind in dict.fromkeys(tile["kind"] for tile in tiles):
        total = {
            key: sum(tile[key] for tile in tiles if tile["kind"] == kind)
            for key in ("values", "mismatches", "cycles_measured", "cycles_predicted")
        }
        yield (
            kind,
            str(sum(tile["kind"] == kind for tile in tiles)),
            f"{total['values']:,}",
            str(total["mismatches"]),
            f"{total['cycles_measured']:,}",
            f"{total['cycles_predicted'] / total['cycles_measured']:.4f}",
        )


def _wheel(content: dict[str, Any]) -> list[str]:
    return [
        "## The graphs in the onnx package",
        "",
        (
            f"Import, quantization on {content['images']} random images and compilation for the default "
            "target. Their weights are constants, so that feature maps explode or vanish: residuals lie "
            "far from what is added to them, which costs ResNet-50 and ShuffleNet many slots."
        ),
        "",
        *table(
            ("graph", "outcome", "layers", "M MAC", "MAC ÷ slots", "seconds", "CPU seconds", "GB"),
            (_graph(name, found) for name, found in content["graphs"].items()),
        ),
    ]


def _graph(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    if found["outcome"] == "failed":
        return (name, f"failed with exit code {found['exit_code']}", "", "", "", "", "", "")
    busy = sum(step["cpu_seconds"] for step in found["steps"].values())
    cost = (f"{found['seconds']:.1f}", f"{busy:.1f}", f"{found['peak_mb'] / 1000:.2f}")
    if found["outcome"] == "refused":
        missing = "; ".join(found["missing"])
        return (name, f"refused: {missing}", "", "", "", *cost)
    use = f"{found['macs'] / found['slots']:.2f}"
    return (name, "compiled", str(found["layers"]), f"{found['macs'] / 1e6:,.0f}", use, *cost)


TABLES: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "place_and_route": ("Clock, placed and routed", _clock),
    "sdram": ("SDRAM controller", _sdram),
    "boards": ("Bitstreams of boards, timing met", _boards),
    "board_arrays": ("Arrays of boards, by the cycle model", _arrays),
    "vivado_boards": ("Boards that need Vivado, by Yosys's synth_xilinx", _vivado),
    "virtual_board": ("Images through the driver on the virtual board", plain),
    "virtual_netlist": ("The same, with the core as synthesis made it", plain),
    "narrow_weights": ("Two narrow weights in one multiplier", plain),
    "tool_speed": ("Speed of the tools", plain),
    "conv_utilization": ("", _convolution),
    "efficientnet_lite0": ("", _efficientnet),
    "accuracy": ("Accuracy in fixed point", accuracy_table.lines),
    "accuracy_views": (
        "The same, each test image seen five times, moved a little",
        accuracy_table.lines,
    ),
    "compression": ("Compression", compression_table.lines),
    "compression_layers": ("Compression, layer by layer", plain),
    "compression_lowrank": ("Low rank at equal ranks, without retraining", plain),
    "sweep": ("Design-space sweep: time, and errors of its estimates", plain),
    "onnx_wheel": ("", _wheel),
}
"""Title and table of each result; those without a title write their own."""


def main() -> int:
    """Run all; the exit code of the first benchmark that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", action="store_true", help="run nothing")
    worst = 0
    if not parser.parse_args().summary:
        for name in BENCHMARKS:
            print(f"== {name}", flush=True)
            script = Path(__file__).with_name(f"{name}.py")
            code = subprocess.run([sys.executable, script], check=False).returncode
            worst = worst or code
    (RESULTS / "summary.md").write_text(summary(), "utf-8")
    print("benchmarks/results/summary.md written")
    return worst


if __name__ == "__main__":
    sys.exit(main())
