"""`tilewright sweep`: every point once, the best of them, and what cannot be had said in a sentence."""

import json
import shlex

import pytest

from tilewright.sweep.pareto import OBJECTIVES, front, parse_objectives, rank
from tilewright.sweep.store import Store

ULX3S = ("--board", "ulx3s-85f")


def test_a_grid_tries_every_point_and_keeps_those_that_none_beats(sweep, folder):
    found = sweep(
        *ULX3S, "--bits", "3,8", "--arrays", "2x2,4x4", "--objective", "accuracy,cycles,luts",
        "-o", "grid",
    )  # fmt: skip
    names = {(p["setting"]["name"], p["target"]["rows"]) for p in found["points"]}
    assert names == {("w3 x3", 2), ("w3 x3", 4), ("w8 x8", 2), ("w8 x8", 4)}
    assert found["failed"] == [] and found["measured_now"] == 6  # two settings, four points
    by_name = {(p["setting"]["name"], p["target"]["rows"]): p for p in found["points"]}
    assert by_name["w8 x8", 2]["cycles"] > by_name["w8 x8", 4]["cycles"]
    assert by_name["w8 x8", 2]["luts"] < by_name["w8 x8", 4]["luts"]
    assert by_name["w3 x3", 4]["luts"] < by_name["w8 x8", 4]["luts"]
    assert by_name["w8 x8", 4]["dsps"] == 16
    point = by_name["w8 x8", 4]
    assert point["fps"] == pytest.approx(50e6 / point["cycles"])
    values = [found["points"][i] for i in found["front"]]
    assert all(
        any(
            a[name] * sign < b[name] * sign
            for name, sign in (("accuracy", -1), ("cycles", 1), ("luts", 1))
        )
        for a in values
        for b in values
        if a is not b
    )
    assert json.loads((folder / "grid" / "sweep.json").read_text()) == found


def test_what_was_measured_once_is_not_measured_again_and_new_points_join(sweep):
    few = ("--bits", "8", "-o", "again", "-t", "tiny")
    first = sweep(*few, "--arrays", "4x4")
    assert first["measured_now"] == 2
    assert sweep(*few, "--arrays", "4x4")["measured_now"] == 0
    more = sweep(*few, "--arrays", "2x4", "--clock", "50,75")
    assert more["measured_now"] == 1  # the clock changes no cycle
    assert len(more["points"]) == 3
    cycles = {p["target"]["cols"]: p["cycles"] for p in more["points"] if p["target"]["rows"] == 2}
    assert len({p["cycles"] for p in more["points"]}) == 2 and cycles


def test_a_sweep_that_was_interrupted_goes_on_where_it_stopped(sweep, folder, monkeypatch, capsys):
    from tilewright.cli import main

    put, count = Store.put, []

    def stop(self, key, value, data=None):
        put(self, key, value, data)
        count.append(key)
        if len(count) == 4:
            raise KeyboardInterrupt

    arguments = ("--bits", "8", "--arrays", "2x2,2x4,4x2,4x4,8x8", "-o", "stopped", "-t", "tiny")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", stop)
        assert (
            main(
                ["sweep", "net.onnx", "--data", "data.npz", "--quiet", "--workers", "0", *arguments]
            )
            == 130
        )
    capsys.readouterr()
    found = sweep(*arguments)
    # The float accuracy, the setting and two points were known.
    assert found["measured_now"] == 3 and len(found["points"]) == 5


def test_hardware_has_the_bits_of_layers_with_bits_of_their_own(sweep, folder):
    (folder / "mixed.toml").write_text(
        '[quant]\nrounding = "nearest"\n[quant.kinds.fc]\nweight_bits = 7\nfeature_bits = 8\n'
    )
    found = sweep(
        "--bits", "4,9", "--arrays", "4x4", "--config", "mixed.toml", "-t", "tiny", "-o", "own"
    )
    widths = {
        p["setting"]["name"]: (p["target"]["weight_bits"], p["target"]["act_bits"])
        for p in found["points"]
        if p["layer_bits"]["fc"] == 7
    }
    assert widths == {"w4 x4": (7, 8), "w9 x9": (9, 9)}


def test_clocks_that_a_board_cannot_have_are_left_out(sweep, refused):
    given = (*ULX3S, "--bits", "8", "--arrays", "2x2", "-o", "clocks")
    # The PLL cannot make 66.7 MHz, and at 75 MHz the SDRAM's data cannot be caught.
    found = sweep(*given, "--clock", "40,50,66.7,75")
    assert [p["target"]["clock_mhz"] for p in found["points"]] == [40, 50]
    assert "at 75 MHz no clock edge" in refused(*given, "--clock", "66.7,75")


TARGET = """
[quant]
rounding = "nearest"
[target]
preset = "tiny"
multiplier = "ecp5"
multiplier_stages = 3
burst_beats = 4
"""


