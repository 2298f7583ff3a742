"""The trial ledger: every configuration that was ever tried, kept or not.

The deflated Sharpe ratio of a result depends on how many were tried; so does one's trust. Append-only, one
JSON object a line, safe for several processes on one machine.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
_SCHEMA = {
    "study": pl.String,
    "fold": pl.String,
    "number": pl.Int64,
    "state": pl.String,
    "score": pl.Float64,
    "seconds": pl.Float64,
    "params": pl.String,
    "detail": pl.String,
}


@dataclass(frozen=True)
class Trial:
    """One configuration tried.

    Attributes:
        study, fold: for what.
        number: within the study's search.
        state: ``complete``, ``pruned`` or ``failed``.
        score: mean over the inner folds judged; None where none was.
        seconds: time the fits took.
        params: the configuration.
        detail: why it failed.
    """

    study: str
    fold: str
    number: int
    state: str
    score: float | None
    seconds: float
    params: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


class TrialLedger:
    """Trials in a file; `on_trial` is called with each one that is added, e.g. to log it to MLflow."""

    def __init__(self, path: Path, on_trial: Callable[[Trial], None] | None = None):
        self.path, self.on_trial = path, on_trial

    def add(self, trial: Trial) -> None:
        """Append a trial, on disk when this returns."""
        line = json.dumps(asdict(trial) | {"params": json.dumps(trial.params, sort_keys=True, default=str)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # one write call on a file opened for appending: lines of several processes do not mix
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode() + b"\n")
            os.fsync(file.fileno())
        if self.on_trial is not None:
            self.on_trial(trial)

    def to_frame(self) -> pl.DataFrame:
        """All trials in the order they were added; params as JSON text."""
        if not self.path.exists():
            return pl.DataFrame(schema=_SCHEMA)
        lines = [line for line in self.path.read_text().splitlines() if line]
        return pl.DataFrame([json.loads(line) for line in lines], schema=_SCHEMA)

    def count(self, study: str) -> int:
        """Trials of a study over all folds and searches, failed ones included."""
        return self.to_frame().filter(pl.col("study") == study).height
