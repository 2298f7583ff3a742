"""Corrupt inputs: a clear error or a row in quarantine, and the month that was there stays."""

from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.market.raw_bars import raw_bars
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market.calendar import sessions
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS

MONTH = "2016-03-01"
DAYS = sessions(date(2016, 3, 1), date(2016, 3, 31))


def good() -> pl.DataFrame:
    frame = pl.DataFrame({"symbol": ["A", "B"]}).join(pl.DataFrame({"session": DAYS}), how="cross")
    price = 10.0 + pl.int_range(pl.len()).cast(pl.Float64) / 10
    return frame.with_columns(
        price.alias("open"), (price + 1).alias("high"), (price - 1).alias("low"), price.alias("close")
    ).with_columns(pl.lit(1000.0).alias("volume"))


class Ingest:
    """Bars from a file, published to a lake of their own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "bars.parquet"
        self.symbols = ""
        self.stored = LakeResource(
            catalog=f"sqlite:{folder / 'lake' / 'catalog.sqlite'}", data_path=str(folder / "lake" / "data")
        )

    def __call__(self, frame: pl.DataFrame) -> dg.ExecuteInProcessResult:
        # A folder of its own for each call, since sources are kept per path; the file's name is the bars' source.
        self.file = self.file.parent / "next" / self.file.name
        self.file.parent.mkdir()
        frame.write_parquet(self.file)
        return dg.materialize(
            [raw_bars],
            partition_key=MONTH,
            resources={
                "bars": BarsResource(source="files", path=str(self.file), symbols=self.symbols),
                "lake": self.stored,
            },
            raise_on_error=False,
        )

    def lake(self) -> Lake:
        return self.stored.open()


def said(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return result.get_step_failure_events()[0].step_failure_data.user_failure_data.description


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    """An ingest whose month holds good bars."""
    made = Ingest(tmp_path)
    assert made(good()).success
    assert made.lake().read(RAW_BARS).height == 2 * len(DAYS)
    return made


FIRST = (pl.col("symbol") == "A") & (pl.col("session") == DAYS[0])


def changed(column: str, value: float | None) -> pl.DataFrame:
    return good().with_columns(pl.when(FIRST).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.mark.parametrize(
    ("frame", "reason", "rows"),
    [
        (changed("close", float("nan")), "not_finite", 1),
        (changed("high", 0.5), "high_too_low", 1),
        (changed("low", 99.0), "low_too_high", 1),
        (changed("close", -1.0), "not_positive", 1),
        (changed("volume", -5.0), "negative_volume", 1),
        (pl.concat([good(), good().head(1)]), "duplicate", 1),
        (pl.concat([good(), changed("close", 10.5).head(1)]), "duplicate", 2),
    ],
)
def test_a_bad_row_goes_to_quarantine_with_its_reason(ingest: Ingest, frame, reason, rows):
    assert ingest(frame).success
    lake = ingest.lake()
    bad = lake.read(QUARANTINED_BARS)
    assert bad.height == rows
    assert bad["reason"].str.contains(reason).all()
    assert lake.read(RAW_BARS).height + bad.height == frame.height


def test_unsorted_bars_are_the_same_bars(ingest: Ingest):
    before = ingest.lake().data_version(RAW_BARS, MONTH)
    assert ingest(good().sample(fraction=1.0, shuffle=True, seed=1)).success
    assert ingest.lake().data_version(RAW_BARS, MONTH) == before


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (good().drop("close"), ["close", "column"]),
        (good().drop("symbol"), ["symbol", "column"]),
        (good().with_columns(pl.col("session").dt.offset_by("1y")), ["2016-03", "no bars"]),
        (good().clear(), ["no row", "bars.parquet"]),
    ],
)
def test_what_cannot_be_read_is_an_error_and_the_month_stays(ingest: Ingest, frame, words):
    before = ingest.lake().data_version(RAW_BARS, MONTH)
    message = said(ingest(frame))
    for word in words:
        assert word in message
    assert ingest.lake().data_version(RAW_BARS, MONTH) == before


def test_text_in_a_price_column_is_quarantined_or_named(ingest: Ingest):
    frame = (
        good()
        .with_columns(pl.col("close").cast(pl.String))
        .with_columns(pl.when(FIRST).then(pl.lit("n/a")).otherwise(pl.col("close")).alias("close"))
    )
    assert ingest(frame).success
    bad = ingest.lake().read(QUARANTINED_BARS)
    assert bad.height == 1
    assert "n/a" in bad["reason"][0]


def test_an_unknown_symbol_is_named_with_its_neighbours(ingest: Ingest):
    before = ingest.lake().data_version(RAW_BARS, MONTH)
    ingest.symbols = "A,BB"
    message = said(ingest(good()))
    assert "'BB'" in message
    assert ingest.lake().data_version(RAW_BARS, MONTH) == before