def test_a_point_s_command_holds_everything_that_was_given(sweep, folder):
    (folder / "own.toml").write_text(TARGET)
    found = sweep(
        "--bits", "6", "--arrays", "2x2", "--latency", "21", "--config", "own.toml", "-o", "own",
        "--objective", "cycles,luts",
    )  # fmt: skip
    (point,) = found["points"]
    words = shlex.split(point["command"])
    again = sweep(*words[3:-2], "-o", "own", "--objective", "cycles,luts")
    assert again["measured_now"] == 0 and again["points"][0]["luts"] == point["luts"]
    # Without that file the study still holds the point, but no option gives its target.
    other = sweep("--bits", "6", "--arrays", "2x2", "--clock", "80", "-t", "tiny", "-o", "own")
    commands = {p["target"]["clock_mhz"]: p["command"] for p in other["points"]}
    assert commands[100] is None
    assert "--target tiny" in commands[80]


def test_constraints_leave_what_meets_them(sweep):
    grid = (*ULX3S, "--bits", "8", "--arrays", "2x2,4x4", "-o", "grid", "--objective", "luts")
    (smallest,) = sweep(*grid)["front"]
    found = sweep(*grid, "--min-fps", "20000", "--max-loss", "5", "--fits", "ulx3s-85f")
    (fast,) = found["front"]
    assert found["points"][fast]["fps"] >= 20000 > found["points"][smallest]["fps"]
    assert "--min-fps" in found["points"][smallest]["violations"]


def test_constraints_that_no_point_meets_name_the_nearest(refused):
    text = refused(*ULX3S, "--bits", "8", "--arrays", "2x2,4x4", "-o", "grid", "--min-fps", "1e6")
    assert "None of" in text and "4x4" in text and "--min-fps by" in text


def test_bits_are_given_together_apart_or_on_average(sweep):
    found = sweep(
        "--weight-bits", "4,8", "--feature-bits", "6", "--average-bits", "5", "-o", "bits", "-t", "tiny",
        "--objective", "sqnr_db,memory_bytes",
    )  # fmt: skip
    settings = {p["setting"]["name"]: p for p in found["points"]}
    assert list(settings) and set(settings) == {"w4 x6", "w8 x6", "w~5 x6"}
    mixed = settings["w~5 x6"]["layer_bits"]
    sizes = {"conv": 8 * 2 * 9, "fc": 8 * 3}
    average = sum(b * s for b, s in zip(mixed.values(), sizes.values(), strict=True))
    assert average / sum(sizes.values()) <= 5


def test_a_point_that_cannot_run_is_reported_and_the_others_go_on(sweep):
    found = sweep("--bits", "8", "-t", "tiny", "--act-depth", "16,2048", "-o", "small")
    assert [p["target"]["act_depth"] for p in found["points"]] == [2048]
    (failed,) = found["failed"]
    assert "act_depth is 16" in failed["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bits", "4,x"), "--bits must be whole numbers with commas between"),
        (("--bits", "1"), "must be in 2..16"),
        (("--bits", "8", "--weight-bits", "4"), "leave out --weight-bits"),
        (("--arrays", "4by4"), "ROWSxCOLS"),
        (("--objective", "cycle"), "'cycle' is unknown; did you mean 'cycles'"),
        (("--objective", "cycles,cycles"), "is given twice"),
        (("--board", "ulx4s"), "did you mean 'ulx3s-85f'"),
        (("--fits", "tang-primer-20k"), "known are the parts of ulx3s-85f"),
        (("--points", "5"), "--search"),
        (("--max-loss", "-1"), "must not be negative"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--workers is not for --scheduler"),
        (("--compress", "squeeze 2"), "has no method 'squeeze'"),
        (("--arrays", "99x4"), "No design of the sweep can be built"),
        (("--act-depth", "16"), "No design of the sweep can run"),
        (("--objective", "luts", "-t", "tiny"), "No resource model gives luts"),
        (("--study", "net.onnx"), "give an SQLite file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(refused, arguments, said):
    text = refused(*arguments, "-o", "wrong")
    assert said in text
    assert text.count("\n") == 1


def test_accuracy_needs_labels(refused):
    assert "give --test FILE" in refused("-t", "tiny", "-o", "unlabelled", data="unlabelled.npy")


def test_the_front_holds_what_no_other_beats_and_equal_points_once():
    points = [
        {"cycles": c, "accuracy": a} for c, a in ((5, 0.9), (3, 0.8), (5, 0.9), (6, 0.9), (3, 0.7))
    ]
    objectives = parse_objectives("accuracy,cycles")
    assert front(points, objectives) == [0, 1]
    assert front(points, (OBJECTIVES["cycles"],)) == [1]
    assert rank(points[:2], objectives) in ([0, 1], [1, 0])
