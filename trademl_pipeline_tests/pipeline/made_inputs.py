"""Two years of a small simulated market, and the stages of all inputs that are computed from it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial

import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_range
from trademl_pipeline.market.references import kind_of, reference_rows, sector_map
from trademl_pipeline.pipeline.features import feature_stage
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.inputs import REFERENCE_COLUMNS
from trademl_pipeline.pipeline.labels import label_stage
from trademl_pipeline.pipeline.patterns import pattern_stage
from trademl_pipeline.pipeline.sequences import sequence_stage
from trademl_pipeline.pipeline.stage import Stage
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import REFERENCE_BARS

# Patterns of three symbols are active in the month, and labels of others end in it.
SEED, SYMBOLS, START, END = 3, 8, date(2011, 10, 3), date(2013, 12, 31)
FIRST, BEFORE, MONTH = "2011-10-01", "2013-11-01", "2013-12-01"
SAMPLE = Sample(cutoffs=2, seed=0)
SECTOR_OF = sector_map(SimulatedMarket(seed=SEED, n_symbols=SYMBOLS))


def shortened(study: StudySpec, window: int) -> StudySpec:
    """The study over a shorter window, its trees without the means that are longer."""
    members = tuple(replace(estimator, rolling_mean_windows=()) for estimator in study.training.estimators)
    return replace(study, window=window, training=replace(study.training, estimators=members))


SNAPSHOTS = shortened(STUDIES["breakout"], 10)
STRIDED = shortened(STUDIES["pattern_confidence"], 10)
# What makes each stage on a calendar, by the name of its table.
MAKERS: dict[str, Callable[[str], Stage]] = {
    make(DEFAULT_CALENDAR).schema.name: make
    for make in (
        *(partial(feature_stage, name) for name in FEATURE_SETS),
        pattern_stage,
        *(partial(label_stage, target) for target in TARGETS.values()),
        partial(sequence_stage, SNAPSHOTS),
        partial(sequence_stage, STRIDED),
    )
}
STAGES = {name: make(DEFAULT_CALENDAR) for name, make in MAKERS.items()}


def market_bars() -> pl.DataFrame:
    """All bars of the market."""
    market = SimulatedMarket(seed=SEED, n_symbols=SYMBOLS)
    return market.fetch(market.symbols(), START, END)


def market_references(bars: pl.DataFrame) -> pl.DataFrame:
    """Funds, sectors and the VIX of the market, the last known a quarter of an hour after the close."""
    market = SimulatedMarket(seed=SEED, n_symbols=SYMBOLS)
    rows = pl.concat([reference_rows(market, None, bars, month) for month in month_range(FIRST, MONTH)])
    kind = pl.col("symbol").map_elements(kind_of, return_dtype=pl.String).alias("kind")
    held = rows.with_columns(kind, pl.col("knowledge_time").alias("ingested_at"))
    return held.select(list(REFERENCE_BARS.columns))


def with_references(bars: pl.DataFrame, references: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What features that read references are made of."""
    return {"bars": bars, "reference": references.select(REFERENCE_COLUMNS), "universe": SECTOR_OF}


def poisoned(
    asset: str, frames: dict[str, pl.DataFrame], module: object, name: str, leak: Callable
) -> AuditReport:
    """The audit of a month whose function has a leak in its place."""
    stage = STAGES[asset]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, leak)
        return stage.audit(stage.compute(frames, MONTH), frames, MONTH, SAMPLE)


def failed(report: AuditReport) -> set[str]:
    """Names of the probes that found something."""
    return {v.probe for v in report.violations}
