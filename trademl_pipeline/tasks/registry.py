"""All tasks. To add one, write its file and list its class here: studies may then name it."""

from trademl_pipeline.tasks.breakout import Breakout
from trademl_pipeline.tasks.checks import checked
from trademl_pipeline.tasks.direction import Direction
from trademl_pipeline.tasks.forecast import Forecast
from trademl_pipeline.tasks.hybrid import Hybrid
from trademl_pipeline.tasks.pattern import Pattern
from trademl_pipeline.tasks.protocol import Task

TASKS: dict[str, Task] = {
    task.name: task for task in map(checked, (Direction, Forecast, Breakout, Pattern, Hybrid))
}
