"""Every declared target keeps what its declaration says."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from trademl_pipeline.labels import TARGETS, Target
from trademl_pipeline.labels.month import ELSEWHERE, bars_start, by_known_session, label_month
from trademl_pipeline.market.calendar import count_between, month_sessions, offset
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.studies import DIRECTION

MONTH = "2013-12-01"
GONE = "SIM003"
EVERY = pytest.mark.parametrize("name", list(TARGETS))


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Eight names over two and a half years; one stops trading in the month."""
    market = SimulatedMarket(seed=7, n_symbols=8)
    found = market.fetch(market.symbols(), date(2011, 6, 1), date(2013, 12, 31))
    last = month_sessions(MONTH)[6]
    return found.filter((pl.col("symbol") != GONE) | (pl.col("session") <= last))


def read(bars: pl.DataFrame, target: Target, month: str = MONTH) -> pl.DataFrame:
    sessions = month_sessions(month)
    return bars.filter(pl.col("session").is_between(bars_start(target, month), sessions[-1]))


@EVERY
def test_the_table_holds_what_the_target_computes(name: str, bars: pl.DataFrame) -> None:
    target = TARGETS[name]
    labels = label_month(read(bars, target), target, MONTH)
    assert labels.height > 0
    assert labels.schema == target.table.polars_schema
    assert labels.select("symbol", "session").is_unique().all()
    nulls = {c for c in labels.columns if labels[c].null_count()}
    assert nulls <= target.nullable
    for column, names in target.classes.items():
        assert set(labels[column].drop_nulls()) <= set(names)


@EVERY
def test_labels_end_in_their_month_within_the_declared_horizon(name: str, bars: pl.DataFrame) -> None:
    target, sessions = TARGETS[name], month_sessions(MONTH)
    labels = label_month(read(bars, target), target, MONTH)
    assert labels["label_end"].is_between(sessions[0], sessions[-1]).all()
    spans = [count_between(a, b) for a, b in labels.select("label_start", "label_end").iter_rows()]
    assert min(spans) >= 1
    assert max(spans) <= target.horizon
    assert (labels["horizon"] == target.horizon).all()


@EVERY
def test_a_month_alone_equals_the_month_within_a_longer_history(name: str, bars: pl.DataFrame) -> None:
    """The declared lookback is enough: more history changes nothing beyond rounding."""
    target = TARGETS[name]
    alone = label_month(read(bars, target), target, MONTH)
    whole = label_month(bars, target, MONTH)
    assert alone.drop(pl.selectors.float()).equals(whole.drop(pl.selectors.float()))
    for column in alone.select(pl.selectors.float()).columns:
        assert (alone[column] - whole[column]).abs().max() < 1e-9, column


