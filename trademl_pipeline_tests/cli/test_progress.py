"""What a terminal shows of the work: bars that move while it is one, lines that stay, and no markup from outside."""

import io

import pytest
from rich.console import Console

from trademl_pipeline.cli.progress import WIDTH, TerminalListener


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=False)


@pytest.fixture
def listener(console: Console) -> TerminalListener:
    return TerminalListener(console)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_that_ends_is_full_whatever_is_left(listener: TerminalListener, console: Console):
    listener.began("Folds", 3)
    listener.advanced("fold_direction 2014-03-01")
    listener.ended()
    assert "3/3" in shown(console)
    assert "fold_direction 2014-03-01" in shown(console)


def test_a_bar_that_is_stopped_stays_where_it_was(listener: TerminalListener, console: Console):
    listener.began("Folds", 3)
    listener.advanced("fold_direction 2014-03-01", 2)
    listener.broke_off()
    assert "2/3" in shown(console)
    assert "3/3" not in shown(console)


def test_a_bar_can_be_set_to_a_place(listener: TerminalListener, console: Console):
    listener.began("Downloading", 0)
    listener.at("Downloading AAPL", 2, 5)
    listener.broke_off()
    assert "2/5" in shown(console)


def test_the_next_part_ends_the_one_before(listener: TerminalListener, console: Console):
    listener.began("Preparing", 2)
    listener.began("Folds", 4)
    listener.ended()
    assert "2/2" in shown(console)
    assert "4/4" in shown(console)


def test_long_names_are_cut(listener: TerminalListener, console: Console):
    listener.began("Folds", 1)
    listener.advanced("x" * (WIDTH + 1))
    listener.ended()
    assert "x" * WIDTH in shown(console)
    assert "x" * (WIDTH + 1) not in shown(console)


@pytest.mark.parametrize("what", ["advanced", "at", "ended", "broke_off"])
def test_without_a_bar_there_is_nothing_to_move(listener: TerminalListener, console: Console, what: str):
    {
        "advanced": lambda: listener.advanced("a"),
        "at": lambda: listener.at("a", 1, 2),
        "ended": listener.ended,
        "broke_off": listener.broke_off,
    }[what]()
    assert shown(console) == ""


def test_a_problem_is_one_line_as_it_was_told(listener: TerminalListener, console: Console):
    told = "features_x: 1 of 2 months refused [2014-01], " + "a long reason " * 20
    listener.problem(told.strip())
    assert shown(console) == f"refused or failed: {told.strip()}\n"


def test_a_line_is_printed_beside_a_bar(listener: TerminalListener, console: Console):
    listener.began("Preparing", 1)
    listener.said("  12 months in 3.0 s")
    listener.ended()
    assert "  12 months in 3.0 s\n" in shown(console)
