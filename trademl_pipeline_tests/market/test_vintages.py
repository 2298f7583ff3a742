"""Two real crawls of each day: what was readable after each crawl is what that crawl said."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.calendar import close_utc, month_key
from trademl_pipeline.market.ingest.month import split_rows
from trademl_pipeline.market.ingest.versions import TOLERANCE, Scope, bars, bars_at, merge, month_of
from trademl_pipeline.market.schema import SOURCE_COLUMNS
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.market.vendors import YahooSource
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.tables.bar_tables import BAR_VERSIONS, bar_tables
from trademl_pipeline_tests.past_the_gate import vouched

pytestmark = pytest.mark.real_data

KEY = ["symbol", "session"]
FIGURES = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module")
def crawls(real_data: Path) -> pl.DataFrame:
    """All crawls as a source gives them, with the moment of the crawl: two hours after the close of its day."""
    frame = pl.read_parquet(real_data / "vintages_daily.parquet").rename({"date": "session"})
    moment = pl.col("crawl").str.to_date("%Y%m%d").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=23)
    frame = frame.with_columns(
        moment.alias("crawled"),
        close_utc(frame["session"]).alias("event_time"),
        pl.lit(1.0).alias("split_factor"),
        pl.lit(0.0).alias("dividend"),
        pl.lit(False).alias("adjusted"),
        pl.lit("pystock").alias("source"),
    )
    # Some crawls name a bar twice, saying the same.
    frame = frame.with_columns(pl.col("event_time").alias("knowledge_time"))
    return frame.unique([*KEY, "crawled"], maintain_order=True)


def take_in(crawls: pl.DataFrame, store: Lake | None) -> tuple[pl.DataFrame, dict[str, int]]:
    """Ingest crawl after crawl; through the lake, or in memory. Returns the ledger and how many rows were what."""
    tables, source = bar_tables(), as_source()
    ledgers: dict[str, pl.DataFrame] = {}
    stored: dict[str, pl.DataFrame] = {}
    counts = dict.fromkeys(("new", "restated", "late", "withdrawn"), 0)
    for (crawled,), rows in crawls.sort("crawled").group_by("crawled", maintain_order=True):
        assert isinstance(crawled, datetime)
        scope = Scope(None, rows["session"].min(), rows["session"].max())  # type: ignore[arg-type]
        split = split_rows(rows.select(SOURCE_COLUMNS), source, tables, crawled)
        for month in sorted({month_key(day) for day in rows["session"].unique()}):
            if store is not None:
                stored[month], ledgers[month] = (
                    month_of(store, RAW_BARS, month),
                    month_of(store, BAR_VERSIONS, month),
                )
            inside = pl.col("session").dt.strftime("%Y-%m-01") == month
            merged = merge(
                split.good.filter(inside),
                stored=stored.get(month, RAW_BARS.empty()),
                ledger=ledgers.get(month, BAR_VERSIONS.empty()),
                refused=split.quarantined.filter(inside),
                scopes=[scope],
                tables=tables,
                month=month,
                ingested_at=crawled,
                revisions="first",
            )
            stored[month] = merged.bars
            ledgers[month] = pl.concat([ledgers.get(month, BAR_VERSIONS.empty()), merged.versions])
            for name in counts:
                counts[name] += getattr(merged, name)
            if store is not None:
                store.publish_many(
                    [vouched(RAW_BARS, merged.bars, month)], append=[(BAR_VERSIONS, merged.versions)]
                )
    return pl.concat(ledgers.values()).sort(BAR_VERSIONS.order), counts


def as_source() -> BarSource:
    """Something that names the calendar and the time frame for judging."""
    return YahooSource(["any"])


def disagreements(known: pl.DataFrame, crawl: pl.DataFrame) -> pl.DataFrame:
    """Rows of a crawl that read differently, or not at all, from what is known."""
    both = crawl.select(*KEY, *FIGURES).join(
        known.select(*KEY, *FIGURES), on=KEY, how="left", suffix="_known"
    )
    # A few crawls give 38.74 as 38.740002: single precision, and no other price.
    same = pl.all_horizontal(
        (pl.col(name) - pl.col(f"{name}_known")).abs() <= TOLERANCE * pl.col(name) for name in FIGURES
    )
    return both.filter(~same.fill_null(False))


def test_each_crawl_reads_back_as_it_was_told(crawls: pl.DataFrame):
    crawls = crawls.filter(pl.col("session") < pl.date(2015, 10, 1))
    ledger, counts = take_in(crawls, None)
    assert counts["restated"] == restatements(crawls) > 400
    moments = crawls["crawled"].unique().sort()
    restated = 0
    for crawled in moments.gather_every(5):
        rows = crawls.filter(pl.col("crawled") == crawled)
        known = bars_at(ledger, bar_tables(), crawled)
        assert disagreements(known, good(rows)).is_empty(), crawled
        now = bars_at(ledger, bar_tables(), None)
        restated += disagreements(now, good(rows)).height
    assert restated > 100


def restatements(crawls: pl.DataFrame) -> int:
    """How often a crawl says something else of a bar than the crawl of it before."""
    usable = judged_bars(crawls).sort(*KEY, "crawled")
    before = [pl.col(name).shift(1).over(KEY) for name in FIGURES]
    other = pl.any_horizontal(
        (pl.col(name) - old).abs() > TOLERANCE * pl.max_horizontal(name, old)
        for name, old in zip(FIGURES, before, strict=True)
    )
    return usable.filter(other.fill_null(False)).height


def judged_bars(crawls: pl.DataFrame) -> pl.DataFrame:
    """Rows whose prices are whole and in order."""
    high, low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    whole = pl.all_horizontal(pl.col(name).is_finite() & (pl.col(name) > 0) for name in FIGURES[:4])
    return crawls.filter(whole & (pl.col("high") >= high) & (pl.col("low") <= low))


def good(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a crawl that break no rule."""
    return split_rows(rows.select(SOURCE_COLUMNS), as_source(), bar_tables(), rows["crawled"][0]).good


def test_through_the_lake_the_same(crawls: pl.DataFrame, tmp_path: Path):
    some = crawls.filter(pl.col("session").is_between(pl.date(2015, 5, 26), pl.date(2015, 6, 5)))
    with Lake(LakeConfig.local(tmp_path)) as store:
        take_in(some, store)
        read = 0
        for (crawled,), rows in some.group_by("crawled"):
            assert isinstance(crawled, datetime)
            assert disagreements(bars(store, as_of=crawled), good(rows)).is_empty()
            read += rows.height
        assert read > 3000
        first = some.sort("crawled").unique(KEY, keep="first", maintain_order=True)
        kept = store.read(RAW_BARS)
        # raw_bars holds what was known first of each bar.
        assert disagreements(good(first), kept).is_empty()
