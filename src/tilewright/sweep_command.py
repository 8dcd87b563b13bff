"""The subcommand `sweep`."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tilewright.config import Config
from tilewright.console import Outcome, print_lines, print_table
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.html.writing import require_plotly, write_page
from tilewright.outputs import staging, to_json
from tilewright.progress import show_progress
from tilewright.settings import load_graph, model_path, output_folder, resolve, test_data, user_data

if TYPE_CHECKING:
    from tilewright.graph.ir import Graph
    from tilewright.sweep.explore import Design, Found
    from tilewright.sweep.measure import Source
    from tilewright.sweep.request import Request
    from tilewright.sweep.space import Point, Space

__all__ = ["add_options", "sweep"]

STUDY = "sweep.db"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only `sweep` has."""
    add = parser.add_argument
    add(
        "--bits",
        dest="sweep_bits",
        metavar="LIST",
        help="of weights and feature maps alike: 4,5,6,8",
    )
    add("--weight-bits", dest="sweep_weight_bits", metavar="LIST", help="... of weights alone")
    add(
        "--feature-bits",
        dest="sweep_feature_bits",
        metavar="LIST",
        help="... of feature maps alone",
    )
    add("--average-bits", dest="sweep_average_bits", metavar="LIST",
        help="bits of a weight on average, chosen layer by layer")  # fmt: skip
    add("--compress", dest="recipes", action="append", metavar="STEPS",
        help="compress before, as 'prune 0.9, share 16' or none; may be repeated")  # fmt: skip
    add("--board", metavar="NAMES", help="boards with commas between (`tilewright boards`)")
    add("--target", "-t", metavar="NAME", help="without a board: a named target to start from")
    add("--arrays", metavar="LIST", help="auto, or ROWSxCOLS: 4x4,8x8 (default the board's)")
    add("--act-depth", metavar="LIST", help="words of each activation bank; auto")
    add("--acc-depth", metavar="LIST", help="pixels of each accumulator half; auto")
    add("--bus-bytes", metavar="LIST", help="without a board: bytes of the memory's bus")
    add("--weights-per-multiplier", metavar="LIST", help="2: two narrow weights share a multiplier")
    add("--clock", metavar="LIST", help="in MHz (default the board's)")
    add("--latency", type=int, metavar="CYCLES", help="without a board: the memory's (default 50)")
    add("--objective", dest="objectives", metavar="LIST", default="accuracy,cycles",
        help="what is to be best: accuracy, sqnr_db, cycles, fps, luts, ffs, dsps, brams, "
        "memory_bytes (default accuracy,cycles)")  # fmt: skip
    add("--max-loss", type=float, metavar="POINTS", help="of accuracy against float, in percent")
    add("--min-fps", type=float, metavar="N", help="images a second at least")
    add("--fits", metavar="BOARD", help="must fit this board's part and memory")
    add(
        "--search", choices=("grid", "nsga2", "tpe"), default="grid", help="all points, or Optuna's"
    )
    add("--points", type=int, metavar="N", help="most that a search tries (default 100)")
    add("--seed", type=int, metavar="N", help="of a search (default 0)")
    add("--confirm", type=int, metavar="N", help="measure the N best designs instead of estimating "
        "them: synthesis, placement where a board and nextpnr are there, simulation")  # fmt: skip
    add("--only", action="store_true",
        help="choose among the points asked for now, not among all that the study holds")  # fmt: skip
    add("--scheduler", metavar="ADDRESS", help="Dask's, tcp://host:port (default: local processes)")
    add("--workers", type=int, metavar="N", help="local processes; 0: threads (default processors)")
    add(
        "--study",
        metavar="FILE",
        help="SQLite file of the study (default sweep.db with the output)",
    )


