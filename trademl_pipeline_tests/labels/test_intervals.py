"""What every label promises of its interval: it is known at label_end, not before, and not changed after it."""

from collections.abc import Callable

import polars as pl
import pytest

from trademl_pipeline.labels import (
    breakout_labels,
    direction_labels,
    forward_labels,
    pattern_validations,
    triple_barrier_labels,
)
from trademl_pipeline_tests.features.panels import PRICES, random_bars, scaled

Label = Callable[[pl.DataFrame], pl.DataFrame]
LABELS: dict[str, Label] = {
    "direction": direction_labels,
    "forward": lambda b: forward_labels(b, horizons=(1, 30)),
    "breakout": breakout_labels,
    "validation": pattern_validations,
    "barrier": triple_barrier_labels,
}
KEY = ["symbol", "session", "horizon"]


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Fourteen names; one is delisted half way, and sessions are missing here and there."""
    walks = random_bars(14, 700, seed=5, gap=0.01)
    gone = walks["session"].unique().sort()[400]
    return walks.filter((pl.col("symbol") != "S002") | (pl.col("session") <= gone))


def key(labels: pl.DataFrame) -> list[str]:
    return [c for c in KEY if c in labels.columns]


@pytest.mark.parametrize("name", list(LABELS))
def test_the_label_is_a_function_of_the_bars_up_to_its_end(name: str, bars: pl.DataFrame) -> None:
    full = LABELS[name](bars)
    assert full.height > 100
    assert full.select(key(full)).is_unique().all()
    assert full.equals(full.sort(key(full)))
    sessions = bars["session"].unique().sort()
    for cut in sessions.gather([200, 350, 402, 405, 500, 640]):
        known = full.filter(pl.col("label_end") <= cut)
        got = LABELS[name](bars.filter(pl.col("session") <= cut))
        assert got.equals(known), cut


@pytest.mark.parametrize("name", list(LABELS))
def test_the_label_depends_on_its_end(name: str, bars: pl.DataFrame) -> None:
    """Move one session: only labels that end on it or later may change."""
    full = LABELS[name](bars)
    day = bars["session"].unique().sort()[450]
    jump = pl.when(pl.col("session") == day)
    moved = LABELS[name](
        bars.with_columns(jump.then(pl.col(c) * 1.5).otherwise(pl.col(c)).alias(c) for c in PRICES)
    )
    may_change = pl.col("label_end") >= day
    assert moved.filter(~may_change).equals(full.filter(~may_change))
    assert not moved.filter(may_change).equals(full.filter(may_change))


@pytest.mark.parametrize("name", list(LABELS))
def test_intervals_run_forward_from_the_decision(name: str, bars: pl.DataFrame) -> None:
    labels = LABELS[name](bars)
    assert (labels["label_start"] == labels["session"]).all()
    assert (labels["label_end"] > labels["label_start"]).all()
    assert labels["last_price"].null_count() == 0


@pytest.mark.parametrize("name", list(LABELS))
def test_a_delisted_names_labels_say_that_they_read_its_last_price(name: str, bars: pl.DataFrame) -> None:
    labels = LABELS[name](bars).filter(pl.col("symbol") == "S002")
    last = bars.filter(pl.col("symbol") == "S002")["session"].max()
    after = labels.filter(pl.col("label_end") > last)
    if name != "breakout":
        assert after.height > 0
    assert after["last_price"].all()


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_do_not_depend_on_the_unit_of_price_or_on_other_symbols(name: str, bars: pl.DataFrame) -> None:
    full = LABELS[name](bars)
    unit = LABELS[name](scaled(bars, 7.0))
    assert unit.drop(pl.selectors.float()).equals(full.drop(pl.selectors.float()))
    sessions = bars["session"].unique()
    alone = bars.filter(pl.col("symbol") == "S003")
    keep = [c for c in full.columns if c != "x"]
    # The calendar is the whole market's: one other name that always trades stands for it.
    market = (
        random_bars(1, 700, seed=99)
        .with_columns(symbol=pl.lit("M"))
        .filter(pl.col("session").is_in(sessions.implode()))
    )
    got = LABELS[name](pl.concat([alone, market])).filter(pl.col("symbol") == "S003")
    assert got.select(keep).equals(full.filter(pl.col("symbol") == "S003").select(keep))
