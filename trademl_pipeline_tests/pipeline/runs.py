"""What a step needs to run outside Dagster: a lake of its own, and a run to be part of."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.pipeline.months import Body, RunInfo, work_off
from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused


def lake_in(folder: Path) -> Lake:
    """An embedded lake in a folder, whatever the environment says."""
    return Lake(LakeConfig.of(folder))


def new_run() -> RunInfo:
    """A run that has just been created."""
    return RunInfo(uuid4().hex, datetime.now(UTC), logging.getLogger(__name__))


def done(asset: str, months: Sequence[str], body: Body) -> list[MonthDone]:
    """The months of an asset worked off, none of them refused."""
    events = work_off(asset, months, body, logging.getLogger(__name__))
    assert not [event for event in events if isinstance(event, MonthRefused)], events
    return [event for event in events if isinstance(event, MonthDone)]


def refused(asset: str, month: str, body: Body) -> MonthRefused:
    """A month of an asset worked off that is refused."""
    (event,) = work_off(asset, [month], body, logging.getLogger(__name__))
    assert isinstance(event, MonthRefused), event
    return event
