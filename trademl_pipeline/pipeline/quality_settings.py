"""Rules of the quality checks, and what bars are compared with."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trademl_pipeline.settings import Settings

if TYPE_CHECKING:
    from trademl_pipeline.market.quality.report import Rule


@dataclass(frozen=True)
class Quality:
    """Rules of the quality checks, and what bars are compared with.

    Attributes:
        rules: JSON of what differs from the default rules: by check a severity, or severity and limit.
        second: Parquet or CSV of a second source's bars.
        universe: whose members should have prices; SP500 by membership.
        membership: CSV of the membership of SP500: symbol, start_date, end_date.
        calendar: of the sessions; empty: told by the bars.
    """

    rules: str = ""
    second: str = ""
    universe: str = ""
    membership: str = ""
    calendar: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Quality":
        """Return the rules that the settings name."""
        return cls(
            rules=json.dumps(settings.quality.rules) if settings.quality.rules else "",
            second=settings.quality.crosscheck,
            universe=settings.universe.name,
            membership=settings.universe.membership,
            calendar=settings.data.calendar,
        )

    def parsed(self) -> "dict[str, Rule]":
        """Return the rules in force, by check.

        Raises:
            QualityRuleError: the rules make no sense.
        """
        from trademl_pipeline.market.quality.report import rules_from

        return rules_from(self.rules)

    def membership_intervals(self, first: str, last: str) -> pl.DataFrame | None:
        """Return who belonged to the universe in some months; None where no one ever comes or goes.

        Args:
            first, last: month keys.
        """
        from trademl_pipeline.market.calendar import month_bounds
        from trademl_pipeline.market.universes import members, universe_names

        name = self.universe or ("SP500" if self.membership else "")
        if not name or (name in universe_names() and name != "SP500"):
            return None
        return members(
            name, month_bounds(first)[0], month_bounds(last)[1], membership=self.membership or None
        )

    def other(self, bars: pl.DataFrame) -> pl.DataFrame | None:
        """Return a second source's bars over the same sessions; None where there is no second source, or no bar."""
        if not self.second or bars.is_empty():
            return None
        from trademl_pipeline.market import EmptyMonthError, FileSource
        from trademl_pipeline.market.quality.report import calendar_of
        from trademl_pipeline.market.quality.rows import split_bars

        source = FileSource(self.second, calendar=self.calendar or calendar_of(bars))
        first, last = bars.select(first=pl.col("session").min(), last=pl.col("session").max()).row(0)
        both = sorted(set(source.symbols()) & set(bars["symbol"]))
        try:
            rows = source.fetch(both, first, last)
        except EmptyMonthError:
            return bars.clear()
        return split_bars(rows, ingested_at=bars["ingested_at"][0], calendar=source.calendar).good
