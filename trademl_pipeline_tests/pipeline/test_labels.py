"""Targets: the gate on a month whose labels read past their end."""

from datetime import date

import polars as pl
import pytest

import trademl_pipeline.pipeline.labels as labels
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.labels.month import label_month
from trademl_pipeline_tests.pipeline.made_inputs import MONTH, SAMPLE, STAGES, failed, poisoned

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_label_that_reads_past_its_end_is_refused(bars: pl.DataFrame, name: str) -> None:
    def leak(bars: pl.DataFrame, wanted: object, month: str) -> pl.DataFrame:
        found = label_month(bars, wanted, month)  # pyright: ignore[reportArgumentType]
        last = bars.group_by("symbol").agg(pl.col("close").last().log().alias("_last"))
        grown = pl.col("forward_return") + 1e-3 * pl.col("_last")
        return found.join(last, on="symbol").with_columns(grown.alias("forward_return")).drop("_last")

    report = poisoned(f"labels_{name}", {"bars": bars}, labels, "label_month", leak)
    assert "truncation" in failed(report)
    assert {v.column for v in report.violations if v.probe == "truncation"} == {"forward_return"}


def test_a_label_that_drops_the_names_which_stop_trading_is_refused(bars: pl.DataFrame) -> None:
    """The last price of a name stands in at label_end; to leave it out, one must know that the name is gone."""
    gone = (pl.col("symbol") == "SIM003") & (pl.col("session") > date(2013, 12, 9))
    kept = bars.filter(~gone)

    def leak(bars: pl.DataFrame, wanted: object, month: str) -> pl.DataFrame:
        end = bars["session"].max()
        alive = bars.filter(pl.col("session") == end)["symbol"]
        return label_month(bars, wanted, month).filter(  # pyright: ignore[reportArgumentType]
            pl.col("symbol").is_in(alive.implode())
        )

    report = poisoned("labels_direction", {"bars": kept}, labels, "label_month", leak)
    assert "truncation" in failed(report)
    honest = STAGES["labels_direction"]
    frames = {"bars": kept}
    assert honest.audit(honest.compute(frames, MONTH), frames, MONTH, SAMPLE).passed
