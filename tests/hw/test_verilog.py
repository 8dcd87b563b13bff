"""The Verilog that users get: complete, plain, stable, and read by two simulators."""

from __future__ import annotations

import gc
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from targets import TINY, need

from tilewright.hw.verilog import component_verilog, generate_verilog, top_name
from tilewright.sim.runner import simulator_environment

CHANNEL = "addr len size burst valid"
PORTS = {
    "clk": 1,
    "rst": 1,
    "irq": 1,
    **{
        f"m_axi_{channel}{name}": width
        for channel in ("aw", "ar")
        for name, width in zip([*CHANNEL.split(), "ready"], (32, 8, 3, 2, 1, 1), strict=True)
    },
    "m_axi_wdata": 64,
    "m_axi_wstrb": 8,
    "m_axi_wlast": 1,
    "m_axi_wvalid": 1,
    "m_axi_wready": 1,
    "m_axi_bresp": 2,
    "m_axi_bvalid": 1,
    "m_axi_bready": 1,
    "m_axi_rdata": 64,
    "m_axi_rresp": 2,
    "m_axi_rlast": 1,
    "m_axi_rvalid": 1,
    "m_axi_rready": 1,
    "s_axi_awaddr": 12,
    "s_axi_awvalid": 1,
    "s_axi_awready": 1,
    "s_axi_wdata": 32,
    "s_axi_wstrb": 4,
    "s_axi_wvalid": 1,
    "s_axi_wready": 1,
    "s_axi_bresp": 2,
    "s_axi_bvalid": 1,
    "s_axi_bready": 1,
    "s_axi_araddr": 12,
    "s_axi_arvalid": 1,
    "s_axi_arready": 1,
    "s_axi_rdata": 32,
    "s_axi_rresp": 2,
    "s_axi_rvalid": 1,
    "s_axi_rready": 1,
}
INPUTS = {
    *("clk", "rst"),
    *("m_axi_awready", "m_axi_arready", "m_axi_wready", "m_axi_bresp", "m_axi_bvalid"),
    *("m_axi_rdata", "m_axi_rresp", "m_axi_rlast", "m_axi_rvalid"),
    *("s_axi_awaddr", "s_axi_awvalid", "s_axi_wdata", "s_axi_wstrb", "s_axi_wvalid"),
    *("s_axi_bready", "s_axi_araddr", "s_axi_arvalid", "s_axi_rready"),
}

MODULES = [
    *("top", "control", "slave", "engine"),
    *("engine_accumulators", "accumulators_column", "accumulators_column_2"),
    *("engine_arbiter", "arbiter_log", "arbiter_order"),
    *("engine_array", "array_row", "array_row_2"),
    *("row_cell", "row_cell_2", "row_cell_3", "row_cell_4", "cell_multiplier"),
    *("engine_banks", "banks_row", "banks_row_2"),
    *(
        "engine_calc_unit",
        "calc_unit_drained",
        "calc_unit_loaded",
        "calc_unit_loader",
        "calc_unit_pixels",
        "calc_unit_tiles",
    ),
    *("engine_fetch_unit", "fetch_unit_check"),
    *("calc_unit_queue", "queue_requests", "queue_requests_2", "queue_requests_3"),
    *("queue_jobs", "queue_jobs_2", "queue_jobs_3"),
    *(
        "engine_load_unit",
        "load_unit_freed",
        "load_unit_queue",
        "load_unit_rotator",
        "load_unit_rows",
        "load_unit_stored",
        "load_unit_writer",
        "writer_gearbox",
    ),
    *("engine_reader_fetch", "reader_fetch_buffer"),
    *("reader_fetch_fifo", "reader_fetch_splitter"),
    *("engine_reader_load", "reader_load_buffer", "reader_load_fifo", "reader_load_splitter"),
    *("engine_reader_params", "reader_params_buffer", "reader_params_fifo"),
    "reader_params_splitter",
    *("engine_reader_weights", "reader_weights_buffer", "reader_weights_fifo"),
    "reader_weights_splitter",
    *(
        "engine_store_unit",
        "store_unit_packer",
        "packer_gearbox",
        "store_unit_parameters",
    ),
    *("store_unit_pooling", "store_unit_postprocess", "postprocess_lane0", "store_unit_queue"),
    *("store_unit_ready_sums", "store_unit_rows", "store_unit_stamp", "store_unit_walker"),
    *("engine_weights_unit", "weights_unit_gearbox", "weights_unit_queue"),
    *("engine_writer", "writer_lengths", "writer_log", "writer_pending"),
    *(
        "pixels_cols",
        "pixels_rows",
        "rows_rows",
        "walker_cols",
        "walker_win_cols",
        "writer_beats",
    ),
    *("writer_x", "writer_y", "writer_rows", "writer_splitter", "store_unit_results"),
    "writer_buffer",
]


