"""A run as it goes: its months, its probes' findings, and who writes them down.

A run is the work on some months of some assets. The loop of `pipeline.run` reports to a `Recorder`; `defs.recorder`
writes runs into the Dagster instance, so that its UI tells the same story.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from trademl_pipeline.pipeline.shown import Metadata

Severity = Literal["ERROR", "WARN"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True)
class CheckResult:
    """The findings of a probe in one month of an asset.

    Attributes:
        name: of the check, such as `truncation`.
        passed: nothing was found, and the probe did look.
        metadata: coverage, and what was found.
        blocking: a failure keeps the month from being published.
        severity: ERROR or WARN, where the check failed.
        description: what a person should know of this result; empty: nothing beside its metadata.
        asset: that it is a check of, where that is another one than was made: its published month is meant.
    """

    name: str
    passed: bool
    metadata: Metadata = field(default_factory=dict[str, Any])
    blocking: bool = True
    severity: Severity = "ERROR"
    description: str = ""
    asset: str = ""


@dataclass(frozen=True)
class MonthDone:
    """A month of an asset that was published, with what its probes said.

    Attributes:
        asset: its name.
        month: month key, `YYYY-MM-01`; empty for an asset without partitions.
        metadata: figures of the month.
        checks: one result per probe that looked at it.
    """

    asset: str
    month: str
    metadata: Metadata
    checks: Sequence[CheckResult] = ()


@dataclass(frozen=True)
class MonthRefused:
    """A month of an asset that was not published: refused by the gate, or failed.

    Attributes:
        asset: its name.
        month: month key, `YYYY-MM-01`; empty for an asset without partitions.
        reason: one line, as the user shall read it.
        metadata: what was found, such as tables of violations and figures.
        checks: one result per probe that looked at the refused rows; empty where the month failed before.
        by_gate: the gate refused it, or could not audit what makes it; another month would fare no better. Otherwise
            something of this month alone failed, such as its bars.
    """

    asset: str
    month: str
    reason: str
    metadata: Metadata = field(default_factory=dict[str, Any])
    checks: Sequence[CheckResult] = ()
    by_gate: bool = False


class RecordedRun(Protocol):
    """One run that has begun. Exactly one of `succeeded`, `failed` and `canceled` ends it."""

    @property
    def run_id(self) -> str:
        """Identifies the run wherever it is recorded: in the lake's ledgers, certificates and the tracker."""
        ...

    def log(self, message: str, *, level: LogLevel = "INFO") -> None:
        """Write a line of progress."""
        ...

    def told(self, events: Sequence[MonthDone | MonthRefused]) -> None:
        """Write down months that have been worked off; the more at a time, the cheaper."""
        ...

    def cancel_requested(self) -> bool:
        """Return whether somebody has terminated the run in the UI; cheap enough to be asked in a loop."""
        ...

    def succeeded(self) -> None:
        """End it: all months were published."""
        ...

    def failed(self, message: str) -> None:
        """End it: some month was refused, or the work broke off."""
        ...

    def canceled(self, message: str) -> None:
        """End it: the user, or a signal, ended it."""
        ...


class Recorder(Protocol):
    """Writes runs down."""

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

    def claim(self, pool: str, run: RecordedRun, step: str) -> bool:
        """Take a slot of a pool if one is free for this step; ask again later otherwise, or `release` the claim.

        Args:
            pool: such as `gpu`; one without a limit has room for all.
            run: that the step belongs to.
            step: the asset that is worked on.
        """
        ...

    def release(self, run: RecordedRun, step: str) -> None:
        """Give back what `claim` took, or stop waiting for it."""
        ...

    def close_dead(self) -> list[str]:
        """End the runs of processes that are gone; returns their ids."""
        ...
