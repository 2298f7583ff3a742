"""Is the universe the one of its day? (probe "universe")

The properties: **whoever is in the universe on a session was a member then**, **whoever was a member and had
a price is in it**, **prices of who left go on to the end of the membership**, and **prices are not missing for those
who later left.** The last is statistical: a history from which the dead were removed has prices for nearly all members
that are still there and for few of the others. One from which their last month was removed has all the names, so that
dates are compared as well.
"""

from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import AuditReport, Violation

UNIVERSE = "universe"
SIGNIFICANCE = 0.01


def audit_universe(
    members: pl.DataFrame,
    prices: pl.DataFrame,
    membership_intervals: pl.DataFrame,
    *,
    complete: bool = True,
    max_gap: float = 0.1,
    max_early: int = 15,
) -> AuditReport:
    """Audit the members that a pipeline used against the true membership intervals.

    Args:
        members: `symbol`, `session` (Date): who was in the universe on which session.
        prices: `symbol`, `session` of the bars there are.
        membership_intervals: `symbol`, `start_date`, `end_date` (Date; null while a member). On the day of the end
        itself a
            name may be in the universe or not, since sources differ. A `known_date`, where present, is the
            day on which the start was known, if later than the start.
        complete: whether the universe claims to hold every member with a price; false for a chosen part of
            it.
        max_gap: how much larger the share with prices may be among members that are still there at the end of
            `membership_intervals` than among those that left, before it is an alarm (if also significant at 1 %,
            Fisher's exact test).
        max_early: calendar days by which the last price of a name may lie before the end of its membership, as for a
            name that is halted before it is removed.

    Raises:
        AuditInputError: a frame is empty, or a column is missing, null or mistyped.
    """
    for name, frame, columns in (
        ("members", members, ("symbol", "session")),
        ("prices", prices, ("symbol", "session")),
        ("membership_intervals", membership_intervals, ("symbol", "start_date", "end_date")),
    ):
        _check(name, frame, columns)
    start = (
        pl.max_horizontal("start_date", "known_date")
        if "known_date" in membership_intervals.columns
        else pl.col("start_date")
    )
    membership_intervals = membership_intervals.select(
        "symbol", start.alias("start"), pl.col("end_date").alias("end")
    )
    violations = [_strangers(members, membership_intervals)]
    days = members.select(pl.col("session").unique())
    priced = prices.select("symbol", "session").unique().join(days, on="session", how="semi")
    if complete:
        violations.append(_missing(members, priced, membership_intervals))
    early, compared = _early_ends(members, prices, membership_intervals, max_early)
    violations.append(early)
    gap, coverage = _survivors(priced, membership_intervals, days, max_gap)
    violations.append(gap)
    coverage = {
        "member_rows": members.height,
        "symbols": members["symbol"].n_unique(),
        "sessions": days.height,
        "complete": complete,
        "last_prices_compared": compared,
        **coverage,
    }
    return AuditReport(tuple(v for v in violations if v is not None), {UNIVERSE: coverage})


def _inside(rows: pl.DataFrame, membership_intervals: pl.DataFrame, *, last_day: bool) -> pl.DataFrame:
    """The (symbol, session) rows that lie within an interval, with or without the day of its end."""
    day, end = pl.col("session"), pl.col("end")
    within = (pl.col("start") <= day) & (end.is_null() | (day < end) | (pl.lit(last_day) & (day == end)))
    return rows.join(membership_intervals, on="symbol").filter(within).select("symbol", "session").unique()


def _strangers(members: pl.DataFrame, membership_intervals: pl.DataFrame) -> Violation | None:
    keys = members.select("symbol", "session")
    outside = keys.join(
        _inside(keys, membership_intervals, last_day=True), on=["symbol", "session"], how="anti"
    ).sort("session", "symbol")
    if outside.is_empty():
        return None
    row = outside.row(0, named=True)
    later = membership_intervals.filter(
        (pl.col("symbol") == row["symbol"]) & (pl.col("start") > row["session"])
    )["start"].min()
    why = f", becomes one on {later}" if later is not None else ""
    detail = (
        f"{row['symbol']} is in the universe on {row['session']} and no member then{why}; "
        f"{outside.height:,} of {members.height:,} rows, {outside['symbol'].n_unique():,} symbols"
    )
    return Violation(
        UNIVERSE, "members", row["symbol"], row["session"], row["session"], None, detail, outside.height
    )


def _missing(
    members: pl.DataFrame, priced: pl.DataFrame, membership_intervals: pl.DataFrame
) -> Violation | None:
    absent = (
        _inside(priced, membership_intervals, last_day=False)
        .join(members, on=["symbol", "session"], how="anti")
        .sort("session", "symbol")
    )
    if absent.is_empty():
        return None
    row = absent.row(0, named=True)
    left_later = absent.join(
        membership_intervals.filter(pl.col("end").is_not_null()), on="symbol", how="semi"
    )["symbol"].n_unique()
    detail = (
        f"{row['symbol']} is a member with a price on {row['session']} and not in the universe; "
        f"{absent.height:,} rows, {absent['symbol'].n_unique():,} symbols, of which {left_later:,} left the index "
        "later"
    )
    return Violation(
        UNIVERSE, "members", row["symbol"], row["session"], row["session"], None, detail, absent.height
    )


