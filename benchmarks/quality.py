"""What the quality checks find in real bars, beside what the description of the data says is wrong with them.

    python -m benchmarks.quality                     # the data that the tests use
    python -m benchmarks.quality --data <folder>     # a copy elsewhere

One row a known defect: what the description of the data says, what the checks of `market.quality` find, and a count of
the same thing by a plain query, so that one can see whether the check or the description is off. The description was
made on a larger pack than the files hold; where the plain count agrees with the check, the file has no more. Takes
about a minute of CPU time.
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.bars import REAL
from trademl_pipeline.market import FileSource
from trademl_pipeline.market.calendar import calendar_frame
from trademl_pipeline.market.quality.checks import (
    Window,
    flat_bars,
    missing_sessions,
    missing_volume,
    stale_runs,
    unadjusted_splits,
    window,
    zero_volume,
)
from trademl_pipeline.market.quality.rows import split_bars
from trademl_pipeline.market.universes import members, members_on

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SPLITS = (("NSPH", date(2015, 4, 9)), ("APIC", date(2015, 4, 24)), ("HERO", date(2015, 11, 10)))
Row = tuple[str, str, str, str]


def counted(n: int, names: int) -> str:
    """ "250 in 39 names"."""
    return f"{n:,} in {names:,} names"


def order(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose high or low lies inside the body, by a plain query."""
    high, low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return frame.filter((pl.col("high") < high) | (pl.col("low") > low))


def of_pack(found: pl.DataFrame, packs: pl.DataFrame, pack: str) -> str:
    """Findings of one source and in how many of its names."""
    own = found.join(packs.filter(pl.col("source") == pack), on="symbol", how="semi")
    return counted(int(own["count"].sum()), own["symbol"].n_unique())


def equities(folder: Path) -> Iterator[Row]:
    """Defects of the daily equities and of the daily funds and indices."""
    source, funds = (FileSource(folder / f"{n}.parquet") for n in ("us_equities_daily", "etf_index_daily"))
    frame, indices = source.fetch(None, *source.span()), funds.fetch(None, *funds.span())
    good, bad = split_bars(frame, ingested_at=NOW)
    sound, refused = split_bars(indices, ingested_at=NOW, volume_required=False)
    crossed = pl.concat([bad, refused]).filter(pl.col("reason").str.contains("high_too_low|low_too_high"))
    rest = bad.height + refused.height - crossed.height
    yield (
        "prices out of order",
        "8 rows",
        f"{crossed.height} rows refused, {rest} for another reason",
        f"{order(frame).height} of equities, {order(indices).height} of funds and indices",
    )
    seen, packs = window(good), good.select("symbol", "source").unique()
    idle, rows = zero_volume(seen), frame.filter(pl.col("source") == "yahoo_2024")
    plain = (rows["volume"] == 0).mean()
    lacking_volume = idle.join(packs.filter(pl.col("source") == "yahoo_2024"), on="symbol", how="semi")[
        "count"
    ].sum()
    yield "no volume, Yahoo", "0.38 % of rows", f"{int(lacking_volume) / rows.height:.2%}", f"{plain:.2%}"
    runs = stale_runs(seen)
    yield "stale runs", "752", counted(runs.height, runs["symbol"].n_unique()), plain_runs(good)
    lacking = missing_sessions(seen)
    yield (
        "missing sessions, Stooq",
        "6,792 in 83 names",
        of_pack(lacking, packs, "stooq_2017"),
        plain_gaps(good.filter(pl.col("source") == "stooq_2017")),
    )
    yield from splits(seen)
    coverage = ", ".join(f"{year}: {shown}" for year, shown in covered(folder, good))
    yield "S&P 500 members with prices", "2007: 72 %, 2010: 82 %, 2015: 95 %", coverage, "all packs together"
    indexed = window(sound)
    flat = flat_bars(indexed)
    vix = flat.filter(pl.col("symbol") == "^VIX").height
    same = indices.filter(pl.all_horizontal(pl.col("open", "high", "low") == pl.col("close")))
    others = flat.filter(pl.col("symbol").str.starts_with("^") & (pl.col("symbol") != "^VIX")).height
    yield (
        "^VIX with a close only",
        "the early years",
        f"{vix} of ^VIX, {others:,} of other indices",
        f"{same.filter(pl.col('symbol') == '^VIX').height} of ^VIX: the file begins in 2005",
    )
    nothing = indices.filter(pl.col("volume").is_null())
    yield "index volume missing", "all", f"{missing_volume(indexed).height:,}", f"{nothing.height:,} rows"


