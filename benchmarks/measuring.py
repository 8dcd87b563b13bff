"""What every benchmark measures in the same way: time, memory, machine; and where results go."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tilewright.outputs import to_json

__all__ = ["RESULTS", "Stopwatch", "commit", "machine", "missing", "peak_mb", "save"]

RESULTS = Path(__file__).with_name("results")


class Stopwatch:
    """Wall-clock seconds, CPU seconds and peak memory of named steps.

    CPU seconds count all threads and finished child processes: on a machine that does other things
    too they say more than the clock does. The peak is the process's until the end of the step.
    """

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block as step `name`."""
        start, busy = time.monotonic(), _cpu_seconds()
        yield
        self.steps[name] = {
            "seconds": round(time.monotonic() - start, 2),
            "cpu_seconds": round(_cpu_seconds() - busy, 2),
            "peak_mb": round(peak_mb()),
        }

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all steps."""
        return round(sum(step["seconds"] for step in self.steps.values()), 2)


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes (10**6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine() -> dict[str, Any]:
    """The machine: processor, cores, memory, and what runs on it."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def commit() -> str | None:
    """The commit that is checked out, "+" behind it if files differ from it; None outside of git."""
    describe = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(
            describe, cwd=RESULTS, check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.strip()


def missing(*packages: str) -> str | None:
    """Why a benchmark cannot run: a sentence that names the first package not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"package {package} is not installed"
    return None


def save(name: str, result: dict[str, Any], packages: tuple[str, ...] = ()) -> Path:
    """Write results/`name`.json: the result with the command, the machine and the versions.

    Parameters
    ----------
    name : of the benchmark; may begin with a folder in results/
    result : what it measured
    packages : whose versions matter, besides Tilewright's
    """
    content = {
        "command": shlex.join(["python", *_relative(sys.argv)]),
        "machine": machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {p: importlib.metadata.version(p) for p in ("tilewright", *packages)},
        **result,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(content), "utf-8")
    return path


def _relative(arguments: list[str]) -> list[str]:
    """Command line with the script as it is called from the repository's root."""
    return [f"{Path(__file__).parent.name}/{Path(arguments[0]).name}", *arguments[1:]]
