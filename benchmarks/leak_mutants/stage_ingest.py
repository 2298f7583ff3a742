"""Mutants of ingest: clocks, joins, vintages, universes."""

from datetime import date, timedelta

import numpy as np
import polars as pl
from mutant import CLOSE, DAYS, Mutant, columns, feature_mutant, panel

from trademl_pipeline.leakage import audit_knowledge, audit_universe
from trademl_pipeline.market.calendar import close_utc, open_utc, sessions

GITHUB = "https://github.com/"
HOUR = pl.duration(hours=1)
YEAR = sessions(date(2019, 1, 2), date(2019, 12, 31))


def clocked(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(decision_time=pl.col("event_time") + HOUR)


def daily_rows() -> pl.DataFrame:
    days = pl.Series("session", YEAR)
    return pl.DataFrame(
        {"symbol": "S0", "session": days, "event_time": close_utc(days), "opening": open_utc(days)}
    )


def stamped_at_opening(leaky: bool):
    """A bar that claims to be known when it opens, and is decided on then."""
    rows = daily_rows()
    stamp = pl.col("opening") if leaky else pl.col("event_time")
    return audit_knowledge(
        rows.with_columns(knowledge_time=stamp, decision_time=stamp + HOUR).drop("event_time"),
        calendar="XNYS",
    )


def local_midnight(leaky: bool):
    """Daily bars filed under the UTC day of their local midnight, one day early."""
    rows = clocked(daily_rows()).with_columns(knowledge_time="event_time")
    if leaky:
        rows = rows.with_columns(
            session=pl.Series([*YEAR[1:], date(2020, 1, 2)]),
        ).with_columns(decision_time=pl.col("event_time") + HOUR)
    return audit_knowledge(rows, calendar="XNYS")


def fixed_offset(leaky: bool):
    """A close at 20:00 UTC the whole year, an hour before the winter's close."""
    rows = daily_rows()
    fixed = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=20)
    # The sessions of 2019 that closed early, at 13:00 in New York, are not what this is about.
    rows = rows.filter(pl.col("event_time").dt.hour() >= 20)
    known = fixed if leaky else pl.col("event_time")
    rows = rows.with_columns(knowledge_time=known, decision_time=known + HOUR).drop("event_time")
    return audit_knowledge(rows, calendar="XNYS")


def vendor_delay(leaky: bool):
    """Data that a vendor delivers overnight, used at the close."""
    known = pl.col("event_time") + pl.duration(hours=9)
    decided = pl.col("event_time") + (HOUR if leaky else pl.duration(hours=12))
    return audit_knowledge(daily_rows().with_columns(knowledge_time=known, decision_time=decided))


def restated(leaky: bool):
    """Bars overwritten by the vendor's later revision; the twin keeps the vintage known at the time."""
    rows = clocked(panel()).with_columns(number=pl.int_range(pl.len()))
    revised = pl.col("number") % 53 == 7
    later = pl.col("knowledge_time") + pl.duration(days=11)
    known = pl.when(revised).then(later).otherwise("knowledge_time") if leaky else pl.col("knowledge_time")
    return audit_knowledge(rows.with_columns(knowledge_time=known))


def _quarters() -> pl.DataFrame:
    """Reports of four period ends, filed 12 sessions later, some restated 30 sessions after the period."""
    rows = []
    for i in range(8):
        for k, at in enumerate((1, 17, 33, 49)):
            value = 1.0 + i + 0.3 * k
            rows.append((f"S{i}", DAYS[at], DAYS[at + 12], value))
            if (i + k) % 3 == 0:
                rows.append((f"S{i}", DAYS[at], DAYS[min(at + 30, 71)], value * 1.1))
    frame = pl.DataFrame(rows, schema=["symbol", "period_end", "filed", "earnings"], orient="row")
    filed = pl.col("filed").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=12)
    return frame.with_columns(knowledge_time=filed).rename({"period_end": "session"})


REPORTS = _quarters()


