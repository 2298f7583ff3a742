"""The panel: share basis, total return, unusable rows, and bars that are refused."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FeatureInputError, compute
from trademl_pipeline.features.operators import AGE
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline_tests.features.panels import PRICES, random_bars, weekdays


def flat_bars(closes: list[float], **columns: list[float]) -> pl.DataFrame:
    n = len(closes)
    return pl.DataFrame(
        {
            "symbol": ["A"] * n,
            "session": weekdays(n),
            **dict.fromkeys(PRICES, closes),
            "volume": [1000.0] * n,
            **columns,
        }
    )


def test_a_split_day_has_the_return_of_the_market_and_not_of_the_split() -> None:
    bars = flat_bars([100.0, 102.0, 51.0, 52.02], split_factor=[1.0, 1.0, 2.0, 1.0])
    got = compute(bars, "return_1")["return_1"].to_list()
    assert got == [None, pytest.approx(0.02), pytest.approx(0.0), pytest.approx(0.02)]
    panel = prepare(bars)
    assert panel["close"].to_list() == pytest.approx([100, 102, 102, 104.04])
    assert panel["volume"].to_list() == pytest.approx([1000, 1000, 500, 500])


def test_a_reverse_split_and_a_split_in_one_history() -> None:
    bars = flat_bars([10.0, 100.0, 25.0], split_factor=[1.0, 0.1, 4.0])
    assert compute(bars, "return_1")["return_1"].to_list()[1:] == pytest.approx([0.0, 0.0])


def test_dividends_count_as_return_on_their_ex_date() -> None:
    bars = flat_bars([100.0, 98.0, 98.0], dividend=[0.0, 3.0, 0.0])
    assert compute(bars, "return_1")["return_1"].to_list()[1:] == pytest.approx([0.01, 0.0])
    assert compute(bars, "gap")["gap"].to_list()[1:] == pytest.approx([0.01, 0.0])
    assert compute(bars, "roc_5")["roc_5"].to_list() == [None] * 3


def test_a_dividend_on_the_day_of_a_split_is_paid_on_the_new_share() -> None:
    bars = flat_bars([100.0, 49.0], split_factor=[1.0, 2.0], dividend=[0.0, 1.0])
    assert compute(bars, "return_1")["return_1"].to_list()[1] == pytest.approx(0.0)


def test_rows_marked_as_adjusted_keep_their_prices() -> None:
    bars = flat_bars([50.0, 51.0, 51.0], split_factor=[1.0, 1.0, 2.0], dividend=[0.0, 0.0, 1.0])
    plain = compute(flat_bars([50.0, 51.0, 51.0]), "return_1")
    assert compute(bars.with_columns(adjusted=pl.lit(True)), "return_1").equals(plain)
    assert not compute(bars.with_columns(adjusted=pl.lit(False)), "return_1").equals(plain)


def test_missing_factors_are_no_action() -> None:
    bars = flat_bars([10.0, 11.0, 12.0], split_factor=[1.0, float("nan"), 1.0], dividend=[0.0, None, 0.0])
    assert compute(bars, "return_1").equals(compute(flat_bars([10.0, 11.0, 12.0]), "return_1"))


def test_the_first_rows_factor_does_not_matter() -> None:
    """A history that starts on the day of a split."""
    bars = flat_bars([10.0, 11.0], split_factor=[3.0, 1.0])
    assert compute(bars, "return_1")["return_1"].to_list() == [None, pytest.approx(0.1)]


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("column", PRICES)
def test_a_row_without_four_usable_prices_is_a_missing_session(column: str, bad: float | None) -> None:
    bars = random_bars(2, 60, seed=1)
    row = pl.int_range(pl.len()) == 30
    broken = bars.with_columns(
        pl.when(row).then(pl.lit(bad, dtype=pl.Float64)).otherwise(pl.col(column)).alias(column)
    )
    got = compute(broken, "indicators")
    assert got.height == bars.height
    assert set(got.row(30)[2:]) == {None}
    assert got.filter(~row).equals(compute(bars.filter(~row), "indicators"))


def test_a_split_on_an_unusable_row_still_counts() -> None:
    bars = flat_bars([100.0, float("nan"), 50.0], split_factor=[1.0, 2.0, 1.0])
    assert compute(bars, "return_1")["return_1"].to_list() == [None, None, pytest.approx(0.0)]


def test_windows_step_over_gaps() -> None:
    bars = random_bars(1, 80, seed=2)
    gap = bars.filter(~pl.int_range(pl.len()).is_between(30, 40))
    squeezed = gap.with_columns(session=pl.Series(weekdays(gap.height)))
    calendar = ("day_of_week_sin", "day_of_week_cos", "month_sin", "month_cos")
    a, b = (compute(f, "indicators").drop("session", *calendar) for f in (gap, squeezed))
    assert a.equals(b)


def test_a_missing_volume_is_null_in_volume_features_only() -> None:
    bars = random_bars(1, 200, seed=3).with_columns(
        volume=pl.when(pl.int_range(pl.len()) == 100).then(None).otherwise(pl.col("volume"))
    )
    got = compute(bars, "indicators")
    assert got["rsi_14"][100] is not None
    assert got["volume_ratio_20"].to_list()[100:120] == [None] * 20
    assert got["volume_ratio_20"][120] is not None
    assert got["obv_slope_20"][140] is not None


def test_ages_count_the_usable_sessions_of_each_symbol() -> None:
    panel = prepare(random_bars(3, 20))
    assert panel.group_by("symbol", maintain_order=True).agg(pl.col(AGE).max())[AGE].to_list() == [19, 12, 5]


def test_integer_prices_and_volumes_will_do() -> None:
    bars = random_bars(1, 60).with_columns(pl.col(*PRICES, "volume").cast(pl.Int64))
    assert compute(bars, "forecast").equals(
        compute(bars.with_columns(pl.col(*PRICES, "volume").cast(pl.Float64)), "forecast")
    )


def test_hours_as_timestamps_will_do() -> None:
    bars = random_bars(1, 60)
    hours = bars.with_columns(
        pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 3, 11), "1h").alias("session")
    )
    got = compute(hours, "indicators")
    assert got["session"].dtype == pl.Datetime("us")
    assert got["rsi_14"].equals(compute(bars, "indicators")["rsi_14"])


def test_an_empty_frame_gives_an_empty_frame() -> None:
    got = compute(random_bars(1, 10).clear(), "breakout")
    assert got.height == 0
    assert len(got.columns) == 71


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.drop("volume"), "lack the column.s. volume"),
        (
            lambda b: b.with_columns(pl.col("close").cast(pl.String)),
            "column close is String; it must be numeric",
        ),
        (lambda b: b.with_columns(pl.col("session").cast(pl.String)), "column session is String"),
        (lambda b: pl.concat([b, b.head(1)]), "S000 has more than one row for 2015-01-05"),
        (lambda b: b.with_columns(symbol=pl.lit(None, dtype=pl.String)), "symbol or session is null"),
        (lambda b: b.with_columns(split_factor=pl.lit(0.0)), "split_factor holds values of 0 or less"),
    ],
)
def test_wrong_bars_are_refused_with_the_reason(change: object, message: str) -> None:
    with pytest.raises(FeatureInputError, match=message):
        compute(change(random_bars(2, 30)), "indicators")


def test_unknown_sets_are_named() -> None:
    with pytest.raises(KeyError, match="no feature set or feature is named 'breakuot'"):
        compute(random_bars(1, 10), "breakuot")


def test_sessions_keep_their_dates() -> None:
    bars = random_bars(1, 5)
    assert compute(bars, "forecast")["session"][0] == date(2015, 1, 5)
    assert np.isnan(compute(bars, "forecast")["return_1"].to_numpy()[0])
