"""A future leak planted in any input of any study: the gate refuses the month, in the run that would publish it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl
import pytest

import trademl_pipeline.pipeline.features as features
import trademl_pipeline.pipeline.labels as labels
import trademl_pipeline.pipeline.sequences as sequences
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.features.panel import feature_month
from trademl_pipeline.labels.month import label_month
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.market.calendar import month_expr, month_range
from trademl_pipeline.market.references import kind_of, reference_rows, sector_map
from trademl_pipeline.pipeline.catalog import input_assets
from trademl_pipeline.pipeline.job_names import PREPARE_ALL, prepare_job_name
from trademl_pipeline.sequences.month import sequence_month
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import RAW_BARS, REFERENCE_BARS, SECTORS, UNIVERSE_MEMBERS
from trademl_pipeline_tests.defs.conftest import Workplace
from trademl_pipeline_tests.defs.failures import said
from trademl_pipeline_tests.past_the_gate import give

pytestmark = pytest.mark.slow

# Patterns of three symbols are active in the month, and labels of others end in it.
START, END = date(2011, 10, 3), date(2013, 12, 31)
FIRST, MONTH = "2011-10-01", "2013-12-01"
MARKET = SimulatedMarket(seed=3, n_symbols=8)
# Published by hand, so that two years of them do not run through Dagster.
GIVEN = ("raw_bars", "bar_quality", "reference_bars", "universe_members")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Two years of bars and references, and from them one month of every input of every study."""
    home = tmp_path_factory.mktemp("leaks")
    bars = MARKET.fetch(MARKET.symbols(), START, END)
    held = bars.with_columns(pl.col("knowledge_time").alias("ingested_at"))
    rows = pl.concat([reference_rows(MARKET, None, bars, month) for month in month_range(FIRST, MONTH)])
    kind = pl.col("symbol").map_elements(kind_of, return_dtype=pl.String).alias("kind")
    references = rows.with_columns(kind, pl.col("knowledge_time").alias("ingested_at"))
    inputs = {a for study in STUDIES.values() for a in input_assets(study)} - set(GIVEN)
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        patch.setenv("TRADEML_HOME", str(home))
        patch.delenv("TRADEML_SOURCE", raising=False)
        made = Workplace(home, instance, build_definitions())
        for month in month_range(FIRST, MONTH):
            inside = month_expr() == month
            give(
                made.lake(),
                (RAW_BARS, held.filter(inside), month),
                (REFERENCE_BARS, references.filter(inside).select(list(REFERENCE_BARS.columns)), month),
                (SECTORS, sector_map(MARKET), month),
                (UNIVERSE_MEMBERS, held.filter(inside).select("symbol", "session"), month),
            )
        result = made.run(PREPARE_ALL, month=MONTH, assets=tuple(sorted(inputs)))
        assert result.success, [e.message for e in result.all_node_events if e.is_failure]
        yield made


@dataclass(frozen=True)
class Planted:
    """A stage's function with a leak in it.

    Attributes:
        table: what the stage publishes for a study.
        module, name: where the honest function is looked up.
        leak: study -> the function in its place.
    """

    table: Callable[[StudySpec], TableSchema]
    module: object
    name: str
    leak: Callable[[StudySpec], Callable[..., pl.DataFrame]]


def tomorrows_feature(study: StudySpec) -> Callable[..., pl.DataFrame]:
    """The first feature of the study's set is tomorrow's."""

    def leak(bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
        frame = feature_month(bars, name, month, **references)
        if name != study.feature_set:
            return frame
        column = FEATURE_SETS[name][0]
        return frame.with_columns(pl.col(column).shift(-1).over("symbol"))

    return leak


def label_of_what_came_later(study: StudySpec) -> Callable[..., pl.DataFrame]:
    """The return that a label tells goes on to the last price there is."""

    def leak(bars: pl.DataFrame, target: object, month: str) -> pl.DataFrame:
        found = label_month(bars, target, month)  # pyright: ignore[reportArgumentType]
        last = bars.group_by("symbol").agg(pl.col("close").last().log().alias("_last"))
        grown = pl.col("forward_return") + 1e-3 * pl.col("_last")
        return found.join(last, on="symbol").with_columns(grown.alias("forward_return")).drop("_last")

    return leak


def windows_that_count_later_ones(study: StudySpec) -> Callable[..., pl.DataFrame]:
    """How long a window is told to be grows with the decisions that follow in the month."""

    def leak(rows: pl.DataFrame, window: int, month: str, **settings) -> pl.DataFrame:
        found = sequence_month(rows, window, month, **settings)
        more = pl.col("n_valid") + pl.len().over("symbol")
        return found.with_columns(more.cast(pl.Int32).alias("n_valid"))

    return leak


LEAKS = {
    "features": Planted(lambda study: study.features, features, "feature_month", tomorrows_feature),
    "labels": Planted(lambda study: study.labels, labels, "label_month", label_of_what_came_later),
    "windows": Planted(
        lambda study: study.windows, sequences, "sequence_month", windows_that_count_later_ones
    ),
}


@pytest.mark.parametrize("where", list(LEAKS))
@pytest.mark.parametrize("study", list(STUDIES.values()), ids=list(STUDIES))
def test_a_leak_in_any_input_of_a_study_is_refused(place: Workplace, study: StudySpec, where: str) -> None:
    planted, lake = LEAKS[where], place.lake()
    table = planted.table(study)
    before = lake.data_version(table, MONTH)
    assert before is not None
    assert place.checks(table.name, "truncation", MONTH)[-1] == "SUCCEEDED"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted.module, planted.name, planted.leak(study))
        assets = (table.name, study.windows.name) if where == "features" else (table.name,)
        result = place.run(prepare_job_name(study.name), month=MONTH, assets=assets)
    assert "refused" in said(result)
    assert place.checks(table.name, "truncation", MONTH)[0] == "FAILED"
    assert lake.data_version(table, MONTH) == before
    assert not {e.step_key for e in result.all_node_events if e.is_step_success} & set(assets)
