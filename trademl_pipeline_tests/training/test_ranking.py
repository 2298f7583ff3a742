"""Area under the curve and correlation."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trademl_pipeline.evaluation.metrics import Bootstrap, MetricsError, correlation, roc_auc


def frame(rng, sessions=120, rows=10, skill=0.5):
    n = sessions * rows
    outcome = (rng.random(n) < 0.3).astype(int)
    days = [date(2020, 1, 1) + timedelta(days=i // rows) for i in range(n)]
    score = np.round(skill * outcome + rng.standard_normal(n), 1)
    return pl.DataFrame({"session": days, "score": score, "target": outcome})


def test_area_is_that_of_sklearn_ties_included():
    rows = frame(np.random.default_rng(1))
    assert roc_auc(rows, None).value == pytest.approx(roc_auc_score(rows["target"], rows["score"]), abs=1e-12)


def test_interval_of_the_area_covers_its_truth_and_not_chance_where_there_is_skill():
    skilled = roc_auc(frame(np.random.default_rng(2), skill=1.0), Bootstrap(seed=1, draws=500))
    assert skilled.excludes(0.5)
    covered = 0
    for seed in range(100):
        score = roc_auc(frame(np.random.default_rng(100 + seed), skill=0.0), Bootstrap(seed=1, draws=200))
        covered += score.low <= 0.5 <= score.high
    # The 0.1 % point of a binomial of 100 at 95 % is 87.
    assert covered >= 87


def test_interval_of_the_area_is_as_wide_as_drawing_sessions_and_measuring_anew():
    rng = np.random.default_rng(3)
    rows = frame(rng)
    got = roc_auc(rows, Bootstrap(seed=1, block=1))
    parts = [(g["target"].to_numpy(), g["score"].to_numpy()) for _, g in rows.group_by("session")]
    draws = []
    for _ in range(300):
        drawn = [parts[i] for i in rng.integers(0, len(parts), len(parts))]
        draws.append(roc_auc_score(*(np.concatenate(x) for x in zip(*drawn, strict=True))))
    assert (got.high - got.low) / 3.92 == pytest.approx(np.std(draws), rel=0.2)


def test_within_groups_the_frequency_of_a_group_counts_for_nothing():
    rng = np.random.default_rng(6)
    often = rng.random(4000) < 0.5
    outcome = (rng.random(4000) < np.where(often, 0.8, 0.2)).astype(int)
    days = [date(2020, 1, 1) + timedelta(days=i // 10) for i in range(4000)]
    rows = pl.DataFrame({"session": days, "score": often * 1.0, "target": outcome, "group": often})
    assert roc_auc(rows, None).value == pytest.approx(0.8, abs=0.03)
    assert roc_auc(rows, None, within="group").value == 0.5
    told = rows.with_columns(score=pl.Series(often + outcome + rng.standard_normal(4000)))
    apart = [
        (len(g), roc_auc_score(g["target"], g["score"]), g["target"].mean())
        for g in told.partition_by("group")
    ]
    pairs = [n * n * m * (1 - m) for n, _, m in apart]
    expected = np.average([a for _, a, _ in apart], weights=pairs)
    found = roc_auc(told, Bootstrap(seed=1, draws=200), within="group")
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def test_one_class_has_no_area():
    rows = frame(np.random.default_rng(4)).with_columns(target=pl.lit(1))
    assert roc_auc(rows, None).value is None
    with pytest.raises(MetricsError, match="other values than 0 and 1"):
        roc_auc(rows.with_columns(target=pl.lit(2)), None)


def test_correlation_is_numpys_on_any_scale():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(400)
    y = 0.5 * x + rng.standard_normal(400)
    rows = pl.DataFrame({"session": [date(2020, 1, 1)] * 400, "x": 1e-9 * x + 1e-6, "y": 1e6 * y})
    assert correlation(rows, None, predicted="x", actual="y").value == pytest.approx(
        np.corrcoef(x, y)[0, 1], abs=1e-6
    )
    flat = rows.with_columns(x=pl.lit(3.0))
    assert correlation(flat, None, predicted="x", actual="y").value is None


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({came for _, came in rows}) == 2
    )
)
def test_area_heeds_only_the_order_and_turns_with_the_sign(rows):
    made = pl.DataFrame(
        {
            "session": [date(2020, 1, 1) + timedelta(days=i) for i in range(len(rows))],
            "score": [float(s) for s, _ in rows],
            "target": [int(c) for _, c in rows],
        }
    )
    area = roc_auc(made, None).value
    assert 0 <= area <= 1
    assert roc_auc(made.with_columns(pl.col("score").exp() * 7), None).value == pytest.approx(area)
    assert roc_auc(made.with_columns(-pl.col("score")), None).value == pytest.approx(1 - area)
    assert area == pytest.approx(roc_auc_score(made["target"], made["score"]))
