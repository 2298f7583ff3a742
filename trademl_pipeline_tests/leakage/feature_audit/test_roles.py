from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.feature_audit.roles import roles_of
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, VOLUME, bars, features

BARS = bars(6, 60, gaps=False).sort("symbol", "session")
RNG = np.random.default_rng(5)
SHARES = pl.col("symbol").str.slice(1).cast(pl.Float64) * 37.0 + 5.0
SPLIT_DAY = date(2019, 2, 20)
# S01 and S04 split 4 to 1; before that their raw prices are four times the adjusted ones.
SPLITS = pl.col("symbol").is_in(["S01", "S04"]) & (pl.col("session") < SPLIT_DAY)
FACTOR = pl.when(SPLITS).then(0.25).otherwise(1.0)
RAW = BARS.with_columns(
    [(pl.col(c) / FACTOR).alias(c) for c in ("open", "high", "low", "close")]
    + [(VOLUME * FACTOR).alias("volume")]
).with_columns(adj_close=CLOSE * FACTOR, cum=FACTOR, cfacpr=1 / FACTOR)
OTHER_NAMES = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
MORE = BARS.with_columns(
    settle=CLOSE * (1 + 0.001 * pl.Series(RNG.normal(size=BARS.height))),
    px_last=CLOSE * 100,
    bid_size=VOLUME / 100,
    dollar_volume=CLOSE * VOLUME,
    market_cap=CLOSE * SHARES,
    trades=pl.Series(RNG.integers(1, 500, BARS.height)),
)


def refused(report) -> set[str]:
    return {v.column for v in report.violations}


@pytest.mark.parametrize(
    ("frame", "leak"),
    [
        (MORE, pl.col("settle").log()),
        (MORE, pl.col("px_last") < 2000),
        (MORE, pl.col("bid_size").log()),
        (BARS.rename(OTHER_NAMES), pl.col("c").log()),
        (BARS.rename(OTHER_NAMES), pl.col("v").log()),
        (BARS.select("symbol", "session", settle="close"), pl.col("settle").log()),
        (BARS.rename({"open": "q", "high": "r", "low": "s", "close": "t", "volume": "u"}), pl.col("t").log()),
        (RAW, pl.col("adj_close") / CLOSE + pl.col("adj_close").pct_change()),
        (RAW.drop("adj_close", "cfacpr"), pl.col("cum")),
        (RAW.drop("adj_close", "cum"), pl.col("cfacpr").log()),
        (RAW.drop("adj_close").rename({"cum": "f"}), pl.col("f") + CLOSE.pct_change()),
        (RAW.rename({"adj_close": "settled_price"}), pl.col("settled_price") / CLOSE),
    ],
)
def test_a_price_level_is_refused_whatever_its_column_is_called(frame, leak):
    report = audit_features(features(return_of(frame), leak.cast(pl.Float64)), frame, probes=["adjustment"])
    assert refused(report) == {"x1"}


def return_of(frame: pl.DataFrame) -> pl.Expr:
    price = next(c for c in ("adj_close", "settled_price", "close", "c", "settle", "t") if c in frame.columns)
    if "cum" in frame.columns or "f" in frame.columns or "cfacpr" in frame.columns:
        factor = "cum" if "cum" in frame.columns else "f" if "f" in frame.columns else "cfacpr"
        if price == "close":
            adjusted = CLOSE / pl.col(factor) if factor == "cfacpr" else CLOSE * pl.col(factor)
            return adjusted / adjusted.shift(1)
    return pl.col(price) / pl.col(price).shift(1)


HONEST = [
    (MORE, pl.col("settle") / CLOSE),
    (MORE, pl.col("dollar_volume").log()),
    (MORE, pl.col("market_cap").log()),
    (MORE, pl.col("trades").log()),
    (MORE, pl.col("bid_size") / VOLUME),
    (BARS.rename(OTHER_NAMES), pl.col("h") / pl.col("l") + pl.col("c") / pl.col("o").shift(1)),
    (RAW, (CLOSE * VOLUME).log()),
    (RAW, pl.col("adj_close") / pl.col("adj_close").rolling_mean(5)),
    (RAW.drop("adj_close"), CLOSE * pl.col("cum") / (CLOSE * pl.col("cum")).shift(5)),
    (RAW.drop("adj_close"), CLOSE / pl.col("cfacpr") / (CLOSE / pl.col("cfacpr")).shift(5)),
    (RAW, pl.col("adj_close") / (CLOSE * pl.col("cum"))),
    (RAW, pl.col("adj_close") / (CLOSE / pl.col("cfacpr"))),
]


@pytest.mark.parametrize(("frame", "honest"), HONEST)
def test_what_a_split_leaves_alone_is_not_refused(frame, honest):
    audit_features(features(honest), frame, probes=["adjustment"]).assert_clean()


def test_the_coverage_names_what_was_not_restated():
    coverage = audit_features(features(RETURN), MORE, probes=["adjustment"]).coverage["adjustment"]
    assert coverage["not_restated"] == ["dollar_volume", "market_cap", "trades"]
    assert coverage["restated"] == sorted(
        ["open", "high", "low", "close", "volume", "settle", "px_last", "bid_size"]
    )
    rates = BARS.select("symbol", "session", ten_years="close", spread="low")
    skipped = audit_features(
        features(pl.col("ten_years")), rates, probes=["adjustment", "truncation"], cutoffs=2
    ).coverage["adjustment"]
    assert "no price column" in skipped["skipped"]
    assert skipped["not_restated"] == ["ten_years", "spread"]


def test_adjusted_columns_are_told_from_raw_ones_without_their_names():
    roles = roles_of(RAW.rename({"adj_close": "settled_price"}))
    assert roles.adjusted == {"settled_price": -1, "cum": -1, "cfacpr": 1}
    turned = RAW.rename({"close": "unadj_price", "adj_close": "close"}).drop(
        "open", "high", "low", "cum", "cfacpr"
    )
    assert roles_of(turned).adjusted == {"close": -1}
    assert roles_of(BARS).adjusted == {}


def test_a_factor_of_the_day_of_a_split_is_none_of_all_history():
    frame = BARS.with_columns(split_factor=pl.when(pl.col("session") == SPLIT_DAY).then(4.0).otherwise(1.0))
    assert roles_of(frame).others == ("split_factor",)
    renamed = roles_of(frame.rename({"split_factor": "event"}))
    assert renamed.others == ("event",)


def test_a_peek_at_a_crash_is_seen_in_prices_of_any_name():
    frame = BARS.rename(OTHER_NAMES)
    crash = pl.col("c").shift(-1) / pl.col("c") < 0.5
    report = audit_features(
        features(pl.when(crash.fill_null(False)).then(1.0).otherwise(0.0)),
        frame,
        probes=["truncation", "perturbation"],
        cutoffs=10,
    )
    assert {v.probe for v in report.violations} == {"perturbation"}
