"""What the report says of the hardware: estimates, what was built, what there is."""

import dataclasses

from tilewright.boards.proven import proven
from tilewright.boards.registry import get_board
from tilewright.boards.targets import get_target
from tilewright.resources import resources


def by_name(board, target=None, memory_bytes=5000):
    found = resources(target or board.target, board, memory_bytes)
    return {row.name: row for row in found}


def test_a_board_that_was_built_has_estimates_measurements_and_limits():
    board = get_board("icepi-zero")
    size = (board.target.rows, board.target.cols)
    (record,) = [one for one in proven(board.name) if (one["rows"], one["cols"]) == size]
    rows = by_name(board)
    assert rows["LUTs"].measured == record["lut"] and rows["LUTs"].available == 24288
    assert 0 < rows["LUTs"].estimated < 24288
    assert rows["MHz"].measured == record["fmax_mhz"] and rows["MHz"].available == 50
    assert rows["bytes of memory"].estimated == 5000
    assert rows["bytes of memory"].available == board.memory.size


def test_another_size_than_the_one_built_was_not_measured():
    board = get_board("icepi-zero")
    small = dataclasses.replace(board, target=dataclasses.replace(board.target, rows=2, cols=2))
    assert {row.measured for row in by_name(small).values()} == {None}


def test_a_family_without_a_model_has_what_was_measured_and_its_memory():
    board = get_board("tang-primer-20k")
    rows = by_name(board)
    assert rows["LUTs"].estimated is None and rows["LUTs"].measured
    small = dataclasses.replace(board, target=dataclasses.replace(board.target, cols=2))
    assert set(by_name(small)) == {"bytes of memory"}


def test_without_board_and_model_there_is_nothing_to_say():
    assert resources(get_target("tiny"), None, 5000) == ()
    target = dataclasses.replace(get_target("tiny"), multiplier="ecp5", multiplier_stages=4)
    rows = {row.name: row for row in resources(target, None, 5000)}
    assert rows["LUTs"].estimated and rows["LUTs"].available is None
