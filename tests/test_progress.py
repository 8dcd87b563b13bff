"""Progress where standard error is no terminal: lines with what is done and how long it takes yet."""

import pytest

from tilewright.progress import show_progress


@pytest.fixture
def clock(monkeypatch):
    """The time that progress sees; a test moves it."""
    now = [100.0]
    monkeypatch.setattr("tilewright.progress.time.monotonic", lambda: now[0])
    return now


def test_lines_say_how_much_time_is_left_at_the_speed_of_late(clock, capsys):
    with show_progress() as move:
        move(1, 100, "first")
        for done, seconds in ((5, 1.0), (11, 5.0), (31, 20.0)):
            clock[0] += seconds
            move(done, 100, "next")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["first (1/100)", "next (11/100, 0:53 left)", "next (31/100, 1:09 left)"]


def test_other_work_begins_without_an_estimate(clock, capsys):
    with show_progress() as move:
        move(1, 10, "one")
        clock[0] += 10.0
        move(2, 20, "another")
        clock[0] += 10.0
        move(0, 0, "of unknown length")
    assert capsys.readouterr().err.splitlines() == [
        "one (1/10)",
        "another (2/20)",
        "of unknown length",
    ]


def test_quiet_progress_says_nothing(capsys):
    with show_progress(quiet=True) as move:
        move(1, 2, "work")
    assert capsys.readouterr().err == ""


def test_what_begins_is_said_at_once_since_it_may_take_long(clock, capsys):
    with show_progress() as move:
        move(0, 2, "quick")
        move(1, 2, "quick")
        clock[0] += 0.1
        move(0, 0, "slow")
        move(0, 0, "slow")
    assert capsys.readouterr().err.splitlines() == ["quick (0/2)", "slow"]
