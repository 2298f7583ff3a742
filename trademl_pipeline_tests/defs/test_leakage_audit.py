"""The nightly audit over what the workplace has published."""

import dagster as dg
import polars as pl
import pytest

import trademl_pipeline.pipeline.features as stage
from trademl_pipeline.features.panel import feature_month
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.pipeline.job_names import NIGHTLY
from trademl_pipeline.tables import AUDITS, NIGHTLY_AUDITS
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.defs.failures import failure

MONTH = "2014-02-01"
SYMBOL_AT, PEEK = 3, month_sessions(MONTH)[9]


def night(
    workplace: Workplace, tables: str, *, first: str = MONTH, again: bool = False
) -> dg.ExecuteInProcessResult:
    settings = {"tables": tables, "first": first, "again": again}
    return workplace.defs.resolve_job_def(NIGHTLY).execute_in_process(
        instance=workplace.instance,
        partition_key=LAST,
        asset_selection=[dg.AssetKey("leakage_audit")],
        run_config={"ops": {"leakage_audit": {"config": settings}}},
        raise_on_error=False,
    )


def leaky(bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
    """The features with tomorrow's gap for one symbol on one day."""
    frame = feature_month(bars, name, month, **references)
    if name != "indicators" or month != MONTH:
        return frame
    symbol = frame["symbol"].unique().sort()[SYMBOL_AT]
    here = (pl.col("symbol") == symbol) & (pl.col("session") == PEEK)
    return frame.with_columns(
        gap=pl.when(here).then(pl.col("gap").shift(-1).over("symbol")).otherwise(pl.col("gap"))
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict:
    (event,) = result.asset_materializations_for_node("leakage_audit")
    return dict(event.metadata)


def test_a_clean_night_is_kept_and_not_repeated(workplace: Workplace):
    tables = "features_indicators,labels_direction,sequences_direction"
    first = night(workplace, tables, again=True)
    assert first.success
    told = metadata(first)
    assert told["months"].value == 6
    assert told["cells"].value > 10_000
    assert told["cutoffs"].value >= 6 * 17
    assert told["history"].value.startswith("![nightly audits]")
    audits = workplace.lake().read(AUDITS).filter(pl.col("run_id") == first.run_id)
    assert audits["passed"].all()
    assert set(audits["table_name"]) == set(tables.split(","))
    second = metadata(night(workplace, tables))
    assert (second["months_carried"].value, second["cells"].value) == (6, 0)
    kept = workplace.lake().read(NIGHTLY_AUDITS)
    assert kept.filter("carried").height == 6


def test_one_peek_that_the_samples_missed_is_found_at_night(workplace: Workplace):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "feature_month", leaky)
        assert workplace.run("prepare_direction", month=MONTH, assets=("features_indicators",)).success
        result = night(workplace, "features_indicators")
    assert workplace.run("prepare_direction", month=MONTH, assets=("features_indicators",)).success
    assert not result.success
    reason = failure(result)
    assert "features_indicators 2014-02" in reason.description
    table = reason.metadata["refusal features_indicators 2014-02"].value
    assert "gap" in table
    assert str(PEEK) in table
    assert reason.metadata["figure features_indicators 2014-02"].value.startswith("![values around the leak]")
    kept = workplace.lake().read(NIGHTLY_AUDITS).filter(pl.col("run_id") == result.run_id)
    assert dict(kept.select("month", "passed").iter_rows()) == {MONTH: False, LAST: True}


def test_a_month_that_cannot_be_audited_has_not_passed(workplace: Workplace):
    def raising(bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
        raise KeyError("close")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "feature_month", raising)
        result = night(workplace, "features_indicators", first=LAST, again=True)
    assert not result.success
    audits = workplace.lake().read(AUDITS).filter(pl.col("run_id") == result.run_id)
    assert audits["passed"].to_list() == [False]
    assert "KeyError" in audits["detail"][0]


def test_tables_that_are_not_audited_are_named(workplace: Workplace):
    result = night(workplace, "raw_bars")
    assert "raw_bars are not audited nightly" in failure(result).description