def sweep(options: argparse.Namespace) -> Outcome:
    """Explore bits, arrays, buffers, clocks and boards; prints the Pareto front."""
    from tilewright.sweep.engine import Engine
    from tilewright.sweep.evaluate import Evaluator
    from tilewright.sweep.explore import explore
    from tilewright.sweep.measure import Source
    from tilewright.sweep.request import parse_request
    from tilewright.sweep.store import Store

    if options.html:
        require_plotly()
    config = resolve(options)
    request = parse_request(options, config)
    _check(options)
    with show_progress(quiet=options.quiet) as progress:
        progress(0, 0, "import and compare with the original")
        graph = load_graph(config)
        calibration = user_data(config, graph)
        source = Source(
            config=config, graph=graph, calibration=calibration,
            test=_labelled(config, graph, calibration),
        )  # fmt: skip
        folder = output_folder(config, graph.name)
        with (
            Store(Path(options.study or folder / STUDY)) as store,
            Evaluator(
                source,
                store,
                lambda: Engine(options.scheduler, options.workers, config.model.activations),
                config.simulate.latency,
                progress,
            ) as evaluator,
        ):
            found = explore(request, evaluator, store)
    result = {
        "output": str(folder),
        "study": str(store.path),
        **_result(found, request, source, _given(options, config)),
    }
    with staging(folder) as stage:
        (stage / "sweep.json").write_text(to_json(result), "utf-8")
        if options.html:
            write_page(stage / "sweep.html", result)
    wrong = any(d.measured is not None and d.measured["mismatches"] for d in found.designs)
    return Outcome(int(wrong), result, lambda console: _print(console, result, request, folder))


def _check(options: argparse.Namespace) -> None:
    if options.scheduler is not None and options.workers is not None:
        raise TilewrightError("Option --workers is not for --scheduler: a cluster has its workers")
    if options.workers is not None and options.workers < 0:
        raise TilewrightError(f"Option --workers must not be negative, not {options.workers}")


def _labelled(config: Config, graph: Graph, calibration: Data) -> Data | None:
    """Images on which accuracy is measured: the test images, else calibration images with labels."""
    found = test_data(config, graph)
    if found is None and calibration.labels is not None:
        return calibration
    return found


def _given(options: argparse.Namespace, config: Config) -> list[str]:
    """How a command begins that finds the network, its images and everything that no point says."""
    section = config.model
    words = ["tilewright", "sweep", model_path(config)]
    paths = (
        ("--config", options.config), ("--data", section.calibration), ("--test", section.test),
        ("--activations", options.activations), ("--target", options.target),
    )  # fmt: skip
    for option, path in paths:
        words += [] if path is None else [option, path]
    for name in ("mean", "scale"):
        values = getattr(section, name)
        default = getattr(type(section)(), name)
        words += [] if values == default else [f"--{name}", *map(repr, values)]
    shape = options.input_shape
    words += [] if shape is None else ["--input-shape", *map(str, shape)]
    return words + ([] if options.latency is None else ["--latency", str(options.latency)])


def _result(found: Found, request: Request, source: Source, given: Sequence[str]) -> dict[str, Any]:
    """The result for JSON; `given` is how commands begin."""
    known = [i for i, design in enumerate(found.designs) if design.error is None]
    place = {number: at for at, number in enumerate(known)}
    failed = [
        {"point": str(design), "error": design.error}
        for design in found.designs
        if design.error is not None
    ]
    return {
        "name": source.graph.name,
        "float_accuracy": found.float_accuracy,
        "images": None if source.test is None else len(source.test),
        "objectives": [objective.name for objective in request.objectives],
        "constraints": dataclasses.asdict(request.constraints),
        "measured_now": found.measured,
        "points": [_point(found.designs[i], request, given) for i in known],
        "front": [place[i] for i in found.front],
        "failed": failed,
    }


def _point(design: Design, request: Request, given: Sequence[str]) -> dict[str, Any]:
    point = design.point
    return {
        "name": str(design),
        "setting": {"name": str(point.setting), **dataclasses.asdict(point.setting)},
        "board": point.hardware.board,
        "target": dataclasses.asdict(point.hardware.target),
        **design.values,
        "measured": None if design.measured is None else dict(design.measured),
        "estimated": dict(design.estimated),
        "violations": dict(design.violations),
        "command": _command(design.point, request.space, given),
    }


