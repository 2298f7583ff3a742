import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.forecast_scores import (
    difference_of_means,
    error_over_last_price,
    mean_where,
    qlike_difference,
    sign_sharpe,
)
from trademl_pipeline.evaluation.metrics import Bootstrap, MetricsError

BOOT = Bootstrap(seed=1, draws=300)


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    n, m = 100, 4
    returns = 0.01 * rng.standard_normal(n * m)
    return pl.DataFrame(
        {
            "session": [date(2020, 1, 1) + timedelta(days=i // m) for i in range(n * m)],
            "came": returns,
            "said": returns + 0.01 * rng.standard_normal(n * m),
            "sigma": 0.01 + 0.001 * rng.random(n * m),
        }
    )


def test_sharpe_of_the_sign_is_that_of_the_daily_mean(rows):
    daily = (np.sign(rows["said"]) * np.expm1(rows["came"])).to_numpy().reshape(-1, 4).mean(axis=1)
    score = sign_sharpe(rows, BOOT, score="said", outcome="came", horizon=5)
    assert score.value == pytest.approx(math.sqrt(252 / 5) * daily.mean() / daily.std(ddof=1))
    held = np.expm1(rows["came"]).to_numpy().reshape(-1, 4).mean(axis=1)
    assert score.baselines["always_long"] == pytest.approx(
        math.sqrt(252 / 5) * held.mean() / held.std(ddof=1)
    )
    assert score.n == 100


def test_error_over_the_last_price_is_zero_for_no_change_and_minus_all_for_the_truth(rows):
    still = rows.with_columns(said=pl.lit(0.0))
    assert error_over_last_price(still, None, predicted="said", outcome="came").value == pytest.approx(0.0)
    truth = error_over_last_price(rows, None, predicted="came", outcome="came").value
    assert truth == pytest.approx(-np.abs(np.exp(-rows["came"].to_numpy()) - 1).mean())


def test_qlike_prefers_the_truth_and_ties_with_itself(rows):
    rng = np.random.default_rng(4)
    true = np.exp(rng.standard_normal(rows.height) * 0.5 - 4)
    outcome = np.abs(true * rng.standard_normal(rows.height))
    made = rows.with_columns(true=pl.Series(true), came=pl.Series(outcome), flat=pl.lit(float(true.mean())))
    assert qlike_difference(made, None, predicted="true", baseline="true", outcome="came").value == 0
    better = qlike_difference(made, BOOT, predicted="true", baseline="flat", outcome="came")
    assert better.high < 0
    with pytest.raises(MetricsError, match="'flat' holds volatilities <= 0"):
        qlike_difference(
            made.with_columns(flat=pl.lit(0.0)), None, predicted="true", baseline="flat", outcome="came"
        )


def test_means_and_their_difference_are_those_of_the_rows(rows):
    first, everyone = (
        pl.col("said") > 0,
        pl.lit(True).repeat_by(1).list.first() & pl.col("said").is_not_null(),
    )
    mean = mean_where(rows, BOOT, value="came", where=first, name="x")
    assert mean.value == pytest.approx(rows.filter(first)["came"].mean())
    assert mean.n == rows.filter(first).height
    gap = difference_of_means(rows, BOOT, value="came", first=first, second=everyone, name="x")
    assert gap.value == pytest.approx(rows.filter(first)["came"].mean() - rows["came"].mean())
    assert gap.low < gap.value < gap.high


def test_rows_of_few_sessions_have_a_mean_but_no_interval(rows):
    few = pl.col("session") < date(2020, 1, 5)
    score = mean_where(rows, BOOT, value="came", where=few, name="x")
    assert score.value is not None
    assert score.low is None
    assert mean_where(rows, BOOT, value="came", where=pl.col("said") > 9, name="x").value is None


def test_rows_of_which_it_is_not_known_are_not_chosen(rows):
    unknown = rows.with_columns(said=pl.when(pl.col("said") > 0.01).then(None).otherwise("said"))
    score = mean_where(unknown, BOOT, value="came", where=pl.col("said") > 0, name="x")
    assert score.n == unknown.filter(pl.col("said") > 0).height
    assert score.low is not None
