"""Bars, references, membership and quality: what comes from outside, and what was found wrong with it."""

import polars as pl

from trademl_pipeline.lake.schema import UTC_TIME, GatedTable, UngatedTable
from trademl_pipeline.tables.audits import AUDITS
from trademl_pipeline.tables.keys import PANEL_KEY

RAW_BARS = GatedTable(
    name="raw_bars",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
        "split_factor": pl.Float64,
        "dividend": pl.Float64,
        "adjusted": pl.Boolean,
        "event_time": UTC_TIME,
        "knowledge_time": UTC_TIME,
        "source": pl.String,
        "ingested_at": UTC_TIME,
    },
    key=PANEL_KEY,
    month_column="session",
    probes=("knowledge",),
    ledger=AUDITS,
    description="Daily bars as traded. split_factor is 2.0 on the ex-date of a 2:1 split and 1.0 elsewhere; "
    "dividend is cash per share on its ex-date.",
)


QUARANTINED_BARS = UngatedTable(
    name="quarantined_bars",
    columns={**RAW_BARS.columns, "reason": pl.String, "row": pl.Int64},
    key=(),
    nullable="all",
    order=("symbol", "session", "row"),
    may_be_empty=True,
    description="Bars that were refused, as the source gave them, with the reasons and the row in the "
    "source's frame.",
)


REFERENCE_BARS = GatedTable(
    name="reference_bars",
    columns={**RAW_BARS.columns, "kind": pl.String},
    key=PANEL_KEY,
    nullable=frozenset({"volume"}),
    month_column="session",
    probes=("truncation", "incremental", "knowledge"),
    ledger=AUDITS,
    description="Bars of what symbols are compared with: index and sector funds, the VIX, and an index built from "
    "raw_bars. kind is fund, sector, volatility or synthetic; a volatility index has no volume.",
)


QUARANTINED_REFERENCES = UngatedTable(
    name="quarantined_references",
    columns=QUARANTINED_BARS.columns,
    key=(),
    nullable="all",
    order=QUARANTINED_BARS.order,
    may_be_empty=True,
    description="Reference bars that were refused, with the reasons.",
)


SECTORS = GatedTable(
    name="sectors",
    columns={"symbol": pl.String, "sector": pl.String, "start_date": pl.Date},
    key=("symbol", "start_date"),
    may_be_empty=True,
    probes=("knowledge",),
    ledger=AUDITS,
    description="Which fund of reference_bars stands for a symbol's sector, since when, as known in the month. Symbols "
    "of which nothing is known are not in it.",
)


UNIVERSE_MEMBERS = GatedTable(
    name="universe_members",
    columns={"symbol": pl.String, "session": pl.Date},
    key=PANEL_KEY,
    month_column="session",
    probes=("universe", "incremental"),
    ledger=AUDITS,
    description="Who belonged to the universe on which session and has a bar of it: whom one may decide on. Those that "
    "left later are in it while they belonged.",
)


def quality_table(table: str) -> GatedTable:
    """Table of the quality checks of a table of bars: one row per check and month."""
    return GatedTable(
        name={"raw_bars": "bar_quality", "reference_bars": "reference_quality"}[table],
        columns={
            "check": pl.String,
            "severity": pl.String,
            "rows": pl.Int64,
            "count": pl.Int64,
            "symbols": pl.Int64,
            "share": pl.Float64,
            "limit": pl.Float64,
            "passed": pl.Boolean,
            "examples": pl.String,
        },
        key=("check",),
        probes=("incremental",),
        ledger=AUDITS,
        description=f"Quality of {table} by month: how many findings of each check (count) among how many bars (rows), "
        "the share that may be found (limit), and examples.",
    )
