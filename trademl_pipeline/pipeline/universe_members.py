"""Whom one may decide on: who belonged to the universe on each session and has a bar of it.

The universe is the setting `universe`, everyone with a bar where it is not set. Membership of `SP500`, or of
a file with dates, is that of the day: windows, and so training and predictions, are made of members only, among them
the names that left later, and without those that came later.
"""

import polars as pl

from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, audit_universe
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.market.calendar import FIRST_DAY
from trademl_pipeline.market.symbols import VOLATILITY_INDICES
from trademl_pipeline.market.universes import members_with_bars
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.history import read_months
from trademl_pipeline.pipeline.lookback import SAME_MONTH
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.universe import Universe
from trademl_pipeline.tables import RAW_BARS, UNIVERSE_MEMBERS

READS = {RAW_BARS.name: SAME_MONTH}


def month_keys(store: Lake, month: str) -> pl.DataFrame:
    """Return symbol, session of the month's bars of what can be traded: an index of volatility cannot."""
    reader, columns = f"universe_members {month[:7]}", ("symbol", "session")
    bars = read_months(store, RAW_BARS, month, month, reader=reader, columns=columns)
    return bars.filter(~pl.col("symbol").is_in(VOLATILITY_INDICES))


def audit_members_month(
    published: pl.DataFrame, bars: pl.DataFrame, membership_intervals: pl.DataFrame | None, name: str
) -> AuditReport:
    """Audit V, nobody before he came or after he left and nobody missing, and the rows against a computation anew.

    Args:
        published: the month's members.
        bars: symbol, session of the month's bars.
        membership_intervals: symbol, start_date, end_date; None: everyone always belongs.
        name: of the universe.
    """
    always = bars.select(pl.col("symbol").unique()).with_columns(
        pl.lit(FIRST_DAY).alias("start_date"), pl.lit(None, pl.Date).alias("end_date")
    )
    return audit_universe(
        published, bars, membership_intervals if membership_intervals is not None else always
    ) + audit_published(published, members_with_bars(membership_intervals, bars, name))


def universe_members_months(universe: Universe, store: Lake, run: RunInfo) -> Body:
    """Return what looks up, audits and publishes the members of one month."""

    def month_of(month: str) -> MonthResult:
        bars, membership_intervals = month_keys(store, month), universe.membership_intervals(month, month)
        frame = members_with_bars(membership_intervals, bars, universe.name)
        published = publish(
            run,
            store,
            UNIVERSE_MEMBERS,
            frame,
            month,
            lambda written: audit_members_month(written, bars, membership_intervals, universe.name),
        )
        share = frame.height / bars.height
        shown = {"universe": universe.name, "share_of_bars": float(share)}
        return result_of(published, {**month_metadata(published, frame), **shown})

    return month_of


def audit_universe_month(universe: Universe, store: Lake, month: str) -> AuditReport:
    """Audit the members of a month as the lake holds them."""
    written = store.read(UNIVERSE_MEMBERS, months=[month])
    return audit_members_month(
        written, month_keys(store, month), universe.membership_intervals(month, month), universe.name
    )
