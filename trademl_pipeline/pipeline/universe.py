"""Whom one may decide on."""

from dataclasses import dataclass

import polars as pl

EVERYONE = "ALL"


@dataclass(frozen=True)
class Universe:
    """The universe of a data set: everyone with a bar, a list, or members as of the day."""

    name: str = EVERYONE
    membership: str = ""

    def spells(self, first: str, last: str) -> pl.DataFrame | None:
        """Who belonged to it in some months, as known at their end; None is everyone.

        Raises:
            UniverseError: there is no such universe, or it needs a file that is missing or wrong.
        """
        if self.name in ("", EVERYONE):
            return None
        from trademl_pipeline.market.calendar import month_bounds
        from trademl_pipeline.market.universes import members

        days = month_bounds(first)[0], month_bounds(last)[1]
        return members(self.name, *days, membership=self.membership or None)
