"""Counting looks: the same predictions once however they are looked at, whatever differs on the same rows each time."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.evaluation.tries import (
    CHAMPION,
    CROSS_VALIDATION,
    ESTIMATOR,
    REPORT,
    Look,
    Tries,
    count,
    on_the_rows_of,
    packed,
    session_rows,
    unpacked,
)

DAYS = [date(2014, 1, 1) + timedelta(days=i) for i in range(40)]
SYMBOLS = ("A", "B", "C")


def scores(
    seed: int = 0,
    *,
    first: int = 0,
    last: int = 30,
    symbols: tuple[str, ...] = SYMBOLS,
    later: int | None = None,
) -> pl.DataFrame:
    """Predictions of some days; from day `later` on they are those of another seed."""
    keys = pl.DataFrame({"session": DAYS}).join(pl.DataFrame({"symbol": SYMBOLS}), how="cross")
    values = np.random.default_rng(seed).standard_normal(keys.height)
    if later is not None:
        values[later * 3 :] = np.random.default_rng(seed + 100).standard_normal(keys.height)[later * 3 :]
    return keys.with_columns(score=values).filter(
        pl.col("session").is_between(DAYS[first], DAYS[last - 1]), pl.col("symbol").is_in(symbols)
    )


def look(frame: pl.DataFrame, **more) -> Look:
    given = {"purpose": REPORT, "settings": "held 5", "runs": frozenset({"run"}), **more}
    return Look("s", model="", rows=session_rows(frame), **given)


def told(*scored_sets: Look) -> tuple[int, int, int]:
    """Tries, sets and alternatives of the last look among all that share rows with it."""
    counted = count(on_the_rows_of(scored_sets, scored_sets[-1]), scored_sets[-1])
    return counted.tries, counted.scored, counted.alternatives


def test_the_same_look_twice_is_one_in_any_order_of_its_rows() -> None:
    assert told(look(scores()), look(scores().sample(fraction=1, shuffle=True, seed=1))) == (1, 1, 1)


def test_predictions_that_are_followed_on_are_one_try() -> None:
    months = [look(scores(last=n)) for n in (10, 20, 30)]
    assert told(*months) == (1, 1, 1)
    assert told(*reversed(months)) == (1, 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        scores(1),
        scores(later=29),
        scores(symbols=("A", "B")),
        scores(first=5),
        scores().with_columns(pl.col("score") + 1e-12),
    ],
    ids=["another seed", "another seed at the end", "fewer symbols", "a later beginning", "a rounding error"],
)
def test_whatever_differs_on_the_same_rows_is_another_try(other: pl.DataFrame) -> None:
    assert told(look(other), look(scores())) == (2, 2, 2)
    assert told(look(other), look(scores()), look(other), look(scores())) == (2, 2, 2)


def test_other_settings_of_the_same_predictions_are_another_try() -> None:
    assert told(look(scores(), settings="held 1"), look(scores())) == (2, 2, 2)


def test_rows_count_and_not_hashes_of_all_of_them() -> None:
    evaluated = look(scores(last=10, symbols=("A",)))
    assert told(look(scores(1, first=10)), evaluated) == (1, 1, 1), "other sessions"
    assert told(look(scores(1, symbols=("B", "C"))), evaluated) == (1, 1, 1), (
        "other symbols of the same sessions"
    )
    assert told(look(scores(1, first=9)), evaluated) == (2, 2, 2), "one row in common"


def test_what_a_report_shows_beside_is_scored_and_no_try_of_its_own() -> None:
    evaluated, other = look(scores()), look(scores(1))
    beside = [look(scores(n), purpose=ESTIMATOR, settings="", within=evaluated.digest) for n in (2, 3)]
    assert told(*beside, evaluated) == (1, 3, 1)
    of_other = [look(scores(n), purpose=ESTIMATOR, settings="", within=other.digest) for n in (4, 5)]
    assert told(*beside, *of_other, other, evaluated) == (2, 6, 4)


def test_an_estimator_that_is_the_whole_study_is_no_other_set() -> None:
    evaluated = look(scores())
    assert told(look(scores(), purpose=ESTIMATOR, settings="", within=evaluated.digest), evaluated) == (
        1,
        1,
        1,
    )


def test_an_estimator_that_becomes_the_study_was_chosen_among_all_that_were_shown() -> None:
    before = look(scores())
    beside = [look(scores(n), purpose=ESTIMATOR, settings="", within=before.digest) for n in (1, 2, 3)]
    assert told(before, *beside, look(scores(2))) == (2, 4, 4)


def test_a_report_of_its_own_stays_a_try_though_another_shows_it_beside() -> None:
    evaluated, once = look(scores()), look(scores(1))
    shown_again = look(scores(1), purpose=ESTIMATOR, settings="", within=evaluated.digest)
    assert told(once, shown_again, evaluated) == (2, 2, 2)


@pytest.mark.parametrize("purpose", [CHAMPION, CROSS_VALIDATION])
def test_looks_by_the_judged_models_are_scored_and_those_by_others_are_tries(purpose: str) -> None:
    evaluated = look(scores())
    own = look(scores(1), purpose=purpose, settings="")
    assert told(own, evaluated) == (1, 2, 1)
    assert told(replace(own, runs=frozenset({"another"})), evaluated) == (2, 2, 2)
    assert told(replace(own, runs=frozenset()), evaluated) == (2, 2, 2), "nobody knows whose models they are"


def test_without_a_judged_look_all_that_stand_for_themselves_count() -> None:
    assert count([]) == Tries(0, 0, 0)
    assert count([look(scores()), look(scores(1), purpose=CHAMPION, settings="")]) == Tries(2, 2, 2)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(DAYS), st.text(min_size=1, max_size=6), st.floats(allow_nan=True)),
        min_size=1,
        max_size=40,
        unique_by=lambda row: row[:2],
    )
)
@settings(max_examples=50, deadline=None)
def test_packing_keeps_every_row(rows: list[tuple[date, str, float]]) -> None:
    frame = pl.DataFrame(
        rows, schema={"session": pl.Date, "symbol": pl.String, "score": pl.Float64}, orient="row"
    )
    looked = session_rows(frame)
    assert unpacked(packed(looked)) == looked
    assert sum(len(one.symbols) for one in looked.values()) == frame.height


@given(seeds=st.lists(st.integers(0, 4), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_count_is_of_different_sets_and_never_falls(seeds: list[int]) -> None:
    scored_sets = [look(scores(seed, last=3)) for seed in seeds]
    counts = [told(*scored_sets[: n + 1])[0] for n in range(len(scored_sets))]
    assert counts == [len(set(seeds[: n + 1])) for n in range(len(scored_sets))]


def test_a_month_of_three_thousand_symbols_takes_a_few_kilobytes() -> None:
    symbols = [f"S{i:04d}" for i in range(3000)]
    frame = pl.DataFrame({"session": DAYS[:21]}).join(pl.DataFrame({"symbol": symbols}), how="cross")
    assert len(packed(session_rows(frame.with_columns(score=0.5)))) < 20_000
