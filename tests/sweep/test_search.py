"""A search by Optuna: seeded, within the space, in the study's file, and never twice the same point."""

import optuna
import pytest

SPACE = ("--bits", "4,6,8", "--arrays", "2x2,2x4,4x4", "--act-depth", "512,2048", "--clock", "50,75",
         "--objective", "sqnr_db,fps,luts", "--board", "ulx3s-85f")  # fmt: skip


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_a_search_tries_so_many_points_of_the_space_and_goes_on_later(sweep, folder, kind):
    given = (*SPACE, "--search", kind, "-o", kind, "--seed", "3")
    first = sweep(*given, "--points", "6")
    assert 1 <= len(first["points"]) <= 6 and first["front"]
    for point in first["points"]:
        assert point["setting"]["weight_bits"] in (4, 6, 8)
        assert point["target"]["act_depth"] in (512, 2048)
        assert point["target"]["clock_mhz"] in (50, 75)
    again = sweep(*given, "--points", "6")
    assert again["measured_now"] == 0 and again["points"] == first["points"]
    more = sweep(*given, "--points", "8")
    assert len(first["points"]) <= len(more["points"]) <= 8
    storage = f"sqlite:///{folder / kind / 'sweep.db'}"
    (name,) = optuna.get_all_study_names(storage)
    assert len(optuna.load_study(study_name=name, storage=storage).trials) == 8


def test_a_search_knows_what_a_grid_found(sweep):
    grid = (*SPACE[:2], "--arrays", "2x2,4x4", *SPACE[8:], "-o", "seeded")
    known = sweep(*grid)
    found = sweep(*grid, "--search", "nsga2", "--points", str(len(known["points"])))
    assert found["measured_now"] == 0
    assert found["front"] == known["front"]
