"""Windows: on which sessions they end, and the gate on a month whose windows know later ones."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

import trademl_pipeline.pipeline.sequences as sequences
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, index_of
from trademl_pipeline.sequences.month import sequence_month
from trademl_pipeline_tests.pipeline.made_inputs import MONTH, SAMPLE, STAGES, STRIDED, failed, poisoned

pytestmark = pytest.mark.slow


def frames_of(bars: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Keys and clocks of the rows that the month's windows span, everyone with a bar an estimator."""
    rows = bars.select("symbol", "session", pl.col("event_time").alias("decision_time"), "knowledge_time")
    return {
        "rows": rows.filter(pl.col("session") >= date(2013, 11, 1)),
        "members": rows.select("symbol", "session"),
    }


def test_strided_windows_decide_on_the_same_sessions_for_all(bars: pl.DataFrame) -> None:
    stage, frames = sequences.sequence_stage(replace(STRIDED, stride=5), DEFAULT_CALENDAR), frames_of(bars)
    windows = stage.compute(frames, MONTH)
    assert (index_of(windows["session"]) % 5 == 0).all()
    assert windows.group_by("session").len()["len"].unique().to_list() == [8]
    assert windows["session"].n_unique() in (4, 5)
    assert stage.audit(windows, frames, MONTH, SAMPLE).passed


def test_windows_that_know_later_observations_are_refused(bars: pl.DataFrame) -> None:
    frames = {**frames_of(bars), "observations": STAGES["patterns"].compute({"bars": bars}, MONTH)}
    honest = STAGES["sequences_breakout"]
    assert honest.audit(honest.compute(frames, MONTH), frames, MONTH, SAMPLE).passed

    def leak(rows: pl.DataFrame, window: int, month: str, **settings) -> pl.DataFrame:
        found = sequence_month(rows, window, month, **settings)
        more = pl.col("n_valid") + pl.len().over("pattern")
        return found.with_columns(more.cast(pl.Int32).alias("n_valid"))

    report = poisoned("sequences_breakout", frames, sequences, "sequence_month", leak)
    assert "truncation" in failed(report)
