from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.cli import app
from trademl_pipeline.market.universes import universe
from trademl_pipeline.data_sets import DataSet

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nothing"], ["no study", "direction"]),
        (["run", "--months", "2016"], ["not a month", "YYYY-MM"]),
        (["run", "--months", "2016-05:2016-01"], ["backwards"]),
        (["run", "--start", "2016-01", "--months", "2015-06"], ["history begins", "252 sessions"]),
        (["run", "--data", "/does/not/exist.parquet"], ["/does/not/exist.parquet"]),
        (["run", "--column", "close"], ["ours=theirs"]),
        (["run", "--reference", "/does/not/exist.parquet"], ["/does/not/exist.parquet", "--reference"]),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(arguments, words, tmp_path: Path):
    result = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert result.exit_code == 2
    for word in words:
        assert word in result.output


def test_env_prints_what_dagster_needs(tmp_path: Path):
    result = runner.invoke(app, ["env", "--home", str(tmp_path)])
    assert result.exit_code == 0
    lines = dict(line.removeprefix("export ").split("=", 1) for line in result.output.splitlines())
    assert lines["TRADEML_HOME"] == str(tmp_path)
    assert Path(lines["DAGSTER_HOME"], "dagster.yaml").exists()
    assert lines["TRADEML_SOURCE"] == "simulated"


def test_a_files_history_begins_where_the_file_does(tmp_path: Path):
    bars = pl.DataFrame(
        {
            "Ticker": ["A"] * 2,
            "date": ["2014-06-02", "2014-07-01"],
            **{c: [1.0, 1.0] for c in ("open", "high", "low", "close", "volume")},
        }
    )
    bars.write_csv(tmp_path / "bars.csv")
    arguments = [
        "env",
        "--data",
        str(tmp_path / "bars.csv"),
        "--column",
        "symbol=Ticker",
        "--home",
        str(tmp_path / "h"),
    ]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "export TRADEML_START=2014-06-01" in result.output
    assert "export TRADEML_SOURCE=files" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["certificate", "nothing", "2014-03"], ["no study"]),
        (["certificate", "direction", "2014"], ["not a month"]),
        (["certificate", "direction", "2014-03"], ["holds nothing yet", "trademl run"]),
    ],
)
def test_a_certificate_that_cannot_be_shown_is_said(arguments, words, tmp_path: Path):
    result = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert result.exit_code == 2
    for word in words:
        assert word in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nasdaq"], ["nasdaq", "yahoo", "binance"]),
        (["--source", "yahoo", "--start", "2015-01"], ["--universe TIER_1", "--symbols"]),
        (["--source", "yahoo", "--symbols", "AAPL"], ["--start 2015-01"]),
        (["--source", "yahoo", "--universe", "TIER_2", "--start", "2015-01"], ["TIER_2", "TIER_1"]),
        (["--source", "yahoo", "--universe", "MAG7", "--symbols", "A", "--start", "2015-01"], ["leave one"]),
        (["--source", "files"], ["--data"]),
        (["--source", "yahoo", "--symbols", "A", "--start", "2015"], ["not a month"]),
        (["--source", "yahoo", "--symbols", "A", "--start", "2015-02", "--end", "2015-01"], ["backwards"]),
        (
            ["--source", "yahoo", "--symbols", "A", "--start", "2015-02", "--timeframe", "5min"],
            ["1Day, 4h, 1h"],
        ),
        (
            ["--source", "yahoo", "--symbols", "A", "--start", "2015-02", "--revisions", "all"],
            ["first or latest"],
        ),
    ],
)
def test_an_ingest_that_cannot_work_is_said_before_anything_starts(arguments, words, tmp_path: Path):
    result = runner.invoke(app, ["ingest", *arguments, "--home", str(tmp_path)])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    for word in words:
        assert word in said


def test_a_vendors_universe_is_fetched_into_a_folder_of_its_own(tmp_path: Path):
    chosen = DataSet(source="yahoo", universe="MAG7", symbols="AAPL,MSFT", start="2015-01-01")
    assert chosen.folder().name == "yahoo-MAG7"
    assert (
        DataSet(source="yahoo", symbols="AAPL").folder() != DataSet(source="yahoo", symbols="MSFT").folder()
    )
    arguments = [
        "env",
        "--source",
        "yahoo",
        "--universe",
        "TEST",
        "--start",
        "2015-01",
        "--home",
        str(tmp_path),
    ]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "export TRADEML_SOURCE=yahoo" in result.output
    assert exported(result.output)["TRADEML_SYMBOLS"].startswith("AAPL,GOOGL,MSFT,SPY,QQQ,")
    assert "export TRADEML_UNIVERSE=TEST" in result.output


def exported(output: str) -> dict[str, str]:
    lines = [line.removeprefix("export ").partition("=") for line in output.splitlines()]
    return {name: value.strip("'") for name, _, value in lines}


@pytest.mark.parametrize(
    ("source", "has", "lacks"),
    [("yahoo", {"SPY", "XLK", "^VIX", "^VIX3M"}, set()), ("alpaca", {"SPY", "XLK"}, {"^VIX", "^VIX3M"})],
)
def test_a_vendor_is_asked_for_the_references_it_has_and_nobody_decides_on_them(
    source, has, lacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TRADEML_REFERENCE", raising=False)
    arguments = ["--source", source, "--symbols", "AAPL,IBM", "--start", "2015-01", "--home", str(tmp_path)]
    found = exported(runner.invoke(app, ["env", *arguments]).output)
    asked = set(found["TRADEML_SYMBOLS"].split(","))
    assert {"AAPL", "IBM"} | has <= asked
    assert not lacks & asked
    assert universe(found["TRADEML_UNIVERSE"]) == ["AAPL", "IBM"]
    funds = tmp_path / "funds.parquet"
    funds.touch()
    monkeypatch.setenv("TRADEML_REFERENCE", str(funds))
    found = exported(runner.invoke(app, ["env", *arguments]).output)
    assert found["TRADEML_SYMBOLS"] == "AAPL,IBM"


def test_crypto_is_compared_with_its_own_index_alone(tmp_path: Path):
    arguments = ["env", "--source", "binance", "--universe", "CRYPTO_8", "--start", "2021-01"]
    found = exported(runner.invoke(app, [*arguments, "--home", str(tmp_path)]).output)
    assert found["TRADEML_SYMBOLS"].split(",") == universe("CRYPTO_8")
    assert found["TRADEML_CALENDAR"] == "24/7"
