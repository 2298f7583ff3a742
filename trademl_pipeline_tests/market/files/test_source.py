"""Bars from files: what comes back, what is refused, and that nothing gets lost."""

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.market import (
    BarSource,
    BarsSchemaError,
    EmptyMonthError,
    FileSource,
    MissingColumnsError,
    SourceFileError,
    UnknownSymbolError,
    fetch_month,
    split_bars,
)
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.market.schema import SOURCE_COLUMNS

NOW = datetime(2026, 1, 5, tzinfo=UTC)
JANUARY = (date(2016, 1, 1), date(2016, 1, 31))


@pytest.fixture(scope="module")
def bars(small_market: pl.DataFrame) -> pl.DataFrame:
    """Four symbols over four months, in plain columns."""
    wanted = pl.col("symbol").is_in(["SIM000", "SIM001", "SIM002", "SIM004"])
    days = pl.col("session").is_between(date(2015, 11, 1), date(2016, 2, 29))
    columns = ["symbol", pl.col("session").alias("date"), "open", "high", "low", "close", "volume"]
    return small_market.filter(wanted, days).select(columns)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., FileSource]:
    """Write a frame as Parquet or CSV and open it as a source."""

    def opened(frame: pl.DataFrame, kind: str = "parquet", **settings: object) -> FileSource:
        path = tmp_path / f"bars.{kind}"
        frame.write_parquet(path) if kind == "parquet" else frame.write_csv(path)
        return FileSource(path, cache=tmp_path / "cache", **settings)

    return opened


def everything(source: FileSource) -> pl.DataFrame:
    first, last = source.span()
    months = month_range(f"{first:%Y-%m-01}", f"{last:%Y-%m-01}")
    return pl.concat([fetch_month(source, month) for month in months])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_is_written_comes_back(bars: pl.DataFrame, write: Callable[..., FileSource], kind: str):
    source = write(bars, kind)
    got = source.fetch(None, *JANUARY)
    expected = bars.filter(pl.col("date").is_between(*JANUARY)).rename({"date": "session"})
    assert got.select(expected.columns).equals(expected)
    assert got.columns == [*SOURCE_COLUMNS, "row", "defect"]
    assert got["defect"].is_null().all()
    assert got["source"].unique().to_list() == ["bars"]
    assert bars[got["row"].to_list()].rename({"date": "session"}).equals(expected)
    good, quarantined = split_bars(got, ingested_at=NOW)
    assert quarantined.is_empty()
    assert good.height == expected.height
    assert isinstance(source, BarSource)
    assert source.symbols() == ["SIM000", "SIM001", "SIM002", "SIM004"]
    assert source.span() == (bars["date"].min(), bars["date"].max())


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_months_together_hold_every_row_once(bars: pl.DataFrame, write: Callable[..., FileSource], kind: str):
    weekend = bars[0:1].with_columns(date=pl.lit(date(2016, 1, 31)))
    no_date = bars[1:2].with_columns(date=pl.lit(None, pl.Date))
    no_symbol = bars[2:3].with_columns(symbol=pl.lit(None, pl.String))
    ancient = bars[3:4].with_columns(date=pl.lit(date(216, 1, 4)))
    frame = pl.concat([bars, weekend, no_date, no_symbol, ancient]).sample(fraction=1, shuffle=True, seed=1)
    got = everything(write(frame, kind))
    assert sorted(got["row"]) == list(range(frame.height))
    good, quarantined = split_bars(got, ingested_at=NOW)
    assert good.height == bars.height
    assert good.height + quarantined.height == frame.height
    reasons = quarantined["reason"].str.extract("^([a-z_]+)").sort().to_list()
    assert reasons == ["null_session", "null_symbol", "off_calendar", "off_calendar"]


def test_knowledge_follows_the_close_by_the_delay(bars: pl.DataFrame, write: Callable[..., FileSource]):
    got = write(bars, delay=timedelta(minutes=30)).fetch(["SIM000"], date(2015, 11, 27), date(2015, 11, 30))
    # The day after Thanksgiving closes at 13:00 New York.
    assert got["event_time"].to_list() == [
        datetime(2015, 11, 27, 18, tzinfo=UTC),
        datetime(2015, 11, 30, 21, tzinfo=UTC),
    ]
    assert (got["knowledge_time"] - got["event_time"]).unique().to_list() == [timedelta(minutes=30)]
    assert (
        write(bars)
        .fetch(["SIM000"], *JANUARY)
        .select(pl.col("event_time") == pl.col("knowledge_time"))
        .to_series()
        .all()
    )