def plain_runs(good: pl.DataFrame) -> str:
    """Runs of five and more rows without volume at one close, by run lengths."""
    rows = good.sort("symbol", "session")
    runs = (
        rows.with_columns(run=pl.struct("symbol", "close", pl.col("volume") == 0).rle_id())
        .filter(pl.col("volume") == 0)
        .group_by("run")
        .agg(pl.col("symbol").first(), pl.len())
    )
    long = runs.filter(pl.col("len") >= 5)
    return counted(long.height, long["symbol"].n_unique())


def plain_gaps(good: pl.DataFrame) -> str:
    """Sessions between a name's first and last bar without one, however long the gap."""
    numbered = good.join(calendar_frame().select("session", "index"), on="session")
    by_name = numbered.group_by("symbol").agg(
        gap=pl.col("index").max() - pl.col("index").min() + 1 - pl.len().cast(pl.Int32)
    )
    lacking = by_name.filter(pl.col("gap") > 0)
    return counted(int(lacking["gap"].sum()), lacking.height)


def splits(seen: Window) -> Iterator[Row]:
    """Each split that is known to be left unadjusted."""
    found = unadjusted_splits(seen)
    days = set(found.select("symbol", "session").rows())
    names = set(seen.rows["symbol"].unique())
    for symbol, day in SPLITS:
        told = "found" if (symbol, day) in days else "missed"
        held = "in the file" if symbol in names else "the file has no such name"
        yield f"split of {symbol}", str(day), told if symbol in names else "nothing to find", held
    yield "suspected splits in all", "", counted(found.height, found["symbol"].n_unique()), ""


def covered(folder: Path, good: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Share of the index's members that have prices, by year."""
    for year in (2007, 2010, 2015):
        start, end = date(year, 1, 1), date(year, 12, 31)
        membership_intervals = members("SP500", start, end, membership=folder / "sp500_membership.csv")
        own = good.filter(pl.col("session").is_between(start, end))
        belong = members_on(membership_intervals, own["session"].unique().to_list())
        priced = belong.join(own.select("symbol", "session").unique(), on=["symbol", "session"], how="semi")
        yield year, f"{priced.height / belong.height:.0%}"


def vintages(folder: Path) -> Iterator[Row]:
    """How far two crawls of one day differ."""
    frame = pl.read_parquet(folder / "vintages_daily.parquet").sort("symbol", "date", "crawl")
    both = frame.group_by("symbol", "date").agg(
        pl.len().alias("crawls"),
        *(pl.col(c).first().alias(f"{c}_first") for c in ("close", "adj_close", "volume")),
        *(pl.col(c).last().alias(f"{c}_last") for c in ("close", "adj_close", "volume")),
    )
    both = both.filter(pl.col("crawls") > 1)
    said = {"close": "0.1 %", "adj_close": "1 %", "volume": "3 %"}
    for column, share in said.items():
        first, last = pl.col(f"{column}_first"), pl.col(f"{column}_last")
        # As `market.versions` tells news from rounding.
        news = both.select(((last - first).abs() > 1e-6 * first.abs()).fill_null(False).mean()).item()
        exact = both.select((first != last).fill_null(False).mean()).item()
        yield f"{column} restated", f"about {share} of keys", f"{news:.2%}", f"{exact:.2%} not bit for bit"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=REAL.parent, help="folder of the real bars")
    folder = parser.parse_args().data
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: give the real bars' with --data")
    table = Table("known defect", "description", "checks find", "plain count", title_justify="left")
    for row in (*equities(folder), *vintages(folder)):
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
