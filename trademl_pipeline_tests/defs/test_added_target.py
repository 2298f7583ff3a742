"""The target and the feature that docs/extending.md adds work as the page says."""

import re
from dataclasses import replace
from datetime import date
from functools import partial

import polars as pl
import pytest

from trademl_pipeline.defs.partitions import SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.features import operators as op
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.feature import Feature
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.labels import Target
from trademl_pipeline.labels.horizon import Sessions, at_horizon
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.labels import label_stage
from trademl_pipeline.settings import ROOT
from trademl_pipeline.simulation import SimulatedMarket

MONTH, SAMPLE = "2013-03-01", Sample(cutoffs=2, seed=0)
PAGE = (ROOT / "docs" / "extending.md").read_text()


def block(start: str) -> str:
    """The page's code block that holds some text."""
    return next(b for b in re.findall(r"```python\n(.*?)```", PAGE, re.S) if start in b)


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    market = SimulatedMarket(seed=7, n_symbols=5)
    return market.fetch(market.symbols(), date(2013, 1, 2), date(2013, 3, 28))


@pytest.fixture
def rise() -> Target:
    names = {
        "pl": pl,
        "Target": Target,
        "Sessions": Sessions,
        "at_horizon": at_horizon,
        "prepare": prepare,
    }
    exec(block("RISE = Target("), names)
    return names["RISE"]  # pyright: ignore[reportReturnType]


def test_the_target_of_the_page_is_published_under_the_month_in_which_it_became_known(
    bars: pl.DataFrame, rise: Target
) -> None:
    stage, frames = label_stage(rise, DEFAULT_CALENDAR), {"bars": bars}
    month = stage.compute(frames, MONTH)
    assert month.schema == rise.table.polars_schema
    assert month["target"].mean() == pytest.approx(0.5, abs=0.2)
    assert ((month["forward_return"] > 0) == (month["target"] == 1)).all()
    assert stage.audit(month, frames, MONTH, SAMPLE).passed
    asset, checks = stage_assets(partial(label_stage, rise), SINGLE_RUN_OF_DERIVED)
    assert asset.key.to_user_string() == "labels_rise"  # pyright: ignore[reportAttributeAccessIssue]
    assert {k.name for k in checks.check_keys} == {"truncation", "incremental", "knowledge"}
    columns = asset.metadata_by_key[asset.key]["dagster/column_schema"].columns  # pyright: ignore[reportAttributeAccessIssue]
    assert all(column.description for column in columns)


def test_the_same_target_that_reads_a_session_further_is_refused(bars: pl.DataFrame, rise: Target) -> None:
    def ahead(given: pl.DataFrame, sessions: Sessions) -> pl.DataFrame:
        labels = rise.compute(given, sessions)
        return labels.with_columns(
            pl.col("forward_return").shift(-1).over("symbol").fill_null(strategy="forward")
        )

    stage, frames = label_stage(replace(rise, compute=ahead), DEFAULT_CALENDAR), {"bars": bars}
    report = stage.audit(stage.compute(frames, MONTH), frames, MONTH, SAMPLE)
    assert "truncation" in {v.probe for v in report.violations}
    assert {v.column for v in report.violations} == {"forward_return"}


def test_the_feature_of_the_page_reads_one_symbol_up_to_its_session(bars: pl.DataFrame) -> None:
    feature = eval(block("range_share_20"), {"pl": pl, "op": op, "Feature": Feature})
    declared = {**DECLARED, feature.name: feature}
    values = evaluate(prepare(bars), [feature.name], declared)
    known = values.filter(pl.col(feature.name).is_not_null())
    assert known.height == bars.height - feature.warmup * bars["symbol"].n_unique()
    assert known[feature.name].is_between(feature.low, feature.high).all()
    alone = evaluate(prepare(bars.filter(pl.col("symbol") == "SIM003")), [feature.name], declared)
    assert alone.equals(values.filter(pl.col("symbol") == "SIM003"))