def test_columns_are_mapped(bars: pl.DataFrame, write: Callable[..., FileSource]):
    renamed = bars.rename({"close": "Schluss", "symbol": "Kürzel"})
    got = write(renamed, "csv", columns={"close": "Schluss", "symbol": "Kürzel"}).fetch(None, *JANUARY)
    assert got["close"].to_list() == bars.filter(pl.col("date").is_between(*JANUARY))["close"].to_list()


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_missing_column_is_named_with_those_found(
    bars: pl.DataFrame, write: Callable[..., FileSource], kind: str
):
    with pytest.raises(
        MissingColumnsError, match=r"no column for close; it has: symbol, date, open, high, low, volume"
    ):
        write(bars.drop("close"), kind).fetch(None, *JANUARY)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_text_in_a_price_is_quarantined(bars: pl.DataFrame, write: Callable[..., FileSource], kind: str):
    here = pl.int_range(pl.len()) == 50
    frame = bars.with_columns(
        pl.when(here).then(pl.lit("cheap")).otherwise(pl.col("close").cast(pl.String)).alias("close")
    )
    good, quarantined = split_bars(everything(write(frame, kind)), ingested_at=NOW)
    assert good.height == bars.height - 1
    assert quarantined["row"].to_list() == [50]
    assert "not_a_number: close='cheap'" in quarantined["reason"].item()


def test_a_price_column_of_nothing_but_text_is_an_error(bars: pl.DataFrame, write: Callable[..., FileSource]):
    frame = bars.with_columns(close=pl.lit("cheap"))
    with pytest.raises(BarsSchemaError, match=r"column 'close'.*holds no numbers.*cheap") as caught:
        write(frame).fetch(None, *JANUARY)
    assert caught.value.column == "close"


def test_a_price_column_of_another_type_is_an_error(bars: pl.DataFrame, write: Callable[..., FileSource]):
    with pytest.raises(BarsSchemaError, match="'volume' is Boolean") as caught:
        write(bars.with_columns(volume=pl.col("volume") > 0)).fetch(None, *JANUARY)
    assert caught.value.column == "volume"


def test_an_unreadable_date_column_is_an_error(bars: pl.DataFrame, write: Callable[..., FileSource]):
    with pytest.raises(SourceFileError, match=r"no row.*readable date.*'date', taken for session"):
        write(bars.with_columns(date=pl.lit("some day"))).fetch(None, *JANUARY)


def test_an_empty_month_names_the_source_and_its_span(bars: pl.DataFrame, write: Callable[..., FileSource]):
    with pytest.raises(EmptyMonthError, match=r"'bars' has no bars in 2019-03.*2015-11-02 to 2016-02-29"):
        fetch_month(write(bars), "2019-03-01")


def test_an_unknown_symbol_is_named_with_its_neighbours(bars: pl.DataFrame, write: Callable[..., FileSource]):
    with pytest.raises(UnknownSymbolError, match=r"'SIM01' \(near: SIM001") as caught:
        write(bars).fetch(["SIM000", "SIM01"], *JANUARY)
    assert caught.value.symbols == ["SIM01"]
    with pytest.raises(UnknownSymbolError, match="'NOPE'"):
        write(bars, symbols=["NOPE"]).symbols()


def test_a_symbol_outside_the_selection_is_unknown(bars: pl.DataFrame, write: Callable[..., FileSource]):
    source = write(bars, symbols=["SIM002", "SIM000"])
    assert source.symbols() == ["SIM000", "SIM002"]
    assert source.fetch(None, *JANUARY)["symbol"].unique().sort().to_list() == ["SIM000", "SIM002"]
    with pytest.raises(UnknownSymbolError):
        source.fetch(["SIM001"], *JANUARY)


def test_rows_without_a_symbol_come_with_every_selection(
    bars: pl.DataFrame, write: Callable[..., FileSource]
):
    january = bars.filter(pl.col("date").is_between(*JANUARY))
    nameless = january[0:2].with_columns(symbol=pl.Series([None, " "], dtype=pl.String))
    source = write(pl.concat([january, nameless]), symbols=["SIM001"])
    good, quarantined = split_bars(source.fetch(None, *JANUARY), ingested_at=NOW)
    assert good["symbol"].unique().to_list() == ["SIM001"]
    assert quarantined["row"].to_list() == [january.height, january.height + 1]


