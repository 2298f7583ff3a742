"""A data set as the steps of its folds see it."""

from dataclasses import dataclass

from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline.artifacts import Artifacts


@dataclass(frozen=True)
class Workspace:
    """A data set as the steps of its folds see it.

    Attributes:
        lake: its tables.
        artifacts: its files.
        calendar: on which its sessions are counted.
    """

    lake: Lake
    artifacts: Artifacts
    calendar: str
