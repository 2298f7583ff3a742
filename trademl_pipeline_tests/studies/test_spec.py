from dataclasses import replace

import pytest

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.studies import DIRECTION, STUDIES, FoldPlan, StudySpecError
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.training.members import Effort

TREES = DIRECTION.fit.members[0]


def test_the_five_studies_are_there():
    assert list(STUDIES) == ["mamba_forecast", "breakout", "pattern_confidence", "direction", "hybrid"]


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_a_study_names_features_targets_and_sizes_that_exist(study):
    assert study.feature_set in FEATURE_SETS
    assert set(study.task.labels) <= set(TARGETS[study.target].values)
    assert study.folds.min_train >= 252
    for member in study.fit.members:
        assert set(study.sizes) <= set(member.efforts)


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_every_network_and_its_settings_can_be_built(study):
    from trademl_pipeline.models.registry import build
    from trademl_pipeline.training.networks.schedule import TrainConfig

    for member in study.networks:
        TrainConfig(**member.training)
        for effort in member.efforts.values():
            if effort.preset in ("small", "old", "base", "small_single", "small_ensemble"):
                build(member.kind, len(FEATURE_SETS[study.feature_set]), effort.preset, **member.settings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Direction"}, "name"),
        ({"name": "1st"}, "name"),
        ({"feature_set": "nothing"}, "feature_set"),
        ({"target": "nothing"}, "target"),
        ({"target": "pattern"}, "fit.task"),
        ({"decisions": "never"}, "decisions"),
        ({"window": 0}, "window"),
        ({"stride": 0}, "stride"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": ("huge",)}, "efforts"),
        ({"validation_sessions": 252}, "validation_sessions"),
        ({"fit": replace(DIRECTION.fit, task="nothing")}, "fit.task"),
        ({"fit": replace(DIRECTION.fit, ensemble="nothing")}, "fit.ensemble"),
        ({"fit": replace(DIRECTION.fit, members=())}, "fit.members"),
        ({"fit": replace(DIRECTION.fit, members=(TREES, TREES))}, "fit.members"),
        ({"fit": replace(DIRECTION.fit, members=(replace(TREES, lags=()),))}, "lags"),
        ({"fit": replace(DIRECTION.fit, members=(replace(TREES, lags=(60,)),))}, "lags"),
        ({"fit": replace(DIRECTION.fit, members=(replace(TREES, means=(1,)),))}, "means"),
        ({"fit": replace(DIRECTION.fit, members=(replace(TREES, means=(20, 61)),))}, "means"),
        ({"fit": replace(DIRECTION.fit, members=(replace(TREES, baseline=True),))}, "fit.members"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_field(changes, named):
    with pytest.raises(StudySpecError, match=named):
        replace(DIRECTION, **changes)


@pytest.fixture
def silent(monkeypatch):
    """A task of values that does not say what came."""

    class Silent(type(TASKS["hybrid"])):
        values = None

    monkeypatch.setattr("trademl_pipeline.studies.spec.TASKS", {**TASKS, "hybrid": Silent()})


def test_trees_are_refused_where_nothing_says_what_came(silent):
    study = STUDIES["hybrid"]
    with pytest.raises(
        StudySpecError,
        match="lightgbm learns classes or values, and task 'hybrid' has neither class_label nor values",
    ):
        replace(study, fit=replace(study.fit, ensemble="mean"))


@pytest.mark.parametrize("ensemble", ["weighted", "horizon"])
def test_members_are_not_weighted_where_nothing_says_what_came(silent, ensemble):
    study = STUDIES["hybrid"]
    networks = tuple(study.networks)
    with pytest.raises(StudySpecError, match="neither class_label nor values to weight members by"):
        replace(study, fit=replace(study.fit, members=networks, ensemble=ensemble))
    replace(study, fit=replace(study.fit, members=networks, ensemble="mean"))


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("pattern_confidence", {"apart": ("nothing",)}, "apart names"),
        ("hybrid", {"apart": ("return_7",)}, "fit.select may leave it out"),
        ("direction", {"kind": "linear", "space": {}, "apart": ()}, "apart is for trees"),
    ],
)
def test_rows_are_taken_together_by_features_that_are_there(name, changes, named):
    study = STUDIES[name]
    members = [replace(m, **changes) if m.kind == "lightgbm" else m for m in study.fit.members]
    with pytest.raises(StudySpecError, match=named):
        replace(study, fit=replace(study.fit, members=tuple(members)))


def test_a_task_without_classes_has_no_second_level_and_no_search():
    study = STUDIES["hybrid"]
    with pytest.raises(StudySpecError, match="'stacked', which learns classes"):
        replace(study, fit=replace(study.fit, ensemble="stacked"))
    searched = replace(TREES, efforts=dict.fromkeys(study.sizes, Effort(trials=2)))
    with pytest.raises(StudySpecError, match="space is searched by the log loss of classes"):
        replace(study, fit=replace(study.fit, members=(*study.networks, searched)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"min_train": 0}, "min_train"),
        ({"embargo": -1}, "embargo"),
        ({"window": 100}, "window"),
        ({"refit": "week"}, "refit"),
    ],
)
def test_a_fold_plan_that_cannot_work_is_refused_by_its_field(arguments, named):
    with pytest.raises(StudySpecError, match=named):
        FoldPlan(**arguments)
