"""Every input asset on a small simulated market: feature sets, patterns, labels and windows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import dagster as dg
import polars as pl
import pytest

import trademl_pipeline.defs.features.features as features
import trademl_pipeline.defs.labels.labels as labels
import trademl_pipeline.defs.patterns.patterns as patterns
import trademl_pipeline.defs.sequences.sequences as sequences
from trademl_pipeline.defs.history import MissingMonthsError, published_empty, require_months
from trademl_pipeline.defs.inputs import REFERENCE_COLUMNS
from trademl_pipeline.defs.resources import resources
from trademl_pipeline.defs.stage import Sample, Stage, stage_assets
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.features.panel import feature_month
from trademl_pipeline.features.pattern_month import pattern_month
from trademl_pipeline.features.registry import reference_inputs
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.labels.month import label_month
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.market.calendar import index_of, month_expr, month_range
from trademl_pipeline.market.references import kind_of, reference_rows, sector_map
from trademl_pipeline.sequences.month import sequence_month
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import PATTERNS, RAW_BARS, REFERENCE_BARS, SECTORS, UNIVERSE_MEMBERS
from trademl_pipeline_tests.defs.conftest import Workplace

pytestmark = pytest.mark.slow

# Patterns of three symbols are active in the month, and labels of others end in it.
SEED, START, END = 3, date(2011, 10, 3), date(2013, 12, 31)
FIRST, BEFORE, MONTH = "2011-10-01", "2013-11-01", "2013-12-01"
SAMPLE = Sample(cutoffs=2, seed=0)


BREAKOUT = STUDIES["breakout"]


def shortened(study: StudySpec, window: int) -> StudySpec:
    """The study over a shorter window, its trees without the means that are longer."""
    members = tuple(replace(member, means=()) for member in study.fit.members)
    return replace(study, window=window, fit=replace(study.fit, members=members))


SNAPSHOTS = shortened(BREAKOUT, 10)
STRIDED = shortened(STUDIES["pattern_confidence"], 10)
STAGES: dict[str, Stage] = {
    stage.schema.name: stage
    for stage in (
        *map(features.feature_stage, FEATURE_SETS),
        patterns.pattern_stage(),
        *map(labels.label_stage, TARGETS.values()),
        sequences.sequence_stage(SNAPSHOTS),
        sequences.sequence_stage(STRIDED),
    )
}
WINDOWS = ("sequences_breakout", "sequences_pattern_confidence")
RANGED = ("features_pattern", "patterns", "labels_triple_barrier")
ALONE = tuple(name for name in STAGES if name not in (*WINDOWS, *RANGED))
SECTOR_OF = sector_map(SimulatedMarket(seed=SEED, n_symbols=8))


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    market = SimulatedMarket(seed=SEED, n_symbols=8)
    return market.fetch(market.symbols(), START, END)


@pytest.fixture(scope="module")
def references(bars: pl.DataFrame) -> pl.DataFrame:
    """Funds, sectors and the VIX of the simulated market, the last known a quarter of an hour after the close."""
    market = SimulatedMarket(seed=SEED, n_symbols=8)
    rows = pl.concat([reference_rows(market, None, bars, month) for month in month_range(FIRST, MONTH)])
    kind = pl.col("symbol").map_elements(kind_of, return_dtype=pl.String).alias("kind")
    held = rows.with_columns(kind, pl.col("knowledge_time").alias("ingested_at"))
    return held.select(list(REFERENCE_BARS.columns))


@pytest.fixture(scope="module")
def inputs(
    bars: pl.DataFrame, references: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workplace]:
    """Two years of bars and references, and what is made of them: one month of every input, two of some."""
    home = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("TRADEML_HOME", str(home))
        made = Workplace(home, instance, definitions())
        held = bars.with_columns(pl.col("knowledge_time").alias("ingested_at"))
        for month in month_range(FIRST, MONTH):
            inside = month_expr() == month
            made.lake().publish_many(
                [
                    (RAW_BARS, held.filter(inside), month),
                    (REFERENCE_BARS, references.filter(inside), month),
                    (SECTORS, SECTOR_OF, month),
                    (UNIVERSE_MEMBERS, held.filter(inside).select("symbol", "session"), month),
                ]
            )
        for first, assets in ((BEFORE, RANGED), (MONTH, ALONE), (MONTH, WINDOWS)):
            result = made.run("all", months=(first, MONTH), assets=assets)
            assert result.success, [e.message for e in result.all_node_events if e.is_failure]
        yield made


def definitions() -> dg.Definitions:
    parts = [part for stage in STAGES.values() for part in stage_assets(stage)]
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
    assert set(STAGES[asset].probes) >= {"truncation", "incremental", "knowledge"}
    for probe in STAGES[asset].probes:
        assert inputs.checks(asset, probe, MONTH)[0] == "SUCCEEDED"


@pytest.mark.parametrize("asset", list(STAGES))
def test_a_month_alone_equals_the_month_of_a_range(inputs: Workplace, asset: str) -> None:
    stage, lake = STAGES[asset], inputs.lake()
    alone = stage.compute(stage.read(lake, MONTH), MONTH)
    assert lake.read(stage.schema, months=(MONTH, MONTH)).equals(alone)


@pytest.mark.parametrize("asset", list(STAGES))
def test_every_column_is_described(asset: str) -> None:
    assert set(STAGES[asset].schema.columns) == set(STAGES[asset].columns)
    assert all(STAGES[asset].columns.values())


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


def test_the_column_of_a_feature_says_formula_unit_and_warmup() -> None:
    assert STAGES["features_indicators"].columns["rsi_14"] == (
        "100 up / (up + down), Wilder averages over 14 of rises and falls of close; 0 if none (0-100; warm-up 263 "
        "sessions; TA-Lib RSI)"
    )


def poisoned(
    asset: str, frames: dict[str, pl.DataFrame], module: object, name: str, leak: Callable
) -> AuditReport:
    """The audit of a month whose function has a leak in its place."""
    stage = STAGES[asset]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, leak)
        return stage.audit(stage.compute(frames, MONTH), frames, MONTH, SAMPLE)


def failed(report: AuditReport) -> set[str]:
    return {v.probe for v in report.violations}


@pytest.mark.parametrize("set_name", list(FEATURE_SETS))
def test_a_poisoned_feature_of_each_set_is_refused(bars: pl.DataFrame, set_name: str) -> None:
    column = FEATURE_SETS[set_name][0]

    def leak(bars: pl.DataFrame, name: str, month: str, **references: pl.DataFrame) -> pl.DataFrame:
        frame = feature_month(bars, name, month, **references)
        return frame.with_columns(pl.col(column).shift(-1).over("symbol"))

    report = poisoned(f"features_{set_name}", {"bars": bars}, features, "feature_month", leak)
    assert {"truncation", "perturbation"} <= failed(report)
    assert {v.column for v in report.violations} == {column}


REFERENCED = [name for name in FEATURE_SETS if reference_inputs(name)]


def with_references(bars: pl.DataFrame, references: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {"bars": bars, "reference": references.select(REFERENCE_COLUMNS), "universe": SECTOR_OF}


@pytest.mark.parametrize("set_name", REFERENCED)
def test_a_feature_that_reads_tomorrows_reference_is_refused(
    bars: pl.DataFrame, references: pl.DataFrame, set_name: str
) -> None:
    def leak(bars: pl.DataFrame, name: str, month: str, *, reference: pl.DataFrame, **more) -> pl.DataFrame:
        ahead = reference.with_columns(pl.col("close").shift(-1).over("symbol"))
        return feature_month(bars, name, month, reference=ahead.drop_nulls("close"), **more)

    frames = with_references(bars, references)
    report = poisoned(f"features_{set_name}", frames, features, "feature_month", leak)
    assert {"truncation", "perturbation"} <= failed(report)
    assert all(reference_inputs(v.column or "") for v in report.violations)
    honest = STAGES[f"features_{set_name}"]
    assert honest.audit(honest.compute(frames, MONTH), frames, MONTH, SAMPLE).passed


@pytest.mark.parametrize("set_name", REFERENCED)
def test_without_references_the_features_of_them_are_null_and_the_others_as_ever(
    bars: pl.DataFrame, references: pl.DataFrame, set_name: str
) -> None:
    stage = STAGES[f"features_{set_name}"]
    bare, full = (stage.compute(f, MONTH) for f in ({"bars": bars}, with_references(bars, references)))
    reading = {name for name in FEATURE_SETS[set_name] if reference_inputs(name)}
    assert {name for name in FEATURE_SETS[set_name] if bare[name].null_count() == bare.height} == reading
    assert not any(full[name].null_count() for name in reading)
    assert bare.drop(*reading, "knowledge_time").equals(full.drop(*reading, "knowledge_time"))


def test_a_month_of_references_that_is_missing_is_named(inputs: Workplace) -> None:
    stage = STAGES["features_indicators"]
    with pytest.raises(MissingMonthsError, match="2014-01"):
        stage.read(inputs.lake(), "2014-01-01")
    lineage = inputs.defs.resolve_asset_graph().get(dg.AssetKey("features_indicators")).parent_keys
    assert {key.to_user_string() for key in lineage} == {"raw_bars", "reference_bars"}


def test_a_pattern_that_knows_its_end_is_refused(bars: pl.DataFrame) -> None:
    def leak(bars: pl.DataFrame, month: str) -> pl.DataFrame:
        return pattern_month(bars, month).with_columns(
            pl.col("days_since_activation").max().over("pattern").alias("days_since_activation")
        )

    report = poisoned("patterns", {"bars": bars}, patterns, "pattern_month", leak)
    assert "truncation" in failed(report)


def test_a_pattern_that_is_shown_only_if_it_lasts_is_refused(bars: pl.DataFrame) -> None:
    def leak(bars: pl.DataFrame, month: str) -> pl.DataFrame:
        return pattern_month(bars, month).filter(pl.len().over("pattern") > 6)

    report = poisoned("patterns", {"bars": bars}, patterns, "pattern_month", leak)
    assert "truncation" in failed(report)
    assert "active" in {v.column for v in report.violations}


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


def test_windows_that_know_later_snapshots_are_refused(inputs: Workplace) -> None:
    frames = dict(STAGES["sequences_breakout"].read(inputs.lake(), MONTH))

    def leak(rows: pl.DataFrame, window: int, month: str, **settings) -> pl.DataFrame:
        found = sequence_month(rows, window, month, **settings)
        more = pl.col("n_valid") + pl.len().over("pattern")
        return found.with_columns(more.cast(pl.Int32).alias("n_valid"))

    report = poisoned("sequences_breakout", frames, sequences, "sequence_month", leak)
    assert "truncation" in failed(report)


def test_windows_of_snapshots_are_those_of_active_patterns(inputs: Workplace) -> None:
    lake = inputs.lake()
    windows = lake.read("sequences_breakout", months=(MONTH, MONTH))
    active = lake.read(PATTERNS, months=(MONTH, MONTH))
    key = ["symbol", "session", "pattern", "activation"]
    assert windows.select(key).equals(active.select(key))
    assert (windows["pattern_start"] < windows["activation"]).all()


def test_strided_windows_decide_on_the_same_sessions_for_all(bars: pl.DataFrame) -> None:
    rows = bars.select("symbol", "session", pl.col("event_time").alias("decision_time"), "knowledge_time")
    stage = sequences.sequence_stage(replace(STRIDED, stride=5))
    frames = {
        "rows": rows.filter(pl.col("session") >= date(2013, 11, 1)),
        "members": rows.select("symbol", "session"),
    }
    windows = stage.compute(frames, MONTH)
    assert (index_of(windows["session"]) % 5 == 0).all()
    assert windows.group_by("session").len()["len"].unique().to_list() == [8]
    assert windows["session"].n_unique() in (4, 5)
    assert stage.audit(windows, frames, MONTH, SAMPLE).passed


def test_a_month_without_rows_is_published_and_counts_as_there(inputs: Workplace) -> None:
    """The first month of a history: nothing has warmed up, and no pattern can be."""
    result = inputs.run("all", month=FIRST, assets=("patterns", "labels_breakout"))
    assert result.success, [e.message for e in result.all_node_events if e.is_failure]
    lake = inputs.lake()
    assert inputs.checks("patterns", "truncation", FIRST)[0] == "SUCCEEDED"
    assert FIRST not in lake.months("patterns")
    assert published_empty(lake, "patterns", [FIRST, "2011-11-01"]) == {FIRST}
    require_months(lake, PATTERNS, MONTH, MONTH, reader="test")
    with pytest.raises(MissingMonthsError, match="2014-01"):
        require_months(lake, PATTERNS, MONTH, "2014-01-01", reader="test")


@pytest.mark.parametrize("asset", [f"features_{name}" for name in FEATURE_SETS])
def test_the_first_month_of_a_history_passes_the_gate(bars: pl.DataFrame, asset: str) -> None:
    stage = STAGES[asset]
    frames = {"bars": bars.filter(pl.col("session") < date(2011, 11, 1))}
    month = stage.compute(frames, FIRST)
    assert month.height > 0
    assert stage.audit(month, frames, FIRST, SAMPLE).passed
