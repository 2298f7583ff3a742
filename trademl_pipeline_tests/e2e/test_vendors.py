"""`trademl run --source <vendor>` as a user types it, from the vendor's wire format to the report."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.symbols import CRYPTO_8, MARKET_FUNDS, SECTOR_FUNDS
from trademl_pipeline.settings import ROOT
from trademl_pipeline.studies import DIRECTION
from trademl_pipeline.tables import AUDITS, RAW_BARS, REFERENCE_BARS
from trademl_pipeline_tests.market.vendors import alpaca_server, binance_server
from trademl_pipeline_tests.market.vendors.alpaca_server import Alpaca
from trademl_pipeline_tests.market.vendors.binance_server import Binance

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

STOCKS = ("AAPL", "AMD", "CRM", "IBM", "JPM", "XOM")
FUNDS = {*MARKET_FUNDS, *SECTOR_FUNDS}


@cache
def walk(symbol: str) -> np.ndarray:
    """A random walk of ten thousand days from 1999 on; the same in every process."""
    steps = np.random.default_rng(zlib.crc32(symbol.encode())).standard_normal(10_000) * 0.01
    return 100 * np.exp(np.cumsum(steps))


def worth(symbol: str, day: date) -> float:
    return round(float(walk(symbol)[day.toordinal() - date(1999, 1, 1).toordinal()]), 4)


def run(home: Path, *arguments: str, **environment: str) -> str:
    """Standard output of the shell command, which has to succeed."""
    command = [sys.executable, "-m", "trademl_pipeline.cli", "run", "direction", "--home", str(home)]
    command += ["--size", "small", "--epochs", "1", "--refit", "month", *arguments]
    known = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEML_", "DAGSTER_", "APCA_"))}
    done = subprocess.run(
        command,
        env={**known, **environment, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lake_of(home: Path) -> Lake:
    return Lake(LakeConfig.of(home))


def judged(home: Path, month: str, said: str) -> dict:
    """The summary of the report that the command ended with."""
    report = home / "reports" / "direction" / month
    assert f"Report: {report / 'report.html'}" in said
    assert (report / "report.html").stat().st_size > 10_000
    return json.loads((report / "summary.json").read_text())


def folds_of(lake: Lake) -> list[dict]:
    audits = lake.read(AUDITS)
    assert audits["passed"].all()
    return [json.loads(text) for text in audits.filter(pl.col("probe") == "folds")["coverage"]]


@pytest.fixture
def alpaca(monkeypatch: pytest.MonkeyPatch):
    """Stocks and funds that walk at random."""
    monkeypatch.setattr(alpaca_server, "LISTED", (*STOCKS, *sorted(FUNDS)))
    monkeypatch.setattr(alpaca_server, "price", worth)
    with Alpaca() as server:
        yield server


@pytest.fixture
def binance(monkeypatch: pytest.MonkeyPatch):
    """Eight pairs that walk at random."""
    plain: Callable = binance_server.kline

    def kline(pair: str, at: int, step: int) -> list:
        row, base = plain(pair, at, step), worth(pair, date.fromtimestamp(at / 1000))
        row[1:5] = [f"{base + more:.8f}" for more in (0, 2, -2, 1)]
        return row

    for pair in CRYPTO_8:
        monkeypatch.setitem(binance_server.LISTED, pair, binance_server.LISTED["BTCUSDT"])
    monkeypatch.setattr(binance_server, "kline", kline)
    with Binance() as server:
        yield server


def test_stocks_from_alpaca_end_with_a_report_and_bring_their_references(alpaca: Alpaca, tmp_path: Path):
    vendor = {"TRADEML_ALPACA_URL": alpaca.url, "APCA_API_KEY_ID": "key", "APCA_API_SECRET_KEY": "secret"}
    chosen = ["--source", "alpaca", "--symbols", ",".join(STOCKS), "--start", "2020-01"]
    said = run(tmp_path, *chosen, "--months", "2021-03", **vendor)
    summary = judged(tmp_path, "2021-04", said)
    assert summary["verdict"]["headline"]
    with lake_of(tmp_path) as lake:
        assert set(lake.read(RAW_BARS)["symbol"]) == {*STOCKS, *FUNDS}
        assert set(lake.read(REFERENCE_BARS)["symbol"]) >= FUNDS
        # Funds are compared with, and never decided on.
        assert set(lake.read(DIRECTION.predictions)["symbol"]) == set(STOCKS)
        strength = lake.read(DIRECTION.features, months=["2021-03-01"])["relative_strength_20"]
        assert strength.null_count() == 0
        assert folds_of(lake)
        rows = lake.read(RAW_BARS).height
    asked = len(alpaca.asked("/v2/stocks/bars"))
    run(tmp_path, *chosen, "--months", "2021-03", **vendor)
    assert len(alpaca.asked("/v2/stocks/bars")) == asked
    with lake_of(tmp_path) as lake:
        assert lake.read(RAW_BARS).height == rows


def test_crypto_from_binance_ends_with_a_report_that_counts_every_day(binance: Binance, tmp_path: Path):
    chosen = ["--source", "binance", "--universe", "CRYPTO_8", "--start", "2021-01", "--months", "2021-11"]
    said = run(tmp_path, *chosen, TRADEML_BINANCE_URL=binance.url)
    assert judged(tmp_path, "2021-12", said)["verdict"]["headline"]
    with lake_of(tmp_path) as lake:
        predictions = lake.read(DIRECTION.predictions)
        assert predictions.height == 8 * 30
        assert predictions["session"].n_unique() == 30
        assert {fold["sessions_between"] for fold in folds_of(lake)} == {5}
