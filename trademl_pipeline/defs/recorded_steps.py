"""The steps of a recorded run, one for each asset, as the page of the run draws them."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.objects import StepFailureData, StepSuccessData
from dagster._core.snap import ExecutionPlanSnapshot, JobSnap, snapshot_from_execution_plan

from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused


@cache
def plan_of(job: str, assets: tuple[str, ...]) -> tuple[JobSnap, ExecutionPlanSnapshot]:
    """Return what the UI needs to draw the steps of a run.

    The definitions themselves would tell it as well, but take seconds to build.

    Args:
        job: its name.
        assets: one step each, in order.
    """
    definition = dg.GraphDefinition(name=job, node_defs=[_step(asset) for asset in assets]).to_job()
    plan = create_execution_plan(definition)
    return definition.get_job_snapshot(), snapshot_from_execution_plan(plan, definition.get_job_snapshot_id())


def step_key(asset: str) -> str:
    """Return the name of an asset's step, the same as in runs that Dagster executes."""
    return dg.AssetKey(asset).to_python_identifier()


def _step(asset: str) -> dg.OpDefinition:
    def compute() -> None:
        raise NotImplementedError(f"{asset} is computed outside Dagster; this step is there to be drawn")

    return dg.op(name=step_key(asset))(compute)


@dataclass(frozen=True)
class StepChange:
    """A step began or ended."""

    kind: DagsterEventType
    asset: str
    message: str
    data: Any = None


class Steps:
    """Follows from what a run tells which step began and ended when.

    Args:
        assets: in the order in which the run works them off.
        months: how many months it is for; a step has ended when it has told of as many.
    """

    def __init__(self, assets: Sequence[str], months: int) -> None:
        self._assets, self._months = list(assets), max(1, months)
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()
        self._told: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def first(self) -> list[StepChange]:
        """Return the step that a run begins with."""
        return self._begin(*self._assets[:1])

    def told(self, events: Sequence[MonthDone | MonthRefused]) -> tuple[list[StepChange], list[StepChange]]:
        """Return which steps began before some months were told, and which changed with them."""
        before: list[StepChange] = []
        for event in events:
            before += self._begin(event.asset)
            self._told[event.asset] += 1
            self._refused[event.asset] += isinstance(event, MonthRefused)
        after: list[StepChange] = []
        for asset in dict.fromkeys(event.asset for event in events):
            if self._told[asset] >= self._months and asset not in self._ended:
                after += [self._end(asset), *self._begin(*self._next())]
        return before, after

    def last(self, failure: str = "") -> list[StepChange]:
        """Return the steps that end with the run."""
        return [self._end(asset, failure) for asset in self._began if asset not in self._ended]

    def _next(self) -> list[str]:
        return [asset for asset in self._assets if asset not in self._began][:1]

    def _begin(self, *assets: str) -> list[StepChange]:
        new = [asset for asset in assets if asset not in self._began]
        self._began |= dict.fromkeys(new, time.monotonic())
        return [StepChange(DagsterEventType.STEP_START, asset, f"{asset} began") for asset in new]

    def _end(self, asset: str, failure: str = "") -> StepChange:
        self._ended.add(asset)
        refused, months = self._refused[asset], self._told[asset]
        if refused or failure:
            rest = f", {self._months - months} not run" if months < self._months else ""
            message = (
                f"{asset}: {refused} of {self._months} months refused{rest}"
                if refused
                else f"{asset}: {failure}"
            )
            return StepChange(DagsterEventType.STEP_FAILURE, asset, message, StepFailureData(None, None))
        seconds = time.monotonic() - self._began[asset]
        message = f"{asset}: {months} months in {seconds:.1f} s"
        return StepChange(DagsterEventType.STEP_SUCCESS, asset, message, StepSuccessData(1000 * seconds))
