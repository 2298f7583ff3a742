"""Corrupt bars: a row in quarantine with its reason, and the month that was there stays."""

from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.market import FileSource
from trademl_pipeline.pipeline.raw_bars import raw_bars_months
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS
from trademl_pipeline_tests.pipeline.bars_of_a_month import DAYS, FIRST, MONTH, changed, good
from trademl_pipeline_tests.pipeline.runs import done, lake_in, new_run


class Ingest:
    """Bars from a file, published to a lake of their own."""

    def __init__(self, folder: Path) -> None:
        self.file, self.lake = folder / "bars.parquet", lake_in(folder)

    def __call__(self, frame: pl.DataFrame) -> None:
        frame.write_parquet(self.file)
        source, staging = FileSource(str(self.file)), self.file.parent / "staging"
        with raw_bars_months(source, self.lake, new_run(), [MONTH], staging) as body:
            done("raw_bars", [MONTH], body)


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    """An ingest whose month holds good bars."""
    made = Ingest(tmp_path)
    made(good())
    assert made.lake.read(RAW_BARS).height == 2 * len(DAYS)
    return made


@pytest.mark.slow
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
    ingest(frame)
    bad = ingest.lake.read(QUARANTINED_BARS)
    assert bad.height == rows
    assert bad["reason"].str.contains(reason).all()
    assert ingest.lake.read(RAW_BARS).height + bad.height == frame.height


def test_unsorted_bars_are_the_same_bars(ingest: Ingest):
    before = ingest.lake.data_version(RAW_BARS, MONTH)
    ingest(good().sample(fraction=1.0, shuffle=True, seed=1))
    assert ingest.lake.data_version(RAW_BARS, MONTH) == before


def test_text_in_a_price_column_is_quarantined_or_named(ingest: Ingest):
    frame = (
        good()
        .with_columns(pl.col("close").cast(pl.String))
        .with_columns(pl.when(FIRST).then(pl.lit("n/a")).otherwise(pl.col("close")).alias("close"))
    )
    ingest(frame)
    bad = ingest.lake.read(QUARANTINED_BARS)
    assert bad.height == 1
    assert "n/a" in bad["reason"][0]