def test_a_limited_selection_looks_at_names_only(bars: pl.DataFrame, write: Callable[..., FileSource]):
    names = [f"S{i:03d}" for i in range(40)]
    frame = pl.concat(
        [bars.filter(pl.col("symbol") == "SIM000").with_columns(symbol=pl.lit(n)) for n in names]
    )
    chosen = write(frame, max_symbols=10).symbols()
    assert len(chosen) == 10
    assert chosen != names[:10]
    # A symbol that dies early is chosen as before, and a larger selection holds the smaller one.
    dying = frame.filter((pl.col("symbol") != chosen[0]) | (pl.col("date") < date(2015, 11, 10)))
    assert write(dying, max_symbols=10).symbols() == chosen
    assert set(chosen) < set(write(frame, max_symbols=20).symbols())


def test_start_and_end_cut_the_source(bars: pl.DataFrame, write: Callable[..., FileSource]):
    source = write(bars, start=date(2015, 12, 10), end=date(2016, 1, 15))
    assert source.span() == (date(2015, 12, 10), date(2016, 1, 15))
    assert source.fetch(None, *JANUARY)["session"].max() == date(2016, 1, 15)
    with pytest.raises(EmptyMonthError):
        fetch_month(source, "2015-11-01")


def test_adjusted_is_taken_from_the_file_the_setting_or_the_columns(
    bars: pl.DataFrame, write: Callable[..., FileSource]
):
    def adjusted(frame: pl.DataFrame, **settings: object) -> list[bool]:
        return write(frame, **settings).fetch(None, *JANUARY)["adjusted"].unique().to_list()

    assert adjusted(bars) == [True]
    assert adjusted(bars.with_columns(split=1.0)) == [False]
    assert adjusted(bars.with_columns(dividend=0.0)) == [False]
    assert adjusted(bars, adjusted=False) == [False]
    assert adjusted(bars.with_columns(split=1.0), adjusted=True) == [True]
    assert adjusted(bars.with_columns(adjusted=False), adjusted=True) == [False]


def test_the_files_own_source_column_is_kept(bars: pl.DataFrame, write: Callable[..., FileSource]):
    frame = bars.with_columns(source=pl.when(pl.col("symbol") == "SIM000").then(pl.lit("vendor")))
    got = write(frame, name="mine").fetch(None, *JANUARY)
    assert got.group_by("symbol").agg(pl.col("source").first()).sort("symbol")["source"].to_list() == [
        "vendor",
        "mine",
        "mine",
        "mine",
    ]


def test_a_folder_is_one_table(bars: pl.DataFrame, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    old, new = pl.col("date") < date(2016, 1, 1), pl.col("date") >= date(2016, 1, 1)
    bars.filter(old).write_parquet(tmp_path / "a.parquet")
    # The second file has other names, types and order of columns.
    later = bars.filter(new).rename({"symbol": "Ticker"}).select(reversed(["Ticker", *bars.columns[1:]]))
    later.with_columns(pl.col("volume").cast(pl.Int64), pl.col("date").cast(pl.String)).write_parquet(
        tmp_path / "deep" / "b.pq"
    )
    (tmp_path / "_marker.csv").write_text("not bars")
    got = everything(FileSource(tmp_path))
    assert sorted(got["row"]) == list(range(bars.height))
    assert got.sort("symbol", "session")["close"].to_list() == bars.sort("symbol", "date")["close"].to_list()
    assert FileSource(tmp_path / "*.parquet").span()[1] == date(2015, 12, 31)


def test_a_folder_of_both_kinds_is_refused(bars: pl.DataFrame, tmp_path: Path):
    bars.write_parquet(tmp_path / "a.parquet")
    bars.write_csv(tmp_path / "b.csv")
    with pytest.raises(SourceFileError, match="Parquet and CSV"):
        FileSource(tmp_path)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_csv_of_other_separators_and_packed(bars: pl.DataFrame, tmp_path: Path, separator: str):
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress(bars.write_csv(separator=separator).encode()))
    got = everything(FileSource(path, cache=tmp_path / "cache"))
    expected = bars.rename({"date": "session"})
    assert got.sort("row").select(expected.columns).equals(expected)


