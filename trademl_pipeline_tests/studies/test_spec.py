from dataclasses import replace

import pytest

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.studies import DIRECTION, STUDIES, StudySpecError, WalkForwardConfig
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.training.estimators import TrainingPreset

TREES = DIRECTION.training.estimators[0]


def test_the_five_studies_are_there():
    assert list(STUDIES) == ["mamba_forecast", "breakout", "pattern_confidence", "direction", "hybrid"]


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_a_study_names_features_targets_and_sizes_that_exist(study):
    assert study.feature_set in FEATURE_SETS
    assert set(study.task.labels) <= set(TARGETS[study.target].values)
    assert study.folds.min_train >= 252
    for estimator in study.training.estimators:
        assert set(study.presets) <= set(estimator.presets)


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_every_network_and_its_settings_can_be_built(study):
    from trademl_pipeline.models.registry import build
    from trademl_pipeline.training.networks.schedule import NetworkTrainingConfig

    for estimator in study.networks:
        NetworkTrainingConfig(**estimator.training)
        for preset in estimator.presets.values():
            if preset.network_preset in ("small", "baseline_64", "base", "small_single", "small_ensemble"):
                build(
                    estimator.kind,
                    len(FEATURE_SETS[study.feature_set]),
                    preset.network_preset,
                    **estimator.settings,
                )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Direction"}, "name"),
        ({"name": "1st"}, "name"),
        ({"feature_set": "nothing"}, "feature_set"),
        ({"target": "nothing"}, "target"),
        ({"target": "pattern"}, "training.task"),
        ({"decisions": "never"}, "decisions"),
        ({"window": 0}, "window"),
        ({"stride": 0}, "stride"),
        ({"presets": ()}, "presets"),
        ({"presets": ("huge",)}, "presets"),
        ({"validation_sessions": 252}, "validation_sessions"),
        ({"training": replace(DIRECTION.training, task="nothing")}, "training.task"),
        ({"training": replace(DIRECTION.training, ensemble="nothing")}, "training.ensemble"),
        ({"training": replace(DIRECTION.training, estimators=())}, "training.estimators"),
        ({"training": replace(DIRECTION.training, estimators=(TREES, TREES))}, "training.estimators"),
        ({"training": replace(DIRECTION.training, estimators=(replace(TREES, lags=()),))}, "lags"),
        ({"training": replace(DIRECTION.training, estimators=(replace(TREES, lags=(60,)),))}, "lags"),
        (
            {
                "training": replace(
                    DIRECTION.training, estimators=(replace(TREES, rolling_mean_windows=(1,)),)
                )
            },
            "rolling_mean_windows",
        ),
        (
            {
                "training": replace(
                    DIRECTION.training, estimators=(replace(TREES, rolling_mean_windows=(20, 61)),)
                )
            },
            "rolling_mean_windows",
        ),
        (
            {"training": replace(DIRECTION.training, estimators=(replace(TREES, benchmark=True),))},
            "training.estimators",
        ),
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
        replace(study, training=replace(study.training, ensemble="mean"))


@pytest.mark.parametrize("ensemble", ["weighted", "horizon"])
def test_members_are_not_weighted_where_nothing_says_what_came(silent, ensemble):
    study = STUDIES["hybrid"]
    networks = tuple(study.networks)
    with pytest.raises(StudySpecError, match="neither class_label nor values to weight estimators by"):
        replace(study, training=replace(study.training, estimators=networks, ensemble=ensemble))
    replace(study, training=replace(study.training, estimators=networks, ensemble="mean"))


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("pattern_confidence", {"demean_within": ("nothing",)}, "demean_within names"),
        ("hybrid", {"demean_within": ("return_7",)}, "training.select may leave it out"),
        ("direction", {"kind": "linear", "space": {}, "demean_within": ()}, "demean_within is for trees"),
    ],
)
def test_rows_are_taken_together_by_features_that_are_there(name, changes, named):
    study = STUDIES[name]
    estimators = [replace(m, **changes) if m.kind == "lightgbm" else m for m in study.training.estimators]
    with pytest.raises(StudySpecError, match=named):
        replace(study, training=replace(study.training, estimators=tuple(estimators)))


def test_a_task_without_classes_has_no_second_level_and_no_search():
    study = STUDIES["hybrid"]
    with pytest.raises(StudySpecError, match="'stacked', which learns classes"):
        replace(study, training=replace(study.training, ensemble="stacked"))
    searched = replace(TREES, presets=dict.fromkeys(study.presets, TrainingPreset(trials=2)))
    with pytest.raises(StudySpecError, match="space is searched by the log loss of classes"):
        replace(study, training=replace(study.training, estimators=(*study.networks, searched)))


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
        WalkForwardConfig(**arguments)
