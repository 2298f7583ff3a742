"""The Dagster instance of a data set, opened by what works outside Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from trademl_pipeline.defs.recorder import DagsterRecorder


@contextmanager
def opened_recorder(folder: Path) -> Iterator[DagsterRecorder]:
    """Open the recorder of the instance in a folder, with the runs of dead processes closed.

    Args:
        folder: of the instance, with its `dagster.yaml`.
    """
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        recorder = DagsterRecorder(instance)
        recorder.close_dead()
        yield recorder
