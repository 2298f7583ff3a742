"""The quality split: every row comes out once, on the right side, with the reason."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trademl_pipeline.market import BarsSchemaError, FileSource, SplitBars, split_bars
from trademl_pipeline.market.quality import rows as quality
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture(scope="module")
def bars(small_market: pl.DataFrame) -> pl.DataFrame:
    return small_market.filter(pl.col("symbol").is_in(["SIM000", "SIM001"])).head(60)


def spoil(bars: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return bars.with_columns(
        pl.when(here).then(pl.lit(v, dtype=bars.schema[n])).otherwise(pl.col(n)).alias(n)
        for n, v in values.items()
    )


def split(frame: pl.DataFrame) -> SplitBars:
    return split_bars(frame, ingested_at=NOW)


def test_clean_bars_pass_whole_in_the_tables_schema(bars: pl.DataFrame):
    good, quarantined = split(bars)
    assert good.schema == RAW_BARS.polars_schema
    assert quarantined.schema == QUARANTINED_BARS.polars_schema
    assert quarantined.is_empty()
    assert good.drop("ingested_at").equals(bars)
    assert good["ingested_at"].unique().to_list() == [NOW]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"close": NAN}, "not_finite: close=NaN"),
        ({"close": None}, "not_finite: close=null"),
        ({"open": INFINITE}, "not_finite: open=inf"),
        ({"volume": NAN}, "not_finite: volume=NaN"),
        ({"volume": None}, "not_finite: volume=null"),
        ({"low": 0.0}, "not_positive: low=0.0"),
        ({"low": -3.5}, "not_positive: low=-3.5"),
        ({"volume": -1.0}, "negative_volume: volume=-1.0"),
        ({"high": 1.0, "low": 1.0}, "high_too_low: high=1.0"),
        ({"low": 10_000.0}, "low_too_high: low=10000.0"),
        ({"split_factor": 0.0}, "bad_split: split_factor=0.0"),
        ({"split_factor": None}, "bad_split: split_factor=null"),
        ({"dividend": -0.5}, "bad_dividend: dividend=-0.5"),
        ({"symbol": None}, "null_symbol"),
        ({"symbol": "  "}, "null_symbol"),
        ({"session": None}, "null_session"),
        ({"session": date(2014, 1, 4)}, "off_calendar: 2014-01-04 is no session of XNYS"),
        ({"event_time": None}, "null_time: event_time=null"),
        (
            {"knowledge_time": datetime(2014, 1, 1, tzinfo=UTC)},
            "known_before_event: knowledge_time=2014-01-01",
        ),
    ],
)
def test_each_defect_is_quarantined_with_its_value(bars: pl.DataFrame, values: dict, reason: str):
    good, quarantined = split(spoil(bars, 7, **values))
    assert quarantined.height == 1
    assert good.height == bars.height - 1
    assert quarantined["row"].to_list() == [7]
    assert reason in quarantined["reason"][0]


def test_high_below_low_is_told_for_both_sides(bars: pl.DataFrame):
    swapped = spoil(bars, 3, high=bars["low"][3], low=bars["high"][3])
    reason = split(swapped).quarantined["reason"].item()
    assert "high_too_low" in reason
    assert "low_too_high" in reason


def test_a_price_that_is_no_number_is_not_compared(bars: pl.DataFrame):
    assert split(spoil(bars, 3, close=NAN)).quarantined["reason"].item() == "not_finite: close=NaN"


def test_several_defects_of_a_row_are_all_told(bars: pl.DataFrame):
    reason = split(spoil(bars, 3, volume=-2.0, dividend=-1.0, symbol=None)).quarantined["reason"].item()
    assert [part.split(":")[0] for part in reason.split("; ")] == [
        "null_symbol",
        "negative_volume",
        "bad_dividend",
    ]


def test_of_copies_that_agree_the_first_stays(bars: pl.DataFrame):
    good, quarantined = split(pl.concat([bars, bars[4:5], bars[4:5]]))
    assert good.drop("ingested_at").equals(bars)
    assert quarantined["row"].to_list() == [60, 61]
    assert quarantined["reason"].to_list() == ["duplicate: says the same as row 4"] * 2


def test_of_copies_that_disagree_none_stays(bars: pl.DataFrame):
    other = bars[4:5].with_columns(volume=pl.col("volume") + 1)
    good, quarantined = split(pl.concat([bars, other]))
    assert good.height == 59
    assert quarantined["row"].to_list() == [4, 60]
    assert all("rows 4, 60 disagree on volume" in reason for reason in quarantined["reason"])


def test_a_broken_copy_does_not_take_the_sound_row_with_it(bars: pl.DataFrame):
    broken = bars[4:5].with_columns(close=pl.lit(NAN))
    good, quarantined = split(pl.concat([bars, broken]))
    assert good.drop("ingested_at").equals(bars)
    assert quarantined["row"].to_list() == [60]


def test_unsorted_input_is_sorted(bars: pl.DataFrame):
    good, quarantined = split(bars.sample(fraction=1.0, shuffle=True, seed=5))
    assert quarantined.is_empty()
    assert good.drop("ingested_at").equals(bars)


def test_the_sources_own_row_and_defect_are_kept(bars: pl.DataFrame):
    marked = bars.with_columns(
        row=pl.int_range(pl.len(), dtype=pl.Int64) + 1000,
        defect=pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("not_a_number: volume='many'")),
    )
    good, quarantined = split(marked)
    assert quarantined["row"].to_list() == [1002]
    assert quarantined["reason"].to_list() == ["not_a_number: volume='many'"]
    assert good.height == bars.height - 1


def test_other_calendars_and_none(bars: pl.DataFrame):
    weekend = spoil(bars, 0, session=date(2014, 1, 4))
    assert split_bars(weekend, ingested_at=NOW, calendar="24/7").quarantined.is_empty()
    assert split_bars(weekend, ingested_at=NOW, calendar=None).quarantined.is_empty()


def test_an_empty_frame_splits_into_two_empty_ones(bars: pl.DataFrame):
    good, quarantined = split(bars.clear())
    assert good.is_empty()
    assert quarantined.is_empty()
    assert good.schema == RAW_BARS.polars_schema


def test_a_missing_column_is_an_error_that_names_it(bars: pl.DataFrame):
    with pytest.raises(BarsSchemaError, match="'high'") as caught:
        split(bars.drop("high"))
    assert caught.value.column == "high"


def test_ingestion_time_needs_a_zone(bars: pl.DataFrame):
    with pytest.raises(ValueError, match="time zone"):
        split_bars(bars, ingested_at=datetime(2026, 1, 5))


def test_ingestion_time_of_another_zone_becomes_utc(bars: pl.DataFrame):
    from zoneinfo import ZoneInfo

    good = split_bars(bars, ingested_at=NOW.astimezone(ZoneInfo("Asia/Tokyo"))).good
    assert good["ingested_at"].unique().to_list() == [NOW]


PRICE = st.one_of(st.none(), st.sampled_from([NAN, -1.0, 0.0, 9.0, 10.0, 11.0, INFINITE]))
ROW = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["A", "B", None, ""]),
        "session": st.sampled_from([date(2016, 1, 4), date(2016, 1, 5), date(2016, 1, 2), None]),
        "open": PRICE,
        "high": PRICE,
        "low": PRICE,
        "close": PRICE,
        "volume": st.sampled_from([None, -1.0, 0.0, 5.0, NAN]),
        "split_factor": st.sampled_from([None, 1.0, 2.0, 0.0]),
        "dividend": st.sampled_from([None, 0.0, 0.1, -0.1]),
    }
)
SCHEMA = {
    "symbol": pl.String,
    "session": pl.Date,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "split_factor", "dividend"), pl.Float64),
}


def sound(row: dict) -> bool:
    """Whether one row is good by itself, in plain Python."""
    prices = [row[n] for n in ("open", "high", "low", "close")]
    if not row["symbol"] or row["session"] not in (date(2016, 1, 4), date(2016, 1, 5)):
        return False
    if any(p is None or p != p or p in (INFINITE, -INFINITE) or p <= 0 for p in prices):
        return False
    if row["volume"] is None or not row["volume"] >= 0:
        return False
    if (
        row["split_factor"] is None
        or row["split_factor"] <= 0
        or row["dividend"] is None
        or row["dividend"] < 0
    ):
        return False
    return row["high"] >= max(row["open"], row["close"]) and row["low"] <= min(row["open"], row["close"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(ROW, max_size=12))
def test_rows_in_are_good_plus_quarantined(rows: list[dict]):
    frame = pl.DataFrame(rows, schema=SCHEMA).with_columns(
        adjusted=pl.lit(False),
        event_time=pl.lit(NOW),
        knowledge_time=pl.lit(NOW),
        source=pl.lit("made up"),
    )
    good, quarantined = split(frame)
    keys = [(r["symbol"], r["session"]) for r in rows if sound(r)]
    contents = {
        k: {tuple(r.values()) for r in rows if sound(r) and (r["symbol"], r["session"]) == k} for k in keys
    }
    expected = sorted(k for k, said in contents.items() if len(said) == 1)
    assert good.select("symbol", "session").rows() == expected
    assert good.height + quarantined.height == len(rows)
    assert quarantined["row"].is_unique().all()
    assert quarantined["reason"].is_not_null().all()
    assert (quarantined["reason"].str.len_chars() > 0).all()


@pytest.mark.slow
@pytest.mark.real_data
def test_the_known_defects_of_real_bars_are_found(real_data: Path):
    source = FileSource(real_data / "us_equities_daily.parquet")
    frame = source.fetch(None, *source.span())
    good, quarantined = split(frame)
    assert frame.height == 2_681_194 == good.height + quarantined.height
    found = quarantined.select("symbol", "session", pl.col("reason").str.extract("^([a-z_]+):"))
    assert found.sort("symbol", "session").rows() == [
        ("CPSI", date(2011, 3, 28), "low_too_high"),
        ("CPSI", date(2015, 3, 30), "low_too_high"),
        ("SHEL", date(2012, 5, 23), "high_too_low"),
    ]
    assert (good["knowledge_time"] == good["event_time"]).all()
    assert good["adjusted"].all()
    assert set(good["source"].unique()) == {"yahoo_2024", "stooq_2017", "pystock_2015_17"}


@pytest.mark.real_data
def test_the_known_defects_of_real_index_bars_are_found(real_data: Path):
    source = FileSource(real_data / "etf_index_daily.parquet", delay=timedelta(minutes=15))
    frame = source.fetch(None, *source.span())
    good, quarantined = split(frame)
    assert good.height + quarantined.height == frame.height
    crossed = quarantined.filter(pl.col("reason").str.contains("high_too_low|low_too_high"))
    assert crossed.select("symbol", "session").sort("symbol").rows() == [
        ("^VIX", date(2006, 2, 8)),
        ("^VIX3M", date(2013, 10, 30)),
    ]
    # What else is refused are indices, whose volume the file leaves empty.
    rest = quarantined.filter(~pl.col("reason").str.contains("high_too_low|low_too_high"))
    assert rest["symbol"].str.starts_with("^").all()
    assert rest["reason"].unique().to_list() == ["not_finite: volume=null"]
    assert ((good["knowledge_time"] - good["event_time"]) == timedelta(minutes=15)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        pl.col("high") * 0.5,
        pl.col("low") * 2,
        pl.col("knowledge_time") - timedelta(hours=1),
        pl.lit("SIM000").alias("symbol"),
        pl.lit(None, pl.Float64).alias("volume"),
        -pl.col("dividend") - 1,
    ],
)
def test_what_the_rules_would_let_pass_stops_at_the_schema(
    bars: pl.DataFrame, wrong: pl.Expr, monkeypatch: pytest.MonkeyPatch
):
    """The table as pandera sees it knows every promise of the rows itself, should a rule be lost."""

    def nothing_doubled(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return rows, rows.clear().with_columns(pl.lit(None, pl.String).alias("reason"))

    monkeypatch.setattr(quality, "_rules", lambda *given: [(pl.lit(False), pl.lit("never"))])
    monkeypatch.setattr(quality, "_split_duplicates", nothing_doubled)
    twice = pl.concat([bars, bars.with_columns(pl.lit("SIM001").alias("symbol"))])
    with pytest.raises(BarsSchemaError, match="raw_bars"):
        split((twice if wrong.meta.output_name() == "symbol" else bars).with_columns(wrong))
