"""Checks of a task: what is wrong is said when definitions load rather than after all training."""

from collections.abc import Collection

import polars as pl

from trademl_pipeline.tasks.protocol import SCORE, Task
from trademl_pipeline.tasks.report_spec import RETURN


class TaskError(ValueError):
    """A task lacks an ability or declares what does not fit; the message names the task and the ability."""


def checked(task_class: type[Task]) -> Task:
    """Make a task out of its class and check it.

    Raises:
        TaskError: it leaves out what every task must have, or as `check_task`.
    """
    lacking = sorted(task_class.__abstractmethods__)  # pyright: ignore[reportAttributeAccessIssue]
    if lacking:
        raise TaskError(
            f"task {task_class.__name__} has no {', '.join(lacking)}; every task must, see tasks/protocol.py"
        )
    task = task_class()
    check_task(task)
    return task


def check_task(task: Task) -> None:
    """Refuse a task whose declarations do not fit together.

    Raises:
        TaskError: naming the task and the ability.
    """
    _check_columns(task)
    _check_learning(task)
    _check_report(task)


def check_outcomes(task: Task, target: str, values: Collection[str]) -> None:
    """Refuse a task whose labels or outcomes a target does not have.

    Args:
        task: the task.
        target: name of the target.
        values: columns of its labels.

    Raises:
        TaskError: naming the columns.
    """
    missing = sorted(set(task.labels) - set(values))
    if missing:
        raise TaskError(
            f"task {task.name!r} learns {missing}, which target {target!r} does not have; "
            "choose a target that fits the task"
        )
    missing = sorted(set(task.report.outcomes) - set(values))
    if missing:
        raise TaskError(
            f"task {task.name!r} is judged by report.outcomes {missing}, which target {target!r} does not have; "
            "choose a target that fits the task"
        )


def _refuse_unknown(task: Task, ability: str, named: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise TaskError(
            f"task {task.name!r}: {ability} names {', '.join(unknown)}; it may name {', '.join(known) or 'nothing'}"
        )


def _check_columns(task: Task) -> None:
    output_columns = list(task.output_schema)
    if not output_columns or output_columns[-1] != SCORE:
        raise TaskError(
            f"task {task.name!r}: output_schema ends with {output_columns[-1:]}; its last column must be {SCORE!r}, "
            "by which predictions are ranked"
        )
    if task.output_schema[SCORE] != pl.Float64:
        raise TaskError(
            f"task {task.name!r}: output_schema says that score is {task.output_schema[SCORE]}; it is Float64"
        )
    _refuse_unknown(task, "column_docs", task.column_docs, output_columns)
    silent = [name for name in output_columns if not task.column_docs.get(name)]
    if silent:
        raise TaskError(
            f"task {task.name!r}: column_docs lacks {', '.join(silent)}; say what it is, and its unit"
        )
    if not task.columns:
        raise TaskError(f"task {task.name!r}: columns is empty; an estimator must predict something")
    if not task.labels:
        raise TaskError(f"task {task.name!r}: labels is empty; training rows must have something to learn")


def _check_learning(task: Task) -> None:
    for ability, label in (("class_label", task.class_label), ("selection_label", task.selection_label)):
        if label is not None:
            _refuse_unknown(task, ability, [label], task.labels)
    if task.class_label is not None and task.values is not None:
        raise TaskError(
            f"task {task.name!r} has both class_label and values; its columns are one or the other"
        )
    if task.values is not None:
        values = task.values
        for ability, named in (
            ("values.log_scale", values.log_scale),
            ("values.probabilities", values.probabilities),
            ("values.volatility_scaled", [*values.volatility_scaled, *values.volatility_scaled.values()]),
            ("values.horizons", values.horizons),
        ):
            _refuse_unknown(task, ability, named, task.columns)
        for group in values.simplexes:
            _refuse_unknown(task, "values.simplexes", group, values.probabilities)


def _check_report(task: Task) -> None:
    report = task.report
    _refuse_unknown(task, "report.primary_metric", [report.primary_metric], [m.name for m in report.measures])
    _refuse_unknown(task, "report.outcome", [report.outcome], dict.fromkeys([RETURN, *report.outcomes]))
    _refuse_unknown(task, "report.not_of_estimators", report.not_of_estimators, task.predicted)
    for view in report.views:
        _refuse_unknown(task, "report.views", view.columns, task.predicted)
        _refuse_unknown(task, "report.views", [view.target], report.outcomes)
        if len(view.labels) != len(view.all_columns):
            raise TaskError(
                f"task {task.name!r}: report.views names {len(view.labels)} classes for {len(view.all_columns)} of "
                f"{', '.join(view.columns)}; name every class"
            )
    if not report.directional and not report.views:
        raise TaskError(
            f"task {task.name!r}: report.views is empty and its score calls no direction; nothing says what was right"
        )
