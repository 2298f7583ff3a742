"""What the reports know of each kind of study: its columns, its classes and its own figures."""

from trademl_pipeline.reports.tasks.spec import TASKS, ClassView, Task

__all__ = ["TASKS", "ClassView", "Task"]
