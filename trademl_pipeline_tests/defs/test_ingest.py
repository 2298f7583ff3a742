"""From a vendor into the lake: nothing half-written, nothing fetched twice, nothing of the past overwritten."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.bars import AlpacaResource, BinanceResource, YahooResource, bars_resource
from trademl_pipeline.defs.market.bars import FETCH_TAG, bars_assets
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.leakage import AuditReport, Violation
from trademl_pipeline.market.ingest.versions import bars
from trademl_pipeline.market.vendors import AlpacaSource, BinanceSource
from trademl_pipeline.pipeline import raw_bars as step
from trademl_pipeline.pipeline.raw_bars import MISSING
from trademl_pipeline.tables import AUDITS, RAW_BARS
from trademl_pipeline.tables.bar_tables import BAR_VERSIONS, DAILY, bar_tables
from trademl_pipeline_tests.defs.conftest import RANGE
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.market.vendors.alpaca_server import Alpaca
from trademl_pipeline_tests.market.vendors.binance_server import Binance
from trademl_pipeline_tests.market.vendors.conftest import HURRIED
from trademl_pipeline_tests.market.vendors.server import Reply

FEBRUARY, MARCH = "2021-02-01", "2021-03-01"
PAIRS = "BTCUSDT,ETHUSDT"
RAW_BARS_ASSET = bars_assets(DAILY)[0]


@pytest.fixture
def binance() -> Iterator[Binance]:
    with Binance() as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake in a home of its own, and vendors that are asked without long waits."""
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    for source in (BinanceSource, AlpacaSource):
        monkeypatch.setitem(source.__init__.__kwdefaults__, "retry_policy", HURRIED)
    return LakeResource().open()


Ingest = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def ingest(lake: Lake, binance: Binance) -> Iterator[Ingest]:
    """Materialize bars over a range of months; the instance is the same for all calls."""
    with dg.instance_for_test() as instance:

        def run(first: str = FEBRUARY, last: str = FEBRUARY, asset=RAW_BARS_ASSET, tags=None, resource=None):
            chosen = resource or BinanceResource(symbols=PAIRS, url=binance.url)
            return dg.materialize(
                [asset],
                instance=instance,
                resources={
                    "bars": chosen,
                    "data_set": DataSetResource(),
                    "gate": GateResource(),
                    "lake": LakeResource(),
                },
                tags={**dict(zip(RANGE, (first, last), strict=True)), **(tags or {})},
                raise_on_error=False,
            )

        yield run


def metadata(result: dg.ExecuteInProcessResult, month: str) -> dict:
    found = [m for m in result.asset_materializations_for_node("raw_bars") if m.partition == month]
    return {name: value.value for name, value in found[0].metadata.items()}


def opening(day: datetime) -> int:
    return int(day.timestamp() * 1000)


@pytest.mark.slow
def test_a_range_is_published_by_month_and_leaves_no_download(ingest: Ingest, lake: Lake, tmp_path: Path):
    result = ingest(last=MARCH)
    assert result.success
    assert lake.months(RAW_BARS) == [FEBRUARY, MARCH]
    assert lake.read(RAW_BARS).height == 2 * (28 + 31)
    assert lake.read(BAR_VERSIONS)["version"].to_list() == [0] * 118
    assert metadata(result, MARCH)["new_rows"] == 62
    assert not list((tmp_path / "staging").rglob("*.parquet"))
    assert lake.read(AUDITS)["passed"].all()


@pytest.mark.slow
def test_a_server_that_dies_half_way_leaves_nothing_half_written(
    ingest: Ingest, lake: Lake, binance: Binance
):
    ingest(FEBRUARY, FEBRUARY)
    before = lake.snapshot()
    binance.faulty = lambda path, query: query["symbol"] == "ETHUSDT"
    binance.faults.extend([Reply(drop=True)] * HURRIED.attempts)
    failed = ingest(last=MARCH)
    assert not failed.success
    said = failure(failed).description
    assert "binance gave no whole response in 3 attempts" in said
    assert "what has been fetched is kept" in said
    assert lake.snapshot() == before
    asked = len(binance.seen)
    assert ingest(last=MARCH).success
    assert [seen.query["symbol"] for seen in binance.seen[asked:]] == ["ETHUSDT"]
    assert lake.read(RAW_BARS).height == 2 * (28 + 31)