def test_csv_as_spreadsheets_write_it(bars: pl.DataFrame, tmp_path: Path):
    path = tmp_path / "bars.csv"
    path.write_bytes(b"\xef\xbb\xbf" + bars.write_csv(quote_style="always").replace("\n", "\r\n").encode())
    got = everything(FileSource(path, cache=tmp_path / "cache"))
    expected = bars.rename({"date": "session"})
    assert got.sort("row").select(expected.columns).equals(expected)


def test_a_converted_csv_is_reused_until_it_changes(bars: pl.DataFrame, tmp_path: Path):
    path, cache = tmp_path / "bars.csv", tmp_path / "cache"
    bars.write_csv(path)
    assert FileSource(path, cache=cache).fetch(None, *JANUARY).height > 0
    stored = list(cache.iterdir())
    assert len(stored) == 1
    before = stored[0].stat().st_mtime_ns
    FileSource(path, cache=cache).fetch(None, *JANUARY)
    assert [p.stat().st_mtime_ns for p in cache.iterdir()] == [before]
    bars.with_columns(pl.col("volume") + 1).write_csv(path)
    got = FileSource(path, cache=cache).fetch(None, *JANUARY)
    assert (
        got["volume"].to_list() == (bars.filter(pl.col("date").is_between(*JANUARY))["volume"] + 1).to_list()
    )
    assert len(list(cache.iterdir())) == 2


def test_intraday_bars_are_refused(bars: pl.DataFrame, write: Callable[..., FileSource]):
    hours = pl.DataFrame({"hour": [15, 16, 17]})
    frame = bars.join(hours, how="cross").with_columns(
        date=pl.col("date").cast(pl.Datetime).dt.offset_by(pl.format("{}h", "hour"))
    )
    with pytest.raises(SourceFileError, match="up to 3 times of day"):
        write(frame.drop("hour")).fetch(None, *JANUARY)


def test_what_is_no_parquet_is_an_error_that_names_the_file(tmp_path: Path):
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"PAR1 this is no parquet file PAR1")
    with pytest.raises(SourceFileError, match=r"bars\.parquet cannot be read"):
        FileSource(path).symbols()


def test_broken_csv_is_an_error_that_names_the_file(tmp_path: Path):
    path = tmp_path / "bars.csv"
    path.write_text("symbol,date,open,high,low,close,volume\nA,2016-01-04,1,1,1,1,1,1,1,1\n")
    with pytest.raises(SourceFileError, match=r"bars\.csv cannot be read"):
        FileSource(path, cache=tmp_path / "cache").symbols()
    assert not list((tmp_path / "cache").iterdir())


def test_wrong_settings_are_refused(bars: pl.DataFrame, tmp_path: Path):
    path = tmp_path / "bars.parquet"
    bars.write_parquet(path)
    for settings, said in (
        ({"max_symbols": 0}, "at least one symbol"),
        ({"start": date(2016, 1, 2), "end": date(2016, 1, 1)}, "after end"),
        ({"delay": timedelta(minutes=-1)}, "before the close"),
    ):
        with pytest.raises(SourceFileError, match=said):
            FileSource(path, **settings)
    with pytest.raises(SourceFileError, match="no file or folder"):
        FileSource(tmp_path / "nothing.parquet")
    with pytest.raises(SourceFileError, match="holds no bars"):
        FileSource(tmp_path / "*.csv")
    (tmp_path / "bars.xlsx").write_text("")
    with pytest.raises(SourceFileError, match="neither Parquet nor CSV"):
        FileSource(tmp_path / "bars.xlsx")


@pytest.mark.real_data
def test_a_month_of_real_bars_is_not_a_read_of_the_whole_file(real_data: Path):
    source = FileSource(real_data / "us_equities_daily.parquet", max_symbols=300)
    assert len(source.symbols()) == 300
    scan = source._read(source._parts[0], *JANUARY, False, None).explain()
    assert "SELECTION" in scan, "the range is asked of the reader, not of the rows that it has read"
    got = fetch_month(source, "2016-01-01")
    assert got["session"].min() == date(2016, 1, 4)
    assert got["session"].max() == date(2016, 1, 29)
    assert got["symbol"].is_in(source.symbols()).all()
