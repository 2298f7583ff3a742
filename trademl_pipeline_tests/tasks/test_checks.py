"""A task that cannot work is refused when definitions load, by one line that names it and what it lacks."""

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from trademl_pipeline.studies import DIRECTION, STUDIES, StudySpecError
from trademl_pipeline.tasks import TASKS, ClassView, Task, TaskError, Values
from trademl_pipeline.tasks.breakout import Breakout
from trademl_pipeline.tasks.checks import check_task, checked
from trademl_pipeline.tasks.direction import Direction
from trademl_pipeline.tasks.forecast import Forecast

REPORT = Direction.report


def changed(base: type[Task], **attributes: object) -> Task:
    """A task that differs from another in some of its attributes."""
    return type("Changed", (base,), attributes)()


def test_the_five_tasks_are_there_and_fit_together() -> None:
    assert list(TASKS) == ["direction", "forecast", "breakout", "pattern", "hybrid"]
    for name, task in TASKS.items():
        assert task.name == name
        check_task(task)


def test_what_a_task_must_have_and_leaves_out_is_named() -> None:
    class Half(Task):
        name = "half"
        columns = ("p",)
        labels = ("target",)

        def targets(self, keys: pl.DataFrame) -> dict:
            return {}

    with pytest.raises(
        TaskError, match=r"^task Half has no comparison, column_docs, from_network, loss, metric"
    ):
        checked(Half)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            changed(Direction, published=dict.fromkeys(Direction.columns, pl.Float64)),
            r"'direction': published ends with \['p_buy'\]; its last column must be 'score'",
        ),
        (
            changed(Direction, output_schema={**Direction.output_schema, "score": pl.String}),
            "published says that score is String",
        ),
        (
            changed(Direction, column_docs={k: v for k, v in Direction.column_docs.items() if k != "p_buy"}),
            "'direction': column_docs lacks p_buy",
        ),
        (
            changed(Direction, column_docs={**Direction.column_docs, "p": "?"}),
            "column_docs names p; it may name",
        ),
        (changed(Direction, class_label="class"), "'direction': class_label names class; it may name target"),
        (
            changed(Direction, values=Forecast.values),
            "'direction' has both class_label and values",
        ),
        (
            changed(Forecast, values=replace(Forecast.values, log_scale=("spread",))),
            "'forecast': values.log_scale names spread; it may name mean_1",
        ),
        (
            changed(Forecast, values=replace(Forecast.values, simplexes=(("mean_1",),))),
            "'forecast': values.simplexes names mean_1",
        ),
        (changed(Forecast, selection_label="target"), "'forecast': selection_label names target"),
        (
            changed(Direction, report=replace(REPORT, primary_metric="Sharpe ratio")),
            "'direction': report.primary_metric names Sharpe ratio; it may name rank IC",
        ),
        (
            changed(Direction, report=replace(REPORT, outcome="return_9")),
            "'direction': report.outcome names return_9; it may name forward_return, target",
        ),
        (
            changed(Direction, report=replace(REPORT, not_of_estimators=("ev",))),
            "'direction': report.members_lack names ev",
        ),
        (
            changed(
                Direction,
                report=replace(REPORT, views=(ClassView("", ("a", "b"), ("p_a", "p_b"), "target"),)),
            ),
            "'direction': report.views names p_a, p_b; it may name p_sell",
        ),
        (
            changed(
                Direction,
                report=replace(REPORT, views=(ClassView("", ("Sell",), ("p_sell", "p_buy"), "target"),)),
            ),
            "report.views names 1 classes for 2 of p_sell, p_buy",
        ),
        (
            changed(Breakout, report=replace(Breakout.report, views=())),
            "'breakout': report.views is empty and its score calls no direction",
        ),
    ],
)
def test_declarations_that_do_not_fit_are_refused_by_task_and_ability(task: Task, message: str) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        check_task(task)
    assert "\n" not in str(refused.value)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Task], None]:
    """Has the direction study ask another task."""

    def ask(task: Task, **plan: object) -> None:
        monkeypatch.setitem(TASKS, "changed", task)
        replace(DIRECTION, training=replace(DIRECTION.training, task="changed", **plan))

    return ask


def test_a_study_refuses_a_task_that_does_not_fit_together(asked: Callable) -> None:
    with pytest.raises(StudySpecError, match=r"fit.task: task 'direction': report.primary_metric names x"):
        asked(changed(Direction, report=replace(REPORT, primary_metric="x")))


def test_a_study_refuses_outcomes_that_its_target_does_not_have(asked: Callable) -> None:
    with pytest.raises(
        StudySpecError, match=r"judged by report.outcomes \['best_gain'\], which target 'direction' does not"
    ):
        asked(changed(Direction, report=replace(REPORT, outcomes=(*REPORT.outcomes, "best_gain"))))


def test_a_study_refuses_a_context_that_its_features_lack(asked: Callable) -> None:
    with pytest.raises(
        StudySpecError, match=r"reads \['moon'\] as its context, which feature_set 'indicators'"
    ):
        asked(changed(Direction, context=("moon",)))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            {"calibrate": True},
            "fit.calibrate fits frequencies of classes, and task 'mute' has no class_label",
        ),
        (
            {"select": STUDIES["hybrid"].training.select},
            "fit.select looks at classes, and task 'mute' has no selection_label",
        ),
        (
            {"cross_validate": STUDIES["pattern_confidence"].training.cross_validate},
            r"task 'mute' has none \(binary_calls\)",
        ),
        ({}, "lightgbm learns classes or values, and task 'mute' has neither class_label nor values"),
    ],
)
def test_what_a_task_does_not_declare_cannot_be_asked_of_it(
    asked: Callable, plan: dict, message: str
) -> None:
    with pytest.raises(StudySpecError, match=message):
        asked(changed(Direction, name="mute", class_label=None), **plan)


def test_a_linear_model_is_refused_where_values_are_probabilities_too(asked: Callable) -> None:
    values = Values(lambda keys: keys.to_numpy(), lambda targets: targets["target"], probabilities=("p_buy",))
    members = tuple(
        replace(m, kind="linear", demean_within=None, space={}) for m in DIRECTION.training.estimators[:1]
    )
    with pytest.raises(StudySpecError, match="linear model regresses on values, and task 'both' has probab"):
        asked(
            changed(Direction, name="both", class_label=None, values=values), members=members, ensemble="mean"
        )


def test_an_epoch_is_not_chosen_by_a_figure_that_the_task_does_not_measure(asked: Callable) -> None:
    network = next(m for m in DIRECTION.training.estimators if m.is_network)
    members = (replace(network, training={**network.training, "monitor": "sharpe"}),)
    with pytest.raises(
        StudySpecError, match="training monitors sharpe, and task 'direction' measures loss, accuracy"
    ):
        asked(TASKS["direction"], members=members, ensemble="mean")