@pytest.fixture(scope="module")
def text() -> str:
    return generate_verilog(TINY)


def modules(text: str) -> dict[str, str]:
    """Modules by name; their text from the port list on."""
    found = re.findall(r"^module (\S+)(.*?)^endmodule$", text, re.MULTILINE | re.DOTALL)
    return dict(found)


def test_the_top_has_these_ports(text: str) -> None:
    """Users wire them by name: a change here breaks their designs."""
    top = modules(text)[top_name(TINY)]
    found = {}
    for direction, high, name in re.findall(
        r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", top, re.MULTILINE
    ):
        found[name] = (direction, int(high or 0) + 1)
    assert {name: width for name, (_, width) in found.items()} == PORTS
    inputs = {name for name, (direction, _) in found.items() if direction == "input"}
    assert inputs == INPUTS


def test_the_modules_have_these_names(text: str) -> None:
    assert sorted(modules(text)) == sorted(f"{TINY.prefix}_{name}" for name in MODULES)


def test_the_same_target_gives_the_same_text(text: str) -> None:
    assert generate_verilog(TINY) == text
    assert generate_verilog(replace(TINY, name="other", clock_mhz=50.0)) == text


def test_equal_modules_are_written_once(text: str) -> None:
    bodies = list(modules(text).values())
    assert len(set(bodies)) == len(bodies)


def test_a_wider_array_needs_no_more_modules() -> None:
    """Rows, columns, banks and lanes are instances of few modules, however many there are."""
    wide = modules(generate_verilog(replace(TINY, rows=7, cols=6, acc_bits=32)))
    for part, most in (("row", 8), ("column", 4), ("lane", 1), ("multiplier", 1)):
        assert len([name for name in wide if re.search(rf"_{part}\d*(_\d+)?$", name)]) <= most


def test_every_instance_is_of_a_module_in_the_file(text: str) -> None:
    instances = re.findall(r"^  (\w+) (?:\\\S+ |\w+ )\($", text, re.MULTILINE)
    assert len(instances) > len(MODULES)
    assert set(instances) <= set(modules(text))
    assert set(modules(text)) - set(instances) == {top_name(TINY)}


def test_the_text_is_plain(text: str) -> None:
    """No path of this machine, no tool-made module name, no directive, no initial memory."""
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in modules(text))
    assert "`" not in text
    assert "procmux" not in text
    assert not re.search(r"/(home|root|usr|tmp|work)/", text)
    assert str(Path.cwd()) not in text
    assert "$readmem" not in text
    assert "initial begin" not in text


class Memories(wiring.Component):
    """A memory with contents and one without."""

    def __init__(self) -> None:
        super().__init__({"address": In(2), "filled": Out(8), "empty": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, contents in (("filled", [7, 0, 9]), ("empty", [])):
            m.submodules[name] = memory = Memory(shape=8, depth=4, init=contents)
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.address),
                getattr(self, name).eq(read.data),
                write.en.eq(self.address.all()),
                write.addr.eq(self.address),
                write.data.eq(self.address),
            ]
        return m


def test_only_a_memory_with_contents_is_initial() -> None:
    of_memories = component_verilog(Memories(), name="memories", prefix="some")
    contents = re.findall(r"\[\d\] = 8'h(\w\w);", of_memories)
    assert contents[:3] == ["07", "00", "09"]
    assert of_memories.count("initial begin") == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was_found(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(TypeError):
            component_verilog(object(), name="none", prefix="none")
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_accelerators_with_different_prefixes_fit_in_one_design(text: str) -> None:
    other = modules(generate_verilog(replace(TINY, prefix="second", rows=3)))
    assert not set(other) & set(modules(text))
    assert all(name.startswith("second_") for name in other)


def tool_says(command: list[str], text: str, folder: Path) -> str:
    """What a tool says about the text; it must accept it."""
    path = folder / "accelerator.v"
    path.write_text(text)
    done = subprocess.run(
        [*command, str(path)],
        env=simulator_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_verilator_accepts_it(text: str, tmp_path: Path) -> None:
    need("verilator")
    # What Yosys writes: implicit extension, functions whose cases overlap by intention. Any other
    # warning, such as a latch or a combinational loop, is an error.
    quiet = [f"-Wno-{name}" for name in ("WIDTHEXPAND", "WIDTHTRUNC", "CASEOVERLAP")]
    command = ["verilator", "--lint-only", "--top-module", top_name(TINY), *quiet]
    assert "LATCH" not in tool_says(command, text, tmp_path)


def test_icarus_accepts_it_as_verilog_2005(text: str, tmp_path: Path) -> None:
    need("icarus")
    said = tool_says(
        ["iverilog", "-g2005", "-Wall", "-t", "null", "-s", top_name(TINY)], text, tmp_path
    )
    assert "error" not in said
