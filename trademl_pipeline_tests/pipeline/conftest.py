"""The small market that the tests of the inputs' steps share, and a lake for a test."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline_tests.pipeline.data_set_of_five import FiveStudies, build, five_small_studies
from trademl_pipeline_tests.pipeline.made_inputs import market_bars, market_references
from trademl_pipeline_tests.pipeline.recorded_runs import FakeListener, FakeRecorder
from trademl_pipeline_tests.pipeline.runs import lake_in


@pytest.fixture(scope="session")
def bars() -> pl.DataFrame:
    return market_bars()


@pytest.fixture(scope="session")
def references(bars: pl.DataFrame) -> pl.DataFrame:
    return market_references(bars)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_in(tmp_path)


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener()


@pytest.fixture(scope="session")
def five_built(tmp_path_factory: pytest.TempPathFactory) -> FiveStudies:
    """A fold of every study, made once."""
    with five_small_studies():
        site = build(tmp_path_factory.mktemp("five"))
    return FiveStudies(site, tmp_path_factory.mktemp("outside") / "next_returns.parquet")


@pytest.fixture(scope="module")
def five(five_built: FiveStudies) -> Iterator[FiveStudies]:
    """What was made once, with the studies that it was made for."""
    with five_small_studies():
        yield five_built
