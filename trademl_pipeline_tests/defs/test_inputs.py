"""Every input asset on a small simulated market: feature sets, patterns, labels and windows."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.partitions import SINGLE_RUN, SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.resources import resources
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.market.calendar import month_expr, month_range
from trademl_pipeline.pipeline.history import MissingMonthsError, published_empty, require_months
from trademl_pipeline.tables import PATTERNS, RAW_BARS, REFERENCE_BARS, SECTORS, UNIVERSE_MEMBERS
from trademl_pipeline_tests.defs.conftest import Workplace
from trademl_pipeline_tests.past_the_gate import give
from trademl_pipeline_tests.pipeline.made_inputs import (
    BEFORE,
    FIRST,
    MAKERS,
    MONTH,
    SECTOR_OF,
    STAGES,
    market_bars,
    market_references,
)

pytestmark = pytest.mark.slow

WINDOWS = ("sequences_breakout", "sequences_pattern_confidence")
RANGED = ("features_pattern", "patterns", "labels_triple_barrier")
ALONE = tuple(name for name in STAGES if name not in (*WINDOWS, *RANGED))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Two years of bars and references, and what is made of them: one month of every input, two of some."""
    home, bars = tmp_path_factory.mktemp("inputs"), market_bars()
    references = market_references(bars)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("TRADEML_HOME", str(home))
        made = Workplace(home, instance, definitions())
        held = bars.with_columns(pl.col("knowledge_time").alias("ingested_at"))
        for month in month_range(FIRST, MONTH):
            inside = month_expr() == month
            give(
                made.lake(),
                (RAW_BARS, held.filter(inside), month),
                (REFERENCE_BARS, references.filter(inside), month),
                (SECTORS, SECTOR_OF, month),
                (UNIVERSE_MEMBERS, held.filter(inside).select("symbol", "session"), month),
            )
        for first, assets in ((BEFORE, RANGED), (MONTH, ALONE), (MONTH, WINDOWS)):
            result = made.run("all", months=(first, MONTH), assets=assets)
            assert result.success, [e.message for e in result.all_node_events if e.is_failure]
        yield made


def definitions() -> dg.Definitions:
    parts = [
        part
        for name, make in MAKERS.items()
        for part in stage_assets(make, SINGLE_RUN if name in WINDOWS else SINGLE_RUN_OF_DERIVED)
    ]
    checks = [p for p in parts if isinstance(p, dg.AssetChecksDefinition)]
    return dg.Definitions(
        assets=[
            dg.AssetSpec("raw_bars"),
            dg.AssetSpec("reference_bars"),
            dg.AssetSpec("universe_members"),
            *(p for p in parts if not isinstance(p, dg.AssetChecksDefinition)),
        ],
        asset_checks=checks,
        resources=resources(),
        jobs=[dg.define_asset_job("all", selection=dg.AssetSelection.all())],
    )


@pytest.mark.parametrize("asset", list(STAGES))
def test_every_input_is_published_with_rows_and_passes_its_checks(inputs: Workplace, asset: str) -> None:
    assert MONTH in inputs.materialized(asset)
    assert inputs.lake().read(asset, months=(MONTH, MONTH)).height > 0
    assert set(STAGES[asset].schema.probes) >= {"truncation", "incremental", "knowledge"}
    for probe in STAGES[asset].schema.probes:
        assert inputs.checks(asset, probe, MONTH)[0] == "SUCCEEDED"


@pytest.mark.parametrize("asset", list(STAGES))
def test_a_month_alone_equals_the_month_of_a_range(inputs: Workplace, asset: str) -> None:
    stage, lake = STAGES[asset], inputs.lake()
    alone = stage.compute(stage.read(lake, MONTH), MONTH)
    assert lake.read(stage.schema, months=(MONTH, MONTH)).equals(alone)


def metadata(inputs: Workplace, asset: str, month: str) -> dict:
    found = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[month])
    event = inputs.instance.fetch_materializations(found, limit=1).records[0].asset_materialization
    assert event is not None
    return dict(event.metadata)


def test_figures_of_every_month_of_a_range_show_in_the_ui(inputs: Workplace) -> None:
    first, second = (metadata(inputs, "features_pattern", month) for month in (BEFORE, MONTH))
    for shown in (first, second):
        assert shown["null_share"].value == 0.0
        assert "| `garch_volatility_forecast` |" in shown["columns"].value
    assert "worst_drift" not in first, "the first month of a history has none before it"
    assert second["distributions"].value.startswith("![distributions](data:image/svg+xml")
    assert "| `" in second["worst_drift"].value
    patterns_shown = metadata(inputs, "patterns", MONTH)
    assert patterns_shown["patterns"].value >= 1
    shares = [
        v.value for k, v in metadata(inputs, "labels_breakout", MONTH).items() if k.startswith("share_")
    ]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(1.0)


def test_a_month_of_references_that_is_missing_is_named(inputs: Workplace) -> None:
    stage = STAGES["features_indicators"]
    with pytest.raises(MissingMonthsError, match="2014-01"):
        stage.read(inputs.lake(), "2014-01-01")
    lineage = inputs.defs.resolve_asset_graph().get(dg.AssetKey("features_indicators")).parent_keys
    assert {key.to_user_string() for key in lineage} == {"raw_bars", "reference_bars"}


def test_windows_of_snapshots_are_those_of_active_patterns(inputs: Workplace) -> None:
    lake = inputs.lake()
    windows = lake.read("sequences_breakout", months=(MONTH, MONTH))
    active = lake.read(PATTERNS, months=(MONTH, MONTH))
    key = ["symbol", "session", "pattern", "activation"]
    assert windows.select(key).equals(active.select(key))
    assert (windows["pattern_start"] < windows["activation"]).all()


def test_a_month_without_rows_is_published_and_counts_as_there(inputs: Workplace) -> None:
    """The first month of a history: nothing has warmed up, and no pattern can be."""
    result = inputs.run("all", month=FIRST, assets=("patterns", "labels_breakout"))
    assert result.success, [e.message for e in result.all_node_events if e.is_failure]
    lake = inputs.lake()
    assert inputs.checks("patterns", "truncation", FIRST)[0] == "SUCCEEDED"
    assert FIRST not in lake.months("patterns")
    assert published_empty(lake, PATTERNS, [FIRST, "2011-11-01"]) == {FIRST}
    require_months(lake, PATTERNS, MONTH, MONTH, reader="test")
    with pytest.raises(MissingMonthsError, match="2014-01"):
        require_months(lake, PATTERNS, MONTH, "2014-01-01", reader="test")
