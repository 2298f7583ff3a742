"""Cross-validation by symbol as Dagster runs it: beside the fold, audited, empty between refits."""

from dataclasses import replace

import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.reports.validation import cross_validation
from trademl_pipeline.lake.schemas import AUDITS
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.training.members import Effort
from trademl_pipeline_tests.defs.conftest import FIRST, Workplace

pytestmark = pytest.mark.slow

FOLD, NEXT = "2013-10-01", "2013-11-01"
TABLE = "cross_validation_pattern_confidence"


def small_patterns() -> StudySpec:
    """The pattern study with little training, refitted by the quarter."""
    study = STUDIES["pattern_confidence"]
    little = {"small": Effort("small", epochs=1, max_rows=200)}
    plan = study.fit.cross_validate
    assert plan is not None
    fit = replace(
        study.fit,
        members=tuple(replace(m, efforts=little) for m in study.fit.members),
        fine_tune=(),
        cross_validate=replace(plan, least=60, efforts={}),
    )
    folds = replace(study.folds, min_train=60, refit="quarter")
    return replace(study, folds=folds, fit=fit, validation_sessions=21, sizes=("small",))


@pytest.fixture(scope="module")
def made(workplace: Workplace) -> StudySpec:
    """Two months of a quarter, the inputs before them included."""
    study = small_patterns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(studies.STUDIES, study.name, study)
        place = Workplace(workplace.home, workplace.instance, build_definitions())
        tables = (study.features.name, study.labels.name, study.windows.name)
        runs = [("prepare_all", {"months": (FIRST, NEXT), "assets": (table,)}) for table in tables]
        runs += [(f"fold_{study.name}", {"month": month}) for month in (FOLD, NEXT)]
        for job, where in runs:
            result = place.run(job, **where)
            assert result.success, [e.message for e in result.all_node_events if e.is_failure]
    return study


def test_every_symbol_with_rows_enough_is_scored_before_the_fold(workplace: Workplace, made: StudySpec):
    rows = workplace.lake().read(TABLE, months=(FOLD, FOLD))
    model = workplace.lake().read("model_pattern_confidence", months=(FOLD, FOLD))
    assert rows["symbol"].n_unique() > 1
    assert rows["split"].max() == 2
    assert (rows["last_label_end"] < rows["test_start"]).all()
    assert rows["test_end"].max() <= model["train_end"].item()
    assert rows["auc"].drop_nulls().is_between(0, 1).all()
    assert rows["auc"].null_count() < rows.height


def test_splits_and_fits_are_audited_where_it_is_published(workplace: Workplace, made: StudySpec):
    audits = workplace.lake().read(AUDITS).filter(pl.col("table_name") == TABLE)
    assert set(audits.filter(pl.col("month") == FOLD)["probe"]) == {"folds", "fit_ledger"}
    assert audits["passed"].all()


def test_months_between_refits_have_none_and_the_report_shows_the_last(workplace: Workplace, made: StudySpec):
    lake = workplace.lake()
    assert lake.read(TABLE, months=(NEXT, NEXT)).is_empty()
    shown = cross_validation(lake, made, (FIRST, NEXT))
    assert shown is not None
    assert shown.equals(lake.read(TABLE, months=(FOLD, FOLD)).drop("fold"))
    assert cross_validation(lake, made, (FIRST, FIRST)) is None or shown.height > 0
    assert cross_validation(lake, STUDIES["direction"], (FIRST, NEXT)) is None
