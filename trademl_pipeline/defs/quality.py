"""The resource of the quality checks: what bars are compared with, and when a check fails."""

import os
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
from pydantic import Field

if TYPE_CHECKING:
    from trademl_pipeline.market.quality.report import Rule

VARIABLES = {
    "rules": "TRADEML_QUALITY",
    "second": "TRADEML_CROSSCHECK",
    "universe": "TRADEML_UNIVERSE",
    "membership": "TRADEML_MEMBERSHIP",
    "calendar": "TRADEML_CALENDAR",
}


class QualityResource(dg.ConfigurableResource):
    """What the quality checks compare with, and when they fail."""

    rules: str = Field(default="", description='JSON: {"missing_sessions": "ERROR"}, or severity and limit')
    second: str = Field(default="", description="Parquet or CSV of a second source's bars")
    universe: str = Field(
        default="", description="universe whose members should have prices; SP500 by membership"
    )
    membership: str = Field(
        default="", description="CSV of the spells of SP500: symbol, start_date, end_date"
    )
    calendar: str = Field(default="", description="calendar of the sessions; empty: told by the bars")

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

    @classmethod
    def from_environment(cls) -> "QualityResource":
        """The resource as the environment says now."""
        return cls(**{name: os.environ[var] for name, var in VARIABLES.items() if os.environ.get(var)})


def quality_resource() -> QualityResource:
    """The resource with its values bound to the environment at run time."""
    bound = {name: dg.EnvVar(var) for name, var in VARIABLES.items() if os.environ.get(var)}
    return QualityResource(**bound)
