"""What the quality checks compare bars with, and when they fail."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from trademl_pipeline.market.quality.report import Rule


@dataclass(frozen=True)
class Quality:
    """What the quality checks compare with, and when they fail."""

    rules: str = ""
    second: str = ""
    universe: str = ""
    membership: str = ""
    calendar: str = ""

    def parsed(self) -> "dict[str, Rule]":
        """The rules in force.

        Raises:
            QualityRuleError: the rules make no sense.
        """
        from trademl_pipeline.market.quality.report import rules_from

        return rules_from(self.rules)

    def spells(self, first: str, last: str) -> pl.DataFrame | None:
        """Who belonged to the universe in some months; None where no one ever comes or goes."""
        from trademl_pipeline.market.calendar import month_bounds
        from trademl_pipeline.market.universes import members, universe_names

        name = self.universe or ("SP500" if self.membership else "")
        if not name or (name in universe_names() and name != "SP500"):
            return None
        return members(
            name, month_bounds(first)[0], month_bounds(last)[1], membership=self.membership or None
        )

    def other(self, bars: pl.DataFrame) -> pl.DataFrame | None:
        """A second source's bars over the same sessions, where there is one."""
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