def _command(point: Point, space: Space, given: Sequence[str]) -> str | None:
    """The command that tries this point alone, and measures it.

    None for a point of the study whose target has something that today's options do not give.
    """
    if not space.can_give(point):
        return None
    setting, target, board = point.setting, point.hardware.target, point.hardware.board
    words = list(given)
    if (
        board is not None and "--target" in words
    ):  # the other points of the study are without a board
        at = words.index("--target")
        del words[at : at + 2]
    words += [] if not setting.compress else ["--compress", ", ".join(setting.compress)]
    words += ["--feature-bits", str(setting.feature_bits)]
    if setting.average_bits is None:
        words += ["--weight-bits", str(setting.weight_bits)]
    else:
        words += ["--average-bits", f"{setting.average_bits:g}"]
    words += ["--bus-bytes", str(target.bus_bytes)] if board is None else ["--board", board]
    words += ["--arrays", f"{target.rows}x{target.cols}", "--act-depth", str(target.act_depth)]
    words += ["--acc-depth", str(target.acc_depth), "--clock", f"{target.clock_mhz:g}"]
    words += ["--weights-per-multiplier", str(target.weights_per_multiplier)]
    return shlex.join([*words, "--only", "--confirm", "1"])


def _print(console: Console, result: dict[str, Any], request: Request, folder: Path) -> None:
    from tilewright.sweep.pareto import OBJECTIVES

    shown = list(request.objectives)
    shown += [o for name, o in OBJECTIVES.items() if o not in shown and name != "sqnr_db"]
    chosen = [result["points"][i] for i in result["front"]]
    shown = [o for o in shown if any(point[o.name] is not None for point in chosen)]
    columns = ("setting", "array", "banks", "acc.", "MHz", "board", *(o.title for o in shown))
    rows = []
    for point in sorted(chosen, key=lambda p: _order(p, request)):
        target = point["target"]
        rows.append(
            (
                point["setting"]["name"],
                f"{target['rows']}×{target['cols']}",
                str(target["act_depth"]),
                str(target["acc_depth"]),
                f"{target['clock_mhz']:g}",
                point["board"] or "–",
                *(o.text(point[o.name]) for o in shown),
            )
        )
    print_table(console, f"{result['name']}: Pareto front", columns, rows)
    lines = [
        f"{len(chosen)} of {len(result['points'])} points, {result['measured_now']} results new"
    ]
    lines += _confirmed(result)
    if result["failed"]:
        lines.append(f"{len(result['failed'])} cannot run: {result['failed'][0]['error']}")
    print_lines(console, [*lines, f"Wrote {folder / 'sweep.json'}; the study is {result['study']}"])


def _confirmed(result: dict[str, Any]) -> list[str]:
    """Measured beside estimated, a line a design."""
    from tilewright.sweep.pareto import OBJECTIVES

    lines = []
    for point in result["points"]:
        if point["measured"] is None:
            continue
        parts = [
            f"{OBJECTIVES[name].text(point[name])} {OBJECTIVES[name].title} "
            f"({OBJECTIVES[name].text(was)} estimated)"
            for name, was in point["estimated"].items()
            if name in OBJECTIVES and was is not None
        ]
        if "fmax_mhz" in point["measured"]:
            parts.append(f"routed at {point['fmax_mhz']:g} MHz")
        wrong = point["measured"]["mismatches"]
        parts.append(f"{wrong:,} VALUES DIFFER" if wrong else "RTL equal to the reference")
        lines.append(f"Measured {point['name']}: {', '.join(parts)}")
        if "unplaced" in point["measured"]:
            lines.append(f"  not placed: {point['measured']['unplaced']}")
    return lines


def _order(point: dict[str, Any], request: Request) -> float:
    first = request.objectives[0]
    value: float = point[first.name]
    return -value if first.maximize else value
