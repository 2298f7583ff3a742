"""Taking in bars of a range of months: downloaded first, in pieces that a later call finds again, then published."""

from collections.abc import Callable
from dataclasses import dataclass, field

from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.market.calendar import month_bounds, month_key, month_range
from trademl_pipeline.market.errors import EmptyMonthError
from trademl_pipeline.market.ingest.staging import Staged
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.job_names import ingest_job_name
from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused
from trademl_pipeline.pipeline.runner import Job, Runner
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.tables.bar_tables import bar_tables

COUNTS = ("new_rows", "restated_rows", "late_rows", "withdrawn_rows", "quarantined_rows")


@dataclass
class Tally:
    """The outcome of each month of a run.

    Attributes:
        months: by month key its metadata; None where it was refused.
        absent: symbols that the source has no bar of.
    """

    months: dict[str, Metadata | None] = field(default_factory=dict[str, Metadata | None])
    absent: list[str] = field(default_factory=list[str])

    def total(self, name: str) -> int:
        """Return the sum of a figure over the published months."""
        return sum(int(metadata.get(name, 0)) for metadata in self.months.values() if metadata)

    def published(self) -> list[str]:
        """Return the months that passed."""
        return [month for month, metadata in self.months.items() if metadata]

    def figures(self, store: Lake, timeframe: str) -> dict[str, int]:
        """Return what was done, for a table: symbols, months, rows, and rows by what became of them.

        Args:
            store: the lake that the months were published to.
            timeframe: of the bars.
        """
        published, symbols = self.published(), 0
        if published:
            months = (min(published), max(published))
            try:
                bars = store.read(bar_tables(timeframe).bars, months=months, columns=["symbol"])
                symbols = bars["symbol"].n_unique()
            except MissingTableError:
                symbols = 0
        counted = {name.removesuffix("_rows"): self.total(name) for name in COUNTS}
        return {
            "symbols": symbols,
            "months": len(published),
            "rows": self.total("dagster/row_count"),
            **counted,
        }


def download(
    source: BarSource,
    artifacts: Artifacts,
    first: str,
    last: str,
    tally: Tally,
    show: Callable[[int, int, str], None],
) -> tuple[str, str, bool]:
    """Fetch what is not there yet of a range; returns the first and last month with a bar, and whether any was fetched.

    Args:
        source: a vendor.
        artifacts: of the data set.
        first, last: month keys.
        tally: learns which symbols are absent.
        show: called with pieces done, pieces in all, and what is being downloaded.

    Raises:
        EmptyMonthError: the source has no bar of any symbol.
    """
    staged = Staged(source, artifacts.staging, month_bounds(first)[0], month_bounds(last)[1])
    with staged.lock():
        fetched = staged.download(show)
        tally.absent = staged.absent()
        low, high = staged.span()
        if len(tally.absent) == len(staged.symbols()):
            staged.discard()
            raise EmptyMonthError(source.name, low, high, None, f", {len(tally.absent)} symbols")
    return max(first, month_key(low)), min(last, month_key(high)), bool(fetched)


def publish_bars(runner: Runner, timeframe: str, first: str, last: str, tally: Tally) -> list[str]:
    """Publish a range of months of bars, each judged and audited; returns a line for each problem.

    Args:
        runner: does it.
        timeframe: of the bars.
        first, last: month keys.
        tally: learns what became of each month.

    Raises:
        Stopped: a signal came.
    """
    months, asset = tuple(month_range(first, last)), bar_tables(timeframe).bars.name

    def seen(_: Job, event: MonthDone | MonthRefused) -> None:
        tally.months[event.month] = event.metadata if isinstance(event, MonthDone) else None
        runner.listener.advanced(f"Publishing {event.month[:7]}")

    runner.listener.began("Publishing", len(months))
    problems = runner.run([[Job(ingest_job_name(timeframe), (asset,), months)]], on_event=seen)
    runner.listener.ended()
    return problems
