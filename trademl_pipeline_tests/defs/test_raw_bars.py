"""Bars that cannot be read: a clear error of the step, and the month that was there stays."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.market.bars import bars_assets
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.tables.bar_tables import DAILY
from trademl_pipeline_tests.defs.failures import said
from trademl_pipeline_tests.pipeline.bars_of_a_month import DAYS, MONTH, good

raw_bars = bars_assets(DAILY)[0]


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
                "data_set": DataSetResource(),
                "gate": GateResource(),
                "lake": self.stored,
            },
            raise_on_error=False,
        )

    def lake(self) -> Lake:
        return self.stored.open()


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    """An ingest whose month holds good bars."""
    made = Ingest(tmp_path)
    assert made(good()).success
    assert made.lake().read(RAW_BARS).height == 2 * len(DAYS)
    return made


@pytest.mark.slow
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


def test_an_unknown_symbol_is_named_with_its_neighbours(ingest: Ingest):
    before = ingest.lake().data_version(RAW_BARS, MONTH)
    ingest.symbols = "A,BB"
    message = said(ingest(good()))
    assert "'BB'" in message
    assert ingest.lake().data_version(RAW_BARS, MONTH) == before
