"""Whom one may decide on."""

from dataclasses import dataclass

import polars as pl

from trademl_pipeline.settings import Settings

EVERYONE = "ALL"


@dataclass(frozen=True)
class Universe:
    """The universe of a data set: everyone with a bar, a list, or members as of the day.

    Attributes:
        name: SP500, TIER_1, ..., symbols with commas, or a file of membership intervals.
        membership: CSV of the membership of SP500: symbol, start_date, end_date.
    """

    name: str = EVERYONE
    membership: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Universe":
        """Return the universe that the settings name."""
        return cls(settings.universe.name or EVERYONE, settings.universe.membership)

    def membership_intervals(self, first: str, last: str) -> pl.DataFrame | None:
        """Return who belonged to it in some months, as known at their end; None is everyone.

        Args:
            first, last: month keys.

        Raises:
            UniverseError: there is no such universe, or it needs a file that is missing or wrong.
        """
        if self.name in ("", EVERYONE):
            return None
        from trademl_pipeline.market.calendar import month_bounds
        from trademl_pipeline.market.universes import members

        days = month_bounds(first)[0], month_bounds(last)[1]
        return members(self.name, *days, membership=self.membership or None)