@EVERY
def test_the_lookback_is_not_declared_far_longer_than_needed(name: str, bars: pl.DataFrame) -> None:
    target = TARGETS[name]
    if target.lookback == 0:
        return
    short = replace(target, lookback=target.lookback // 3)
    labels = label_month(read(bars, short), short, MONTH)
    assert not labels.equals(label_month(read(bars, target), target, MONTH))


@EVERY
def test_a_label_is_known_at_its_end_and_not_before_its_bars(name: str, bars: pl.DataFrame) -> None:
    target = TARGETS[name]
    known = label_month(read(bars, target), target, MONTH)
    closes = bars.group_by(pl.col("session").alias("label_end")).agg(
        pl.col("knowledge_time").max().alias("t")
    )
    joined = known.join(closes, on="label_end")
    assert (joined["knowledge_time"] == joined["t"]).all()


def test_a_bar_restated_late_delays_the_labels_that_read_it(bars: pl.DataFrame) -> None:
    target = TARGETS["direction"]
    day = month_sessions(MONTH)[2]
    late = pl.col("knowledge_time") + pl.duration(days=10)
    one = (pl.col("symbol") == "SIM001") & (pl.col("session") == day)
    restated = bars.with_columns(pl.when(one).then(late).otherwise("knowledge_time").alias("knowledge_time"))
    before = label_month(read(bars, target), target, MONTH)
    after = label_month(read(restated, target), target, MONTH)
    moved = after.filter(before["knowledge_time"] != after["knowledge_time"])
    assert set(moved.filter(pl.col("label_end") != day)["symbol"]) == {"SIM001"}
    assert moved["label_end"].min() == day
    assert moved.height > 5


@EVERY
def test_forward_return_is_the_log_return_over_the_interval_or_the_session_that_is_said(
    name: str, bars: pl.DataFrame
) -> None:
    target = TARGETS[name]
    labels = label_month(read(bars, target), target, MONTH)
    if name == "forecast":
        assert labels["forward_return"].equals(labels["return_1"].alias("forward_return"))
        labels = labels.with_columns(
            pl.col("session").map_elements(lambda d: offset(d, 1), return_dtype=pl.Date).alias("label_end")
        )
    # Between ex-dates a return is the ratio of closes.
    plain = bars.filter((pl.col("split_factor") != 1) | (pl.col("dividend") != 0))["symbol"].unique()
    close = bars.select("symbol", "session", "close")
    both = (
        labels.filter(~pl.col("symbol").is_in(plain.implode()) & ~pl.col("last_price"))
        .join(close, on=["symbol", "session"])
        .join(close.rename({"session": "label_end", "close": "close_end"}), on=["symbol", "label_end"])
    )
    assert both.height > 0
    gone = (both["close_end"] / both["close"]).log()
    assert (both["forward_return"] - gone).abs().max() < 1e-12


def test_labels_of_one_end_are_told_apart_by_their_sum(bars: pl.DataFrame) -> None:
    """Swap the classes of two labels that end together: the row moves."""
    target = TARGETS["triple_barrier"]
    labels = label_month(read(bars, target), target, MONTH)
    twins = labels.filter(pl.len().over("symbol", "label_end") > 1)
    pair = (
        twins.group_by("symbol", "label_end")
        .agg(pl.col("session"), pl.col("forward_return"))
        .sort("symbol", "label_end")
        .row(0, named=True)
    )
    first, second = pair["session"][:2]
    a, b = pair["forward_return"][:2]
    assert a != b
    mine = pl.col("symbol") == pair["symbol"]
    swapped = labels.with_columns(
        pl.when(mine & (pl.col("session") == first))
        .then(b)
        .when(mine & (pl.col("session") == second))
        .then(a)
        .otherwise("forward_return")
        .alias("forward_return")
    )
    rows = bars.filter(pl.col("session").is_in(month_sessions(MONTH)))
    before, after = (by_known_session(x, target, rows) for x in (labels, swapped))
    moved = before.filter((before["forward_return"] - after["forward_return"]).abs() > 1e-12)
    assert moved.select("symbol", "session").rows() == [(pair["symbol"], pair["label_end"])]


@EVERY
def test_every_label_of_the_month_is_in_the_keyed_form(name: str, bars: pl.DataFrame) -> None:
    """Leave any label out: some row moves, those of a name that stopped trading included."""
    target = TARGETS[name]
    labels = label_month(read(bars, target), target, MONTH)
    rows = bars.filter(pl.col("session").is_in(month_sessions(MONTH)))
    whole = by_known_session(labels, target, rows)
    assert whole.height == rows.height
    gone = labels.filter(pl.col("last_price"))
    if name in ("direction", "forecast", "hybrid"):
        assert gone["symbol"].unique().to_list() == [GONE]
        assert whole[ELSEWHERE].count() > 0
    for dropped in (0, labels.height // 2, labels.height - 1):
        less = labels.with_row_index().filter(pl.col("index") != dropped).drop("index")
        assert not by_known_session(less, target, rows).equals(whole)
    for index in gone.with_row_index()["index"][:3]:
        less = labels.join(gone[int(index)], on=["symbol", "session"], how="anti")
        assert not by_known_session(less, target, rows).equals(whole)


def test_a_lost_value_of_a_label_moves_its_row(bars: pl.DataFrame) -> None:
    target = TARGETS["pattern"]
    labels = label_month(read(bars, target), target, MONTH)
    rows = bars.filter(pl.col("session").is_in(month_sessions(MONTH)))
    lost = labels.with_columns(pl.lit(None, dtype=pl.Int8).alias("trend_exhaustion"))
    assert not by_known_session(lost, target, rows).equals(by_known_session(labels, target, rows))


def test_the_direction_study_asks_for_the_direction_target() -> None:
    target = TARGETS["direction"]
    assert (target.horizon, DIRECTION.horizon) == (5, 5)
    assert list(target.table.columns) == [
        "symbol",
        "session",
        "label_start",
        "label_end",
        "forward_return",
        "threshold",
        "target",
        "horizon",
        "last_price",
        "knowledge_time",
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"values": {"target": pl.Int8}}, "forward_return"),
        ({"horizon": 0}, "horizon"),
        ({"lookback": -1}, "lookback"),
        ({"nullable": frozenset({"nothing"})}, "nothing"),
        ({"column_docs": {"forward_return": "r"}}, "target"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(change: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TARGETS["direction"], **change)


def test_around_the_clock_labels_end_on_weekends_too() -> None:
    """October 2022 begins on a Saturday and the horizon counts days."""
    market = SimulatedMarket(seed=7, n_symbols=3, calendar="24/7")
    target, month = TARGETS["direction"], "2022-10-01"
    start = bars_start(target, month, "24/7")
    assert (date(2022, 10, 1) - start).days == target.lookback + target.horizon
    labels = label_month(market.fetch(market.symbols(), start, date(2022, 10, 31)), target, month)
    assert labels["label_end"].unique().sort().to_list() == month_sessions(month, "24/7")
    spans = labels.select((pl.col("label_end") - pl.col("label_start")).dt.total_days()).to_series()
    assert (spans == target.horizon).all()
