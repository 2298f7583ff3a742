"""Tasks: what a study asks of its models, one file each."""

from trademl_pipeline.tasks.checks import TaskError
from trademl_pipeline.tasks.protocol import Task, Values
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.tasks.report_spec import ClassView, Measure, ReportSpec

__all__ = ["TASKS", "ClassView", "Measure", "ReportSpec", "Task", "TaskError", "Values"]