def _early_ends(
    members: pl.DataFrame, prices: pl.DataFrame, membership_intervals: pl.DataFrame, max_early: int
) -> tuple[Violation | None, int]:
    """Names whose prices stop before their membership does, while others go on; and of how many it was asked."""
    sessions = prices.select(pl.col("session").unique().sort())
    ended_intervals = membership_intervals.filter(
        pl.col("end").is_null().any().over("symbol").not_()
        & (pl.col("end") == pl.col("end").max().over("symbol"))
    ).select("symbol", "end")
    last = prices.group_by("symbol").agg(last=pl.col("session").max())
    # The last session that was still one of the membership, among those that others have prices for.
    expected = sessions.with_columns(expected="session").sort("session")
    ended = (
        ended_intervals.join(last, on="symbol")
        .filter(pl.col("end") > sessions["session"].min())
        .sort("end")
        .join_asof(
            expected, left_on="end", right_on="session", strategy="backward", allow_exact_matches=False
        )
    )
    days = (pl.col("end") - pl.col("last")).dt.total_days()
    early = ended.filter((pl.col("last") < pl.col("expected")) & (days > max_early)).sort("last", "symbol")
    if early.is_empty():
        return None, ended.height
    row = early.row(0, named=True)
    seen = members.filter(pl.col("symbol") == row["symbol"])["session"].max()
    detail = (
        f"{row['symbol']} has prices up to {row['last']} and was a member until {row['end']} (in the universe up to "
        f"{seen}); so it is with {early.height:,} of {ended.height:,} names that left: how they ended is missing"
    )
    largest = float((row["end"] - row["last"]).days)
    return (
        Violation(UNIVERSE, "prices", row["symbol"], row["end"], row["last"], largest, detail, early.height),
        ended.height,
    )


def _survivors(
    priced: pl.DataFrame, membership_intervals: pl.DataFrame, days: pl.DataFrame, max_gap: float
) -> tuple[Violation | None, dict[str, Any]]:
    """Compare the share of members with prices among those that stayed and those that left."""
    # scipy takes a while to import, and only this test needs it.
    from scipy.stats import fisher_exact

    first: Any = days["session"].min()
    last: Any = days["session"].max()
    during = membership_intervals.filter(
        (pl.col("start") <= last) & (pl.col("end").is_null() | (pl.col("end") > first))
    )
    ever = during.group_by("symbol").agg(stayed=(pl.col("end").is_null() | (pl.col("end") > last)).any())
    ever = ever.with_columns(has=pl.col("symbol").is_in(priced["symbol"].unique().to_list()))
    counts = {
        (stayed, has): ever.filter((pl.col("stayed") == stayed) & (pl.col("has") == has)).height
        for stayed in (True, False)
        for has in (True, False)
    }
    stayed, left = (counts[s, True] + counts[s, False] for s in (True, False))
    coverage = {"members_that_stayed": stayed, "members_that_left": left}
    if not stayed or not left:
        return None, coverage
    shares = counts[True, True] / stayed, counts[False, True] / left
    table = [[counts[True, True], counts[True, False]], [counts[False, True], counts[False, False]]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    coverage |= {
        "share_with_prices_stayed": round(shares[0], 4),
        "share_with_prices_left": round(shares[1], 4),
    }
    if shares[0] - shares[1] <= max_gap or p >= SIGNIFICANCE:
        return None, coverage
    example = ever.filter(~pl.col("stayed") & ~pl.col("has"))["symbol"].sort()[0]
    detail = (
        f"{shares[0]:.0%} of the {stayed} members that stayed have prices, but {shares[1]:.0%} of the {left} "
        f"that left (p = {p:.1e}); {example} left and has none: the history was kept for survivors"
    )
    return Violation(
        UNIVERSE, "prices", example, last, first, shares[0] - shares[1], detail, counts[False, False]
    ), coverage


def _check(name: str, frame: object, columns: tuple[str, ...]) -> None:
    if not isinstance(frame, pl.DataFrame) or frame.is_empty():
        raise AuditInputError(f"there are no {name}; give a pl.DataFrame with rows")
    for column in columns:
        if column not in frame.columns:
            raise AuditInputError(
                f"the {name} have no column {column!r}; they have {', '.join(frame.columns)}"
            )
        if (
            column != "symbol"
            and frame.schema[column] != pl.Date
            and frame[column].null_count() < frame.height
        ):
            raise AuditInputError(
                f"column {column!r} of the {name} is {frame.schema[column]}; it must be Date"
            )
        if column != "end_date" and frame[column].null_count():
            raise AuditInputError(f"column {column!r} of the {name} has {frame[column].null_count()} nulls")
