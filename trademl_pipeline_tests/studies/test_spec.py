import pytest

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.studies import STUDIES, FoldPlan, StudySpec, StudySpecError

GOOD = {
    "name": "direction",
    "title": "t",
    "feature_set": "indicators",
    "window": 60,
    "lags": (0,),
    "horizon": 5,
    "k": 0.5,
}


def test_every_declared_study_names_a_feature_set_that_exists():
    assert STUDIES
    for study in STUDIES.values():
        assert study.feature_set in FEATURE_SETS


def test_no_study_embargoes_less_than_its_labels_reach():
    for study in STUDIES.values():
        assert study.folds.embargo >= study.horizon


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("name", "Direction", "name"),
        ("name", "1st", "name"),
        ("window", 0, "window"),
        ("horizon", 0, "horizon"),
        ("k", 0.0, "k"),
        ("lags", (), "lags"),
        ("lags", (-1,), "lags"),
        ("lags", (60,), "lags"),
        ("validation_sessions", 252, "validation_sessions"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_field(field, value, named):
    with pytest.raises(StudySpecError, match=named):
        StudySpec(**{**GOOD, field: value})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"min_train": 0}, "min_train"), ({"embargo": -1}, "embargo"), ({"window": 100}, "window")],
)
def test_a_fold_plan_that_cannot_work_is_refused_by_its_field(arguments, named):
    with pytest.raises(StudySpecError, match=named):
        FoldPlan(**arguments)
