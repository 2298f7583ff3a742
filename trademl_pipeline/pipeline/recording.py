"""What a run tells of itself as it goes, and who writes it down.

A run is the work on some months of some assets. The loop of `pipeline.run` reports to a `Recorder`; `defs.recorder`
writes runs into the Dagster instance, so that its UI tells the same story, and `NullRecorder` into nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trademl_pipeline.pipeline.shown import Metadata


@dataclass(frozen=True)
class CheckResult:
    """What a probe found in one month of an asset.

    Attributes:
        name: of the check, such as `truncation`.
        passed: nothing was found, and the probe did look.
        metadata: coverage, and what was found.
        blocking: a failure keeps the month from being published.
        severity: ERROR or WARN, where the check failed.
    """

    name: str
    passed: bool
    metadata: Metadata = field(default_factory=dict[str, Any])
    blocking: bool = True
    severity: str = "ERROR"


@dataclass(frozen=True)
class MonthDone:
    """A month of an asset that was published, with what its probes said."""

    asset: str
    month: str
    metadata: Metadata
    checks: Sequence[CheckResult] = ()


@dataclass(frozen=True)
class MonthRefused:
    """A month of an asset that was not published: refused by the gate, or failed."""

    asset: str
    month: str
    reason: str
    metadata: Metadata = field(default_factory=dict[str, Any])
    checks: Sequence[CheckResult] = ()


class RecordedRun(Protocol):
    """One run that has begun. Exactly one of `succeeded`, `failed` and `canceled` ends it."""

    @property
    def run_id(self) -> str:
        """Identifies the run wherever it is recorded: in the lake's ledgers, certificates and the tracker."""
        ...

    def log(self, message: str, *, level: str = "INFO") -> None:
        """A line of progress."""
        ...

    def told(self, events: Sequence[MonthDone | MonthRefused]) -> None:
        """Months that have been worked off, some at a time."""
        ...

    def succeeded(self) -> None:
        """All months were published."""
        ...

    def failed(self, message: str) -> None:
        """Some month was refused, or the work broke off."""
        ...

    def canceled(self, message: str) -> None:
        """The user, or a signal, ended it."""
        ...


class Recorder(Protocol):
    """Where runs are written down."""

    def begin(
        self,
        job: str,
        assets: Sequence[str],
        months: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
    ) -> RecordedRun:
        """Open a run.

        Args:
            job: name of the job that it is a run of, such as `fold_direction`.
            assets: that it may materialize.
            months: month keys, in order.
            tags: shown with it.
        """
        ...

    def close_dead(self) -> list[str]:
        """End the runs of processes that are gone; returns their ids."""
        ...
