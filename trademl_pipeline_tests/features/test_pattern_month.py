"""A month of the table of patterns: the pattern observations of the full history, as prices of the session."""

from datetime import date, timedelta

import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, compute
from trademl_pipeline.features.consolidation import RULES
from trademl_pipeline.features.pattern_month import bars_start, pattern_month
from trademl_pipeline.features.patterns import consolidations, pattern_observations
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.market.calendar import month_range, month_sessions
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import PATTERNS

MONTHS = month_range("2013-06-01", "2013-12-01")


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    market = SimulatedMarket(seed=3, n_symbols=8)
    return market.fetch(market.symbols(), date(2010, 6, 1), date(2013, 12, 31))


def read(bars: pl.DataFrame, month: str) -> pl.DataFrame:
    return bars.filter(pl.col("session").is_between(bars_start(month), month_sessions(month)[-1]))


@pytest.fixture(scope="module")
def alone(bars: pl.DataFrame) -> pl.DataFrame:
    """Every month computed from its own warm-up."""
    return pl.concat([pattern_month(read(bars, month), month) for month in MONTHS])


def test_months_alone_are_the_full_history(bars: pl.DataFrame, alone: pl.DataFrame) -> None:
    whole = pl.concat([pattern_month(bars, month) for month in MONTHS])
    assert alone.height > 40
    exact = [c for c, t in alone.schema.items() if t != pl.Float64]
    assert alone.select(exact).equals(whole.select(exact))
    for column in alone.select(pl.selectors.float()).columns:
        assert ((alone[column] - whole[column]).abs() <= 1e-6 * whole[column].abs()).all(), column


def test_the_columns_are_those_of_the_table(alone: pl.DataFrame) -> None:
    assert alone.schema == PATTERNS.polars_schema
    assert not any(alone.null_count().row(0))
    assert (alone["knowledge_time"] <= alone["decision_time"]).all()


def test_snapshots_are_those_that_labels_are_made_for(bars: pl.DataFrame, alone: pl.DataFrame) -> None:
    marked = pattern_observations(prepare(bars)).filter(pl.col("session") >= month_sessions(MONTHS[0])[0])
    key = ["symbol", "session", "days_since_activation"]
    assert alone.sort(key).select(key).equals(marked.sort(key).select(key))


def test_every_snapshot_lies_in_its_pattern(bars: pl.DataFrame, alone: pl.DataFrame) -> None:
    assert (alone["start"] < alone["activation"]).all()
    assert (alone["activation"] <= alone["session"]).all()
    assert (alone["days_since_activation"] < RULES.max_sessions).all()
    found = consolidations(bars).select("symbol", "activation", "start", "last_active")
    joined = alone.join(found, on=["symbol", "activation"], suffix="_whole")
    assert joined.height == alone.height
    assert (joined["start"] == joined["start_whole"]).all()
    assert (joined["session"] <= joined["last_active"]).all()
    assert joined["pattern"].n_unique() == joined.select("symbol", "activation").n_unique()


def test_boundaries_are_prices_of_the_sessions_share(bars: pl.DataFrame, alone: pl.DataFrame) -> None:
    values = compute(bars, "breakout").select("symbol", "session", *FEATURE_SETS["breakout"][-20:])
    close = bars.select("symbol", "session", "close")
    both = alone.join(values, on=["symbol", "session"]).join(close, on=["symbol", "session"])
    assert both.height == alone.height
    assert ((both["upper"] / both["close"] - 1 - both["distance_from_upper"]).abs() < 1e-6).all()
    assert ((1 - both["lower"] / both["close"] - both["distance_from_lower"]).abs() < 1e-6).all()
    assert ((both["power"] / both["upper"] - RULES.power).abs() < 1e-9).all()
    assert ((both["baseline_bbw_right"] - both["baseline_bbw"]).abs() < 1e-9).all()


def test_a_split_within_a_pattern_moves_its_boundaries_with_the_price(
    bars: pl.DataFrame, alone: pl.DataFrame
) -> None:
    """Two for one on the third session of a pattern: half the price from then on, nothing else."""
    lasting = alone.filter(pl.len().over("pattern") > 6)
    symbol, day = lasting.filter(pl.col("days_since_activation") == 3).select("symbol", "session").row(0)
    month = f"{day:%Y-%m}-01"
    own = pl.col("symbol") == symbol
    after = own & (pl.col("session") >= day)
    split = bars.with_columns(
        *(
            pl.when(after).then(pl.col(c) / 2).otherwise(pl.col(c)).alias(c)
            for c in ("open", "high", "low", "close")
        ),
        pl.when(after).then(pl.col("volume") * 2).otherwise("volume").alias("volume"),
        pl.when(own & (pl.col("session") == day)).then(2.0).otherwise("split_factor").alias("split_factor"),
    )
    before, now = (pattern_month(read(frame, month), month) for frame in (bars, split))
    assert before.drop(pl.selectors.float()).equals(now.drop(pl.selectors.float()))
    halved = before.with_columns(
        pl.when(after).then(pl.col(c) / 2).otherwise(pl.col(c)).alias(c) for c in ("upper", "lower", "power")
    )
    for column in halved.select(pl.selectors.float()).columns:
        assert ((halved[column] - now[column]).abs() < 1e-9).all(), column


def test_a_bar_known_late_shows_in_the_snapshots_that_may_have_read_it(
    bars: pl.DataFrame, alone: pl.DataFrame
) -> None:
    symbol, session = alone.select("symbol", "session").row(-1)
    month = f"{session:%Y-%m}-01"
    day = month_sessions(month)[0] - timedelta(days=40)
    late = pl.col("knowledge_time") + pl.duration(days=200)
    own = (pl.col("symbol") == symbol) & (pl.col("session") >= day)
    first = own & (pl.col("session") == pl.col("session").filter(own).min())
    restated = bars.with_columns(
        pl.when(first).then(late).otherwise("knowledge_time").alias("knowledge_time")
    )
    got = pattern_month(read(restated, month), month).filter(pl.col("symbol") == symbol)
    assert (got["knowledge_time"] > got["decision_time"]).all()
