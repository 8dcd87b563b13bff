"""What the tests of simulations share."""

import sys
from pathlib import Path

import pytest

from tilewright.hw.verilog import generate_verilog
from tilewright.sim.runner import build_simulation

# The toy accelerator is importable for the tests of this folder.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def builds(simulations):
    """Compiled simulations by target."""
    made = {}

    def build(target):
        if target.fingerprint not in made:
            made[target.fingerprint] = build_simulation(
                generate_verilog(target), target, simulations, memory_bytes=16 << 20
            )
        return made[target.fingerprint]

    return build
