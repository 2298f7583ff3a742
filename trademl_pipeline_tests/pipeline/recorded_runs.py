"""What tests of the loop give it in place of steps, of Dagster and of a terminal: fakes that remember all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.pipeline.gate import GateRefusedError
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo
from trademl_pipeline.pipeline.recording import LogLevel, MonthDone, MonthRefused, RecordedRun
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import TrainOptions


@dataclass
class FakeRun:
    """A run that remembers what was told of it, and how it ended."""

    run_id: str
    job: str
    assets: tuple[str, ...]
    months: tuple[str, ...]
    tags: dict[str, str]
    events: list[MonthDone | MonthRefused] = field(default_factory=list)
    lines: list[tuple[LogLevel, str]] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)
    terminated: bool = False

    def log(self, message: str, *, level: LogLevel = "INFO") -> None:
        self.lines.append((level, message))

    def told(self, events: Sequence[MonthDone | MonthRefused]) -> None:
        assert not self.ends, "nothing is told of a run that has ended"
        self.events.extend(events)

    def cancel_requested(self) -> bool:
        return self.terminated

    def succeeded(self) -> None:
        self.ends.append(("succeeded", ""))

    def failed(self, message: str) -> None:
        self.ends.append(("failed", message))

    def canceled(self, message: str) -> None:
        self.ends.append(("canceled", message))

    @property
    def end(self) -> str:
        """How it ended, which every run does once."""
        assert len(self.ends) == 1, (self.job, self.months, self.ends)
        return self.ends[0][0]


class FakeRecorder:
    """Remembers runs and slots; a pool has room for so many as `rooms` says."""

    def __init__(self, rooms: Mapping[str, int] | None = None) -> None:
        self.runs: list[FakeRun] = []
        self.rooms, self.held = dict(rooms or {}), dict[tuple[str, str], str]()
        self.claims: list[tuple[str, str]] = []

    def begin(
        self,
        job: str,
        assets: Sequence[str],
        months: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
    ) -> FakeRun:
        self.runs.append(
            FakeRun(f"run {len(self.runs)}", job, tuple(assets), tuple(months), dict(tags or {}))
        )
        return self.runs[-1]

    def claim(self, pool: str, run: RecordedRun, step: str) -> bool:
        self.claims.append((pool, step))
        room = self.rooms.get(pool, 1) > sum(name == pool for name in self.held.values())
        if room:
            self.held[run.run_id, step] = pool
        return room

    def release(self, run: RecordedRun, step: str) -> None:
        self.held.pop((run.run_id, step), None)

    def slot(self, pool: str, run: RecordedRun, step: str) -> AbstractContextManager[None]:
        return nullcontext()

    def close_dead(self) -> list[str]:
        return []

    def ended(self) -> dict[str, str]:
        """How runs ended, by job and last month."""
        return {f"{run.job} {run.months[-1]}": run.end for run in self.runs}


class FakeListener:
    """Remembers what a user would see."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.pieces: list[str] = []
        self.lines: list[str] = []
        self.problems: list[str] = []

    def began(self, title: str, total: int) -> None:
        self.totals[title] = total

    def advanced(self, what: str, pieces: int = 1) -> None:
        self.pieces.extend([what] * pieces)

    def ended(self) -> None: ...

    def broke_off(self) -> None: ...

    def said(self, line: str) -> None:
        self.lines.append(line)

    def problem(self, line: str) -> None:
        self.problems.append(line)


class FakeSteps:
    """Takes the place of `catalog.opened`: steps that do nothing, refuse some months, or fail.

    Attributes:
        made: each asset and month in the order in which they were worked off.
        options: what training was asked, by asset and month.
        refused: by asset the months that are refused.
        leaks: by asset the months that the gate refuses.
        errors: by asset what opening it fails with.
        meanwhile: called before each month.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.options: dict[tuple[str, str], TrainOptions] = {}
        self.refused: dict[str, set[str]] = {}
        self.leaks: dict[str, set[str]] = {}
        self.errors: dict[str, Exception] = {}
        self.meanwhile: Callable[[str, str], None] = lambda asset, month: None

    @contextmanager
    def opened(
        self, asset: str, site: Site, run: RunInfo, months: Sequence[str], options: TrainOptions
    ) -> Iterator[Body]:
        if asset in self.errors:
            raise self.errors[asset]

        def body(month: str) -> MonthResult:
            self.meanwhile(asset, month)
            self.made.append((asset, month))
            self.options[asset, month] = options
            if month in self.refused.get(asset, ()):
                raise LakeError(f"{asset} is not to be had")
            if month in self.leaks.get(asset, ()):
                leak = Violation("truncation", "gap", "A", detail="moved")
                raise GateRefusedError(asset, month, AuditReport((leak,), {"truncation": {"rows": 3}}))
            return MonthResult({"dagster/row_count": 10})

        yield body

    def months_of(self, asset: str) -> list[str]:
        """The months of an asset that were worked off, in order."""
        return [month for name, month in self.made if name == asset]