def reported(on: str, latest: bool):
    """Earnings as of each session, joined on the period's end or on the filing; latest or first vintage."""

    def extract(bars: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
        known = reports.sort("filed")
        if latest:
            known = known.unique(["symbol", "session"], keep="last", maintain_order=True)
        known = known.select("symbol", pl.col(on).alias("on"), "earnings").sort("on")
        return (
            bars.select("symbol", "session")
            .sort("session")
            .join_asof(known, left_on="session", right_on="on", by="symbol", check_sortedness=False)
            .select("symbol", "session", x="earnings")
        )

    return extract


PROFILES = pl.DataFrame(
    {
        "symbol": [f"S{i}" for i in range(8)] * 2,
        "knowledge_time": [close_utc(DAYS[5])] * 8 + [close_utc(DAYS[-1])] * 8,
        "market_cap": [float(10 + i) for i in range(8)] + [float(20 - i) for i in range(8)],
    }
)


def profiled(today: bool):
    """The size of each company: today's snapshot on every row, or the last one known by then."""

    def extract(bars: pl.DataFrame, profiles: pl.DataFrame) -> pl.DataFrame:
        if today:
            known = profiles.sort("knowledge_time").unique("symbol", keep="last")
            return bars.join(known, on="symbol").select("symbol", "session", x="market_cap")
        return (
            bars.select("symbol", "session", "knowledge_time")
            .sort("knowledge_time")
            .join_asof(
                profiles.sort("knowledge_time"), on="knowledge_time", by="symbol", check_sortedness=False
            )
            .select("symbol", "session", x="market_cap")
        )

    return extract


RATES = pl.DataFrame(
    {"session": DAYS, "rate": 2 + np.cumsum(np.random.default_rng(1).normal(0, 0.05, len(DAYS)))}
).filter(pl.col("session").dt.weekday() != 2)


def funded(strategy: str):
    """A series with holes, joined as of each session to the next value or to the last."""

    def extract(bars: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
        return (
            bars.select("symbol", "session")
            .sort("session")
            .join_asof(rates.sort("session"), on="session", strategy=strategy)
            .select("symbol", "session", x="rate")
        )

    return extract


def _weekly_bars() -> pl.DataFrame:
    days = pl.DataFrame({"day": DAYS}).with_columns(opened=pl.col("day").dt.truncate("1w"))
    level = 100 + np.cumsum(np.random.default_rng(2).normal(0, 1, len(DAYS)))
    weeks = (
        days.with_columns(level=level)
        .group_by("opened", maintain_order=True)
        .agg(pl.col("level").last(), last=pl.col("day").last())
    )
    closes = close_utc(weeks["last"])
    return weeks.select(session="opened", knowledge_time=closes, close="level")


WEEKLY = _weekly_bars()


def week_bar(leaky: bool):
    """The close of a weekly index bar, found by its opening or by the moment it was complete."""

    def extract(bars: pl.DataFrame, weekly: pl.DataFrame) -> pl.DataFrame:
        if leaky:
            left, right, on = bars.select("symbol", "session"), weekly.select("session", "close"), "session"
        else:
            left, right = (
                bars.select("symbol", "session", "knowledge_time"),
                weekly.select("knowledge_time", "close"),
            )
            on = "knowledge_time"
        joined = left.sort(on).join_asof(right.sort(on), on=on)
        return joined.select("symbol", "session", x="close")

    return extract


def gappy() -> pl.DataFrame:
    """Bars with lost prices, as a bad feed gives them."""
    return panel().with_columns(
        close=pl.when(pl.int_range(pl.len()) % 11 == 4).then(None).otherwise("close"),
    )


NAMES = [f"M{i:02d}" for i in range(36)]
MEMBERSHIP_INTERVALS = pl.DataFrame(
    {
        "symbol": NAMES,
        "start_date": [date(2010, 1, 1)] * 26 + [date(2019, 6, 3)] * 10,
        "end_date": [None] * 13 + [date(2019, 5, 1)] * 13 + [None] * 10,
    },
    schema_overrides={"end_date": pl.Date},
)
EVERY = pl.DataFrame({"symbol": NAMES}).join(pl.DataFrame({"session": YEAR[::10]}), how="cross")
TRUE_MEMBERS = (
    EVERY.join(MEMBERSHIP_INTERVALS, on="symbol")
    .filter(
        (pl.col("start_date") <= pl.col("session"))
        & (pl.col("end_date").is_null() | (pl.col("session") < pl.col("end_date")))
    )
    .select("symbol", "session")
)
TODAY = MEMBERSHIP_INTERVALS.filter(pl.col("end_date").is_null())["symbol"].to_list()


def todays_members(leaky: bool):
    members = EVERY.filter(pl.col("symbol").is_in(TODAY)) if leaky else TRUE_MEMBERS
    return audit_universe(members, EVERY, MEMBERSHIP_INTERVALS)


def dead_removed(leaky: bool):
    keep = pl.col("symbol").is_in(TODAY) if leaky else pl.lit(True)
    return audit_universe(TRUE_MEMBERS.filter(keep), EVERY.filter(keep), MEMBERSHIP_INTERVALS)


def announced_early(leaky: bool):
    """Index additions used from the announcement's effective list, weeks before they were members."""
    if not leaky:
        return audit_universe(TRUE_MEMBERS, EVERY, MEMBERSHIP_INTERVALS)
    early = EVERY.filter(
        pl.col("symbol").is_in(NAMES[26:])
        & pl.col("session").is_between(date(2019, 6, 3) - timedelta(days=40), date(2019, 6, 2))
    )
    return audit_universe(pl.concat([TRUE_MEMBERS, early]), EVERY, MEMBERSHIP_INTERVALS)


MUTANTS = [
    Mutant(
        "ingest/stamped_at_opening",
        "bars stamped at their opening, used as if complete",
        f"{GITHUB}QuantConnect/Lean/pull/5426: daily bars pumped in a day early",
        frozenset({"knowledge"}),
        stamped_at_opening,
    ),
    Mutant(
        "ingest/local_midnight",
        "a local midnight read as UTC files every close a day off",
        f"{GITHUB}pbrissaud/suivi-bourse/issues/1013",
        frozenset({"knowledge"}),
        local_midnight,
    ),
    Mutant(
        "ingest/fixed_offset",
        "a fixed distance to the close, an hour early in winter",
        f"{GITHUB}TorchTrade/torchtrade/issues/320",
        frozenset({"knowledge"}),
        fixed_offset,
    ),
    Mutant(
        "ingest/vendor_delay",
        "overnight data used at the close",
        f"{GITHUB}QuantConnect/Lean/pull/2996: coarse data with the day's own close",
        frozenset({"knowledge"}),
        vendor_delay,
    ),
    Mutant(
        "ingest/restated",
        "bars overwritten by a later revision",
        f"{GITHUB}pmorissette/bt/pull/544: restated values used as supplied",
        frozenset({"knowledge"}),
        restated,
    ),
    feature_mutant(
        "ingest/period_end",
        "fundamentals from the end of their period instead of their filing",
        f"{GITHUB}FinMind/FinMind/pull/446",
        reported("session", latest=False),
        reported("filed", latest=False),
        "truncation perturbation",
        sources={"reports": REPORTS},
    ),
    feature_mutant(
        "ingest/latest_vintage",
        "the latest filing of each period, restatements included",
        f"{GITHUB}dgunning/edgartools/issues/697",
        reported("session", latest=True),
        reported("filed", latest=False),
        "truncation perturbation",
        sources={"reports": REPORTS},
    ),
    feature_mutant(
        "ingest/todays_profile",
        "today's snapshot of a company on every historical row",
        f"{GITHUB}TauricResearch/TradingAgents/pull/1163 and {GITHUB}SilvioBaratto/optimizer/issues/245",
        profiled(today=True),
        profiled(today=False),
        "truncation perturbation",
        sources={"profiles": PROFILES},
    ),
    feature_mutant(
        "ingest/next_value",
        "missing days filled with a later value of the series",
        f"{GITHUB}goldmansachs/gs-quant/pull/362: fill_forward returned the future price",
        funded("forward"),
        funded("backward"),
        "truncation perturbation",
        sources={"rates": RATES},
    ),
    feature_mutant(
        "ingest/open_stamp_join",
        "a join on opening times that returns the close of a bar still running",
        f"{GITHUB}shobhit727/trade/issues/31",
        week_bar(leaky=True),
        week_bar(leaky=False),
        "truncation perturbation",
        sources={"weekly": WEEKLY},
    ),
    feature_mutant(
        "ingest/gaps_filled_both_ways",
        "lost prices filled forwards, then backwards",
        f"{GITHUB}SJTU-DMTai/MASTER/issues/25",
        columns(CLOSE.backward_fill() / CLOSE.forward_fill().shift(1)),
        columns(CLOSE.forward_fill() / CLOSE.forward_fill().shift(1)),
        "truncation perturbation",
        bars=gappy,
    ),
    Mutant(
        "ingest/todays_members",
        "today's index members projected back",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/issues/18",
        frozenset({"universe"}),
        todays_members,
    ),
    Mutant(
        "ingest/dead_removed",
        "no prices of names that left",
        f"{GITHUB}finnhubio/Finnhub-API/issues/30: only listed tickers have history",
        frozenset({"universe"}),
        dead_removed,
    ),
    Mutant(
        "ingest/early_member",
        "members counted before they joined",
        f"{GITHUB}jvalansi/autoalpha/issues/25",
        frozenset({"universe"}),
        announced_early,
    ),
]