@pytest.mark.slow
def test_a_download_whose_months_were_refused_is_fetched_anew(
    ingest: Ingest, lake: Lake, binance: Binance, tmp_path: Path
):
    """It may be the download that was wrong."""
    refusing = AuditReport((Violation("knowledge", "close", "BTCUSDT"),), {"knowledge": {"rows": 1}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "audit_bars", lambda bars: refusing)
        failed = ingest(last=MARCH)
    assert not failed.success
    said = failure(failed).description
    assert "1 of 2 months refused (2021-02)" in said
    assert not list((tmp_path / "staging").rglob("*.parquet"))
    asked = len(binance.seen)
    assert ingest(last=MARCH).success
    assert {seen.query["symbol"] for seen in binance.seen[asked:]} == set(PAIRS.split(","))


@pytest.mark.slow
def test_an_unchanged_month_writes_nothing(ingest: Ingest, lake: Lake):
    ingest()
    versions, data = lake.read(BAR_VERSIONS), lake.data_version(RAW_BARS, FEBRUARY)
    bars_before = lake.read(RAW_BARS)
    again = ingest()
    assert again.success
    assert metadata(again, FEBRUARY)["unchanged"]
    assert lake.data_version(RAW_BARS, FEBRUARY) == data
    assert lake.read(BAR_VERSIONS).equals(versions)
    assert lake.read(RAW_BARS).equals(bars_before)


@pytest.mark.slow
def test_a_restated_value_is_in_the_ledger_and_not_in_the_features_bars(
    ingest: Ingest, lake: Lake, binance: Binance
):
    ingest()
    known = datetime.now(UTC)
    day = datetime(2021, 2, 9, tzinfo=UTC)
    held = lake.read(RAW_BARS)
    mine = (pl.col("symbol") == "BTCUSDT") & (pl.col("session") == day.date())
    now = held.filter(mine)["close"].item() + 0.5
    binance.changed[("BTCUSDT", opening(day))] = f"{now:.8f}"
    again = ingest()
    assert metadata(again, FEBRUARY)["restated_rows"] == 1
    assert lake.read(RAW_BARS).equals(held)
    assert bars(lake, as_of=known).filter(mine).equals(held.filter(mine))
    assert bars(lake).filter(mine)["close"].to_list() == [now]
    resource = BinanceResource(symbols=PAIRS, url=binance.url, revisions="latest")
    assert ingest(resource=resource).success
    assert lake.read(RAW_BARS).filter(mine)["close"].to_list() == [now]
    assert bars(lake, as_of=known).filter(mine).equals(held.filter(mine))


@pytest.mark.slow
def test_the_daily_run_asks_for_what_is_missing_and_no_more(ingest: Ingest, lake: Lake, binance: Binance):
    ingest(resource=BinanceResource(symbols="BTCUSDT", url=binance.url))
    asked = len(binance.seen)
    assert ingest(tags={FETCH_TAG: MISSING}).success
    assert {seen.query["symbol"] for seen in binance.seen[asked:]} == {"ETHUSDT"}
    assert lake.read(RAW_BARS).height == 2 * 28
    asked = len(binance.seen)
    nothing = ingest(tags={FETCH_TAG: MISSING})
    assert nothing.success
    assert len(binance.seen) == asked
    assert metadata(nothing, FEBRUARY)["unchanged"]


@pytest.mark.slow
def test_a_range_of_which_nothing_is_held_is_downloaded_in_pieces_and_then_completed(
    ingest: Ingest, lake: Lake, binance: Binance
):
    assert ingest(last=MARCH, tags={FETCH_TAG: MISSING}).success
    # One request a pair for both months, not one a pair and month.
    assert len(binance.seen) == 2
    assert lake.months(RAW_BARS) == [FEBRUARY, MARCH]
    asked = len(binance.seen)
    assert ingest(last="2021-04-01", tags={FETCH_TAG: MISSING}).success
    days = {datetime.fromtimestamp(int(s.query["startTime"]) / 1000, UTC) for s in binance.seen[asked:]}
    assert days == {datetime(2021, 4, 1, tzinfo=UTC)}


@pytest.mark.slow
def test_bars_of_other_symbols_stay(ingest: Ingest, lake: Lake, binance: Binance):
    ingest(FEBRUARY, FEBRUARY)
    ingest(
        FEBRUARY, FEBRUARY, resource=BinanceResource(symbols="BTCUSDT", url=binance.url, revisions="latest")
    )
    assert lake.read(RAW_BARS)["symbol"].unique().sort().to_list() == PAIRS.split(",")


@pytest.mark.slow
def test_intraday_bars_have_tables_of_their_own(ingest: Ingest, lake: Lake):
    asset = bars_assets("1h")[0]
    assert ingest(FEBRUARY, FEBRUARY, asset=asset).success
    tables = bar_tables("1h")
    held = lake.read(tables.bars)
    assert held.height == 2 * 28 * 24
    assert held["event_time"].max() == datetime(2021, 3, 1, tzinfo=UTC)
    assert held["symbol"].unique().sort().to_list() == PAIRS.split(",")
    assert bars(lake, timeframe="1h", as_of=datetime(2021, 2, 1, 3, tzinfo=UTC)).height == 6
    assert RAW_BARS.name not in lake.tables()
    assert ingest(FEBRUARY, FEBRUARY, asset=asset).success
    assert lake.read(tables.versions).height == held.height


def test_a_source_without_intraday_bars_says_so(ingest: Ingest):
    from trademl_pipeline.defs.bars import BarsResource

    failed = ingest(FEBRUARY, FEBRUARY, asset=bars_assets("4h")[0], resource=BarsResource())
    said = failure(failed).description
    assert "none of 4h" in said


SECRET, KEY = "s3cr3t-of-alpaca", "PK-of-alpaca"


def test_secrets_reach_neither_logs_nor_metadata_nor_errors(
    ingest: Ingest, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
):
    with Alpaca() as alpaca:
        resource = AlpacaResource(symbols="AAPL", key_id=KEY, secret=SECRET, url=alpaca.url)
        done = ingest("2021-11-01", "2021-11-01", resource=resource)
        assert done.success
        assert alpaca.seen[0].headers["APCA-API-SECRET-KEY"] == SECRET
        alpaca.faults.append(Reply({"message": f"{KEY} and {SECRET} are forbidden"}, status=403))
        failed = ingest("2021-11-01", "2021-11-01", resource=resource)
        assert not failed.success
    shown = [repr(resource), str(resource), repr(resource.open()), caplog.text, *capfd.readouterr()]
    shown += [repr(event) for run in (done, failed) for event in run.all_events]
    assert "APCA_API_KEY_ID" in failure(failed).description
    assert not [text for text in shown if SECRET in text or KEY in text]


@pytest.mark.parametrize(
    ("source", "kind"), [("alpaca", AlpacaResource), ("binance", BinanceResource), ("yahoo", YahooResource)]
)
def test_the_environment_says_which_source_and_keys_stay_names(
    monkeypatch: pytest.MonkeyPatch, source: str, kind: type
):
    monkeypatch.setenv("TRADEML_SOURCE", source)
    monkeypatch.setenv("TRADEML_SYMBOLS", "AAPL")
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    resource = bars_resource()
    assert type(resource) is kind
    assert SECRET not in json.dumps(resource.model_dump(), default=str)
    opened = resource.process_config_and_initialize().open()
    assert opened.symbols() == ["AAPL"]


def shell(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("APCA_", "TRADEML_"))}
    command = [sys.executable, "-m", "trademl_pipeline.cli", "ingest", "--home", str(home), *arguments]
    return subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_shell_shows_a_summary_and_goes_on_where_it_broke_off(tmp_path: Path, binance: Binance):
    asked = ("--source", "binance", "--symbols", PAIRS, "--start", "2020-11", "--end", "2021-02")
    binance.faulty = lambda path, query: query["symbol"] == "ETHUSDT"
    binance.faults.append(Reply({"code": -1000, "msg": "An unknown error"}, status=400))
    broken = shell(tmp_path, *asked, TRADEML_BINANCE_URL=binance.url)
    assert broken.returncode == 2
    assert "An unknown error" in broken.stderr
    seen = len(binance.seen)
    done = shell(tmp_path, *asked, TRADEML_BINANCE_URL=binance.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [s.query["symbol"] for s in binance.seen[seen:]] == ["ETHUSDT"]
    cells = [line.replace("│", " ").split() for line in done.stdout.splitlines() if "│" in line]
    figures = {cell[0]: cell[1] for cell in cells}
    # Nothing was traded before January, so two months are left, with 59 and 45 days.
    assert {k: figures[k] for k in ("symbols", "months", "rows", "new", "quarantined", "restated")} == {
        "symbols": "2",
        "months": "2",
        "rows": "104",
        "new": "104",
        "quarantined": "0",
        "restated": "0",
    }


@pytest.mark.slow
def test_the_shell_says_where_there_is_nothing(tmp_path: Path, binance: Binance):
    asked = ("--source", "binance", "--symbols", PAIRS, "--start", "2019-01", "--end", "2019-12")
    nothing = shell(tmp_path, *asked, TRADEML_BINANCE_URL=binance.url)
    assert nothing.returncode == 1
    assert "has no bars from 2019-01 to 2019-12" in nothing.stderr


@pytest.mark.slow
def test_the_shell_says_what_to_set(tmp_path: Path):
    missing = shell(tmp_path, "--source", "alpaca", "--universe", "MAG7", "--start", "2021-01")
    assert missing.returncode == 2
    assert "export APCA_API_KEY_ID=" in missing.stderr
    assert "export APCA_API_SECRET_KEY=" in missing.stderr
