from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, ExtractorError, audit_statistics
from trademl_pipeline.market.calendar import sessions

DAYS = sessions(date(2019, 1, 2), date(2019, 12, 31))[:120]
KEYS = pl.DataFrame({"symbol": [f"S{i:02d}" for i in range(40)]}).join(
    pl.DataFrame({"session": DAYS}), how="cross"
)
RNG = np.random.default_rng(3)
TARGETS = KEYS.with_columns(forward_return=pl.Series(RNG.normal(0, 0.02, KEYS.height)))


def predictions(strength: float, targets: pl.DataFrame = TARGETS, seed: int = 0) -> pl.DataFrame:
    noise = pl.Series(np.random.default_rng(seed).normal(0, 1, targets.height))
    signal = pl.col("forward_return") / 0.02
    return targets.select("symbol", "session", score=strength * signal + (1 - strength**2) ** 0.5 * noise)


@pytest.mark.parametrize("strength", [0.0, 0.03])
def test_modest_skill_raises_no_alarm(strength):
    report = audit_statistics(predictions(strength), TARGETS)
    report.assert_clean()
    assert report.coverage["statistics"]["sessions"] == 120


@pytest.mark.parametrize("strength", [0.15, -0.15, 0.5])
def test_skill_beyond_the_ceiling_is_an_alarm(strength):
    (violation,) = audit_statistics(predictions(strength), TARGETS).violations
    assert "an alarm, not a success" in violation.detail
    assert violation.max_delta == pytest.approx(abs(strength), abs=0.05)


def test_the_ceiling_can_be_set():
    assert audit_statistics(predictions(0.15), TARGETS, ceiling=0.25).passed
    assert not audit_statistics(predictions(0.08), TARGETS, ceiling=0.03).passed


def test_luck_on_a_few_days_is_no_alarm():
    few = TARGETS.filter(pl.col("session") < date(2019, 1, 8))
    alarms = [not audit_statistics(predictions(0.0, few, seed), few).passed for seed in range(40)]
    assert sum(alarms) <= 3


def test_a_copied_target_is_an_alarm_even_on_one_day():
    one = DAYS[50]
    copied = (
        predictions(0.0)
        .join(TARGETS, on=["symbol", "session"])
        .with_columns(
            score=pl.when(pl.col("session") == one).then(pl.col("forward_return") * 3).otherwise("score")
        )
    )
    (violation,) = audit_statistics(copied.drop("forward_return"), TARGETS).violations
    assert violation.first_leak == one
    assert "almost perfectly" in violation.detail


def honest(_: pl.DataFrame) -> pl.DataFrame:
    return predictions(0.0)


def leaky(targets: pl.DataFrame) -> pl.DataFrame:
    return predictions(0.3, targets)


def test_a_pipeline_that_finds_nothing_in_permuted_targets_passes():
    report = audit_statistics(predictions(0.0), TARGETS, refit=honest)
    report.assert_clean()
    assert report.coverage["statistics"]["refits"] == 2


def test_a_pipeline_that_finds_permuted_targets_is_refused():
    report = audit_statistics(predictions(0.03), TARGETS, refit=leaky)
    details = [v.detail for v in report.violations]
    assert len(details) == 2
    assert "permuted within each session" in details[0]
    assert "21 sessions further ahead" in details[1]


def test_a_refit_that_raises_is_an_error():
    with pytest.raises(ExtractorError, match="on targets permuted"):
        audit_statistics(predictions(0.0), TARGETS, refit=lambda t: 1 / 0)


@pytest.mark.parametrize(
    ("found", "targets", "message"),
    [
        (predictions(0.0).clear(), TARGETS, "no predictions"),
        (predictions(0.0).drop("score"), TARGETS, "no column 'score'"),
        (predictions(0.0), TARGETS.rename({"forward_return": "x"}), "of outcomes"),
        (pl.concat([predictions(0.0)] * 2), TARGETS, "several rows"),
        (predictions(0.0).with_columns(score=pl.lit("high")), TARGETS, "must be numeric"),
        (predictions(0.0).with_columns(score=pl.lit(1.0)), TARGETS, "nothing can be ranked"),
        (predictions(0.0).with_columns(symbol=pl.lit("X") + pl.col("symbol")), TARGETS, "0 rows match"),
    ],
)
def test_predictions_that_cannot_be_scored_are_an_error(found, targets, message):
    with pytest.raises(AuditInputError, match=message):
        audit_statistics(found, targets)
