"""Taking in bars: what a download tells, what a range of months came to, and who hears of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trademl_pipeline import settings
from trademl_pipeline.lake import Lake
from trademl_pipeline.market.errors import EmptyMonthError
from trademl_pipeline.market.vendors import BinanceSource
from trademl_pipeline.pipeline import runner as loop
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.ingest import COUNTS, Tally, download, publish_bars
from trademl_pipeline.pipeline.runner import Runner
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.workers import Workers
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.tables.bar_tables import DAILY
from trademl_pipeline_tests.market.vendors.binance_server import LISTED, Binance
from trademl_pipeline_tests.market.vendors.conftest import HURRIED
from trademl_pipeline_tests.pipeline.recorded_runs import FakeListener, FakeRecorder, FakeSteps

JANUARY, FEBRUARY, MARCH = "2021-01-01", "2021-02-01", "2021-03-01"
PAIRS = ["BTCUSDT", "ETHUSDT"]


@pytest.fixture
def runner(tmp_path: Path, recorder: FakeRecorder, listener: FakeListener) -> Iterator[Runner]:
    said = settings.load(tmp_path, {"data.symbols": "3", "data.start": JANUARY}, {})
    with Workers(1) as workers:
        yield Runner(said, recorder, listener, workers)


@pytest.fixture
def binance() -> Iterator[Binance]:
    with Binance() as server:
        yield server


def source(server: Binance, *symbols: str) -> BinanceSource:
    return BinanceSource(list(symbols) or PAIRS, url=server.url, retry_policy=HURRIED)


def test_a_tally_sums_what_was_published_and_leaves_refused_months_out(lake: Lake):
    tally = Tally({JANUARY: {"new_rows": 3, "dagster/row_count": 4}, FEBRUARY: None, MARCH: {"new_rows": 2}})
    assert tally.total("new_rows") == 5
    assert tally.total("late_rows") == 0
    assert tally.published() == [JANUARY, MARCH]
    figures = tally.figures(lake, DAILY)
    assert figures == {
        "symbols": 0,
        "months": 2,
        "rows": 4,
        **dict.fromkeys((name.removesuffix("_rows") for name in COUNTS), 0),
        "new": 5,
    }


def test_nothing_that_was_published_is_nothing(lake: Lake):
    assert set(Tally({JANUARY: None}).figures(lake, DAILY).values()) == {0}


def test_months_are_published_heard_and_counted(
    runner: Runner, listener: FakeListener, recorder: FakeRecorder
):
    tally = Tally()
    assert publish_bars(runner, DAILY, JANUARY, FEBRUARY, tally) == []
    assert tally.published() == [JANUARY, FEBRUARY]
    lake = Site(runner.settings).lake
    bars = lake.read(RAW_BARS)
    figures = tally.figures(lake, DAILY)
    assert (figures["symbols"], figures["months"], figures["rows"]) == (3, 2, bars.height)
    assert figures["new"] == bars.height > 0
    assert listener.totals == {"Publishing": 2}
    assert listener.pieces == ["Publishing 2021-01", "Publishing 2021-02"]
    assert recorder.ended() == {"ingest_raw_bars 2021-02-01": "succeeded"}


def test_symbols_are_those_of_the_published_months_alone(runner: Runner):
    tally = Tally()
    publish_bars(runner, DAILY, JANUARY, JANUARY, tally)
    lake = Site(runner.settings).lake
    assert Tally({FEBRUARY: {"dagster/row_count": 0}}).figures(lake, DAILY)["symbols"] == 0


def test_a_refused_month_is_a_problem_and_counts_as_none(
    runner: Runner, listener: FakeListener, monkeypatch: pytest.MonkeyPatch
):
    steps, tally = FakeSteps(), Tally()
    steps.refused = {RAW_BARS.name: {FEBRUARY}}
    monkeypatch.setattr(loop, "opened", steps.opened)
    (problem,) = publish_bars(runner, DAILY, JANUARY, MARCH, tally)
    assert "raw_bars: 1 of 3 months refused (2021-02)" in problem
    assert tally.months[FEBRUARY] is None
    assert tally.published() == [JANUARY, MARCH]
    assert len(listener.pieces) == 3


def test_a_download_says_which_months_have_bars_and_who_has_none(
    binance: Binance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(LISTED, "LATEUSDT", datetime(2022, 1, 1, tzinfo=UTC))
    tally, seen = Tally(), list[tuple[int, int, str]]()
    asked = ("2020-11-01", FEBRUARY)
    # Nothing was traded before January.
    found = download(
        source(binance, *PAIRS, "LATEUSDT"),
        Artifacts(tmp_path),
        *asked,
        tally,
        lambda *progress: seen.append(progress),
    )
    assert found == (JANUARY, FEBRUARY, True)
    assert tally.absent == ["LATEUSDT"]
    assert [done for done, *_ in seen] == [0, 1, 2, 3]
    assert {total for _, total, _ in seen} == {3}
    again = download(
        source(binance, *PAIRS, "LATEUSDT"), Artifacts(tmp_path), *asked, Tally(), lambda *progress: None
    )
    assert again == (JANUARY, FEBRUARY, False), "what has been fetched is found again"


def test_a_download_of_nothing_says_so_and_leaves_nothing(binance: Binance, tmp_path: Path):
    with pytest.raises(EmptyMonthError, match="has no bars"):
        download(
            source(binance), Artifacts(tmp_path), "2019-01-01", "2019-12-01", Tally(), lambda *progress: None
        )
    assert not list((tmp_path / "staging").rglob("*.parquet"))
