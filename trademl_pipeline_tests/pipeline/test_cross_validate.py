"""Cross-validation by symbol: read from the lake, audited where it is published, empty between refits."""

from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.market.calendar import (
    DEFAULT_CALENDAR,
    month_expr,
    month_range,
    month_sessions,
    offset_sessions,
)
from trademl_pipeline.pipeline.cross_validate import cross_validation_months
from trademl_pipeline.pipeline.report import cross_validation
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import AUDITS
from trademl_pipeline.tasks.pattern import PATTERNS
from trademl_pipeline.training.estimators import TrainingPreset
from trademl_pipeline_tests.past_the_gate import give
from trademl_pipeline_tests.pipeline.runs import done, lake_in, new_run

pytestmark = pytest.mark.slow

FIRST, FOLD, NEXT = "2013-01-01", "2013-10-01", "2013-11-01"
SYMBOLS = ("A", "B", "C")
TABLE = "cross_validation_pattern_confidence"


def small_patterns() -> StudySpec:
    """The pattern study with little training, refitted by the quarter."""
    study = STUDIES["pattern_confidence"]
    assert study.training.cross_validate is not None
    little = {"small": TrainingPreset("small", epochs=1, max_rows=200)}
    fit = replace(
        study.training,
        estimators=tuple(replace(m, presets=little) for m in study.training.estimators),
        cross_validate=replace(study.training.cross_validate, min_rows=60, presets={}),
    )
    folds = replace(study.folds, min_train=60, refit="quarter")
    return replace(study, folds=folds, training=fit, validation_sessions=21, presets=("small",))


def months_of(lake: Lake, schema: GatedTable, rows: pl.DataFrame, column: str) -> None:
    """Publish the rows month by month; what a column does not tell is null or of no account."""
    for (month,), own in rows.group_by(month_expr(column), maintain_order=True):
        frame = own.select(
            pl.col(name).cast(dtype) if name in own.columns else pl.lit(None, dtype).alias(name)
            for name, dtype in schema.columns.items()
        )
        give(lake, (schema, frame, str(month)))


def filled(home: Path) -> tuple[StudySpec, Lake]:
    """Noise of three symbols in a lake, and the records of two months' models."""
    study, lake = small_patterns(), lake_in(home)
    days = [day for month in month_range(FIRST, NEXT) for day in month_sessions(month)]
    keys = pl.DataFrame({"symbol": SYMBOLS}).join(pl.DataFrame({"session": days}), how="cross")
    rng, n = np.random.default_rng(0), len(days) * len(SYMBOLS)
    closes = pl.col("session").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=21)
    ends = offset_sessions(keys["session"], 5)
    rows = keys.with_columns(
        decision_time=closes,
        knowledge_time=closes,
        window_start=pl.col("session"),
        n_valid=pl.min_horizontal(pl.int_range(1, pl.len() + 1).over("symbol"), study.window),
        label_start=pl.col("session"),
        label_end=ends,
        horizon=5,
        last_price=False,
        forward_return=pl.Series(rng.normal(0, 0.02, n)),
        **{name: pl.Series(rng.integers(0, 2, n)) for name in PATTERNS},
    )
    values = rows.with_columns(pl.Series(name, rng.normal(size=n)) for name in study.feature_names)
    record = {
        "train_start": days[0],
        "train_end": month_sessions("2013-09-01")[-6],
        "test_start": month_sessions(FOLD)[0],
        "test_end": month_sessions(FOLD)[-1],
        **dict.fromkeys(("model_run", "artifact", "artifact_sha256", "ledger_digest", "only_symbols"), ""),
        **dict.fromkeys(("embargo", "rows", "sessions", "symbols", "parameters", "best_iteration"), 5),
        **{"size": "small", "epochs": 0, "train_seconds": 1.0, "validation_loss": 1.0, "fitted": FOLD},
        **{"threads": 1, "scan": None},
    }
    months_of(lake, study.features, values, "session")
    months_of(lake, study.windows, rows, "session")
    known = pl.lit(datetime.combine(days[0], time(), UTC))
    matured = rows.filter(pl.col("label_end") <= days[-1])
    months_of(lake, study.labels, matured.with_columns(knowledge_time=known), "label_end")
    for month in (FOLD, NEXT):
        told = pl.DataFrame({**record, "fold": month, "snapshot": lake.snapshot()})
        record_of_month = told.select(list(study.models.columns)).cast(study.models.polars_schema)  # pyright: ignore
        give(lake, (study.models, record_of_month, month))
    return study, lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, Lake]:
    """A study of noise, both months of it cross-validated."""
    study, lake = filled(tmp_path_factory.mktemp("home"))
    body = cross_validation_months(lake, study, new_run(), DEFAULT_CALENDAR, threads=1)
    done(TABLE, [FOLD, NEXT], body)
    return study, lake


def test_every_symbol_is_scored_on_rows_before_the_fold(made):
    _, lake = made
    rows = lake.read(TABLE, months=(FOLD, FOLD))
    assert set(rows["symbol"]) == set(SYMBOLS)
    assert rows["split"].max() == 2
    assert (rows["last_label_end"] < rows["test_start"]).all()
    assert rows["test_end"].max() < month_sessions(FOLD)[0]
    # Nothing can be told of noise.
    assert 0.35 < rows["auc"].mean() < 0.65


def test_splits_and_fits_are_audited_where_they_are_published(made):
    _, lake = made
    audits = lake.read(AUDITS).filter(pl.col("table_name") == TABLE)
    assert set(audits.filter(pl.col("month") == FOLD)["probe"]) == {"folds", "fit_ledger"}
    assert audits["passed"].all()


def test_months_between_refits_have_none_and_the_report_shows_the_last(made):
    study, lake = made
    assert lake.read(TABLE, months=(NEXT, NEXT)).is_empty()
    shown = cross_validation(lake, study, (FIRST, NEXT))
    assert shown is not None
    assert shown.equals(lake.read(TABLE, months=(FOLD, FOLD)).drop("fold"))
    assert cross_validation(lake, STUDIES["direction"], (FIRST, NEXT)) is None
