import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline import data_sets, settings
from trademl_pipeline.cli import app
from trademl_pipeline.data_sets import DataSet, UsageError
from trademl_pipeline.market.universes import universe
from trademl_pipeline.pipeline.run import Result
from trademl_pipeline.pipeline.sources import BarsFrom

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
    lines = exported(result.output)
    assert lines["TRADEML_HOME"] == str(tmp_path)
    assert Path(lines["DAGSTER_HOME"], "dagster.yaml").exists()
    assert settings.load(tmp_path, environ=lines).data.source == "simulated"


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
    said = settings.load(environ=exported(result.output))
    assert (said.data.source, said.data.start, said.data.end) == ("files", "2014-06-01", "2014-07-01")
    assert said.data.columns == {"symbol": "Ticker"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["certificate", "nothing", "2014-03"], ["no study"]),
        (["certificate", "direction", "2014"], ["not a month"]),
        (["certificate", "direction", "2014-03"], ["holds nothing yet", "trademl run"]),
        (["tries", "nothing"], ["no study"]),
        (["tries", "direction"], ["holds nothing yet", "trademl run"]),
    ],
)
def test_certificates_and_tries_that_cannot_be_shown_are_said(arguments, words, tmp_path: Path):
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


def test_a_vendors_universe_is_fetched_into_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TRADEML_HOME", raising=False)
    chosen = DataSet(source="yahoo", universe="MAG7", start="2015-01-01")
    assert chosen.folder().name == "yahoo-MAG7"
    arguments = ["--source", "yahoo", "--universe", "TEST", "--start", "2015-01", "--home", str(tmp_path)]
    result = runner.invoke(app, ["env", *arguments])
    assert result.exit_code == 0, result.output
    said = settings.load(environ=exported(result.output))
    assert (said.data.source, said.universe.name) == ("yahoo", "TEST")
    assert BarsFrom.of(said).wanted().startswith("AAPL,GOOGL,MSFT,SPY,QQQ,")


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
    def said(home: Path) -> settings.Settings:
        arguments = ["--source", source, "--symbols", "AAPL,IBM", "--start", "2015-01", "--home", str(home)]
        return settings.load(environ=exported(runner.invoke(app, ["env", *arguments]).output))

    monkeypatch.delenv("TRADEML_REFERENCE", raising=False)
    found = said(tmp_path / "a")
    asked = set(BarsFrom.of(found).wanted().split(","))
    assert {"AAPL", "IBM"} | has <= asked
    assert not lacks & asked
    assert universe(found.universe.name) == ["AAPL", "IBM"]
    funds = tmp_path / "funds.parquet"
    funds.touch()
    monkeypatch.setenv("TRADEML_REFERENCE", str(funds))
    assert BarsFrom.of(said(tmp_path / "b")).wanted() == "AAPL,IBM"


def test_crypto_is_compared_with_its_own_index_alone(tmp_path: Path):
    arguments = ["env", "--source", "binance", "--universe", "CRYPTO_8", "--start", "2021-01"]
    found = exported(runner.invoke(app, [*arguments, "--home", str(tmp_path)]).output)
    said = settings.load(environ=found)
    assert BarsFrom.of(said).wanted().split(",") == universe("CRYPTO_8")
    assert said.calendar == "24/7"


class Started:
    """The folders that commands work on, where they would start processes, open a lake or do the work themselves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders: list[str] = []

        def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
            self.folders.append(env["TRADEML_HOME"])
            return subprocess.CompletedProcess(command, 0)

        def replaced(path: str, command: list[str], variables: dict[str, str]) -> None:
            self.folders.append(variables["TRADEML_HOME"])

        def opened(said: settings.Settings) -> None:
            self.folders.append(str(said.home))
            raise UsageError("far enough")

        def worked(said: settings.Settings, *_: object, **__: object) -> int:
            self.folders.append(str(said.home))
            return 0

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(os, "execve", replaced)
        monkeypatch.setattr("trademl_pipeline.pipeline.stores.lake_config", opened)
        monkeypatch.setattr("trademl_pipeline.cli.instance.os.chdir", lambda folder: None)
        monkeypatch.setattr("trademl_pipeline.cli.runs._run", lambda *given, **_: (worked(*given), Result(0)))
        monkeypatch.setattr("trademl_pipeline.cli.runs._ingest", worked)
        monkeypatch.setattr("trademl_pipeline.cli.evidence._verified", worked)


@pytest.fixture
def market_file(tmp_path: Path) -> Path:
    """Four years of three known symbols and one of its own."""
    days = pl.select(session=pl.date_range(date(2014, 1, 1), date(2017, 12, 29))).filter(
        pl.col("session").dt.weekday() <= 5
    )
    prices = [pl.lit(1.0).alias(c) for c in ("Open", "high", "low", "close", "volume")]
    file = tmp_path / "base.parquet"
    names = pl.DataFrame({"symbol": ["AAPL", "MSFT", "GOOGL", "OWN"]})
    names.join(days, how="cross").with_columns(prices).write_parquet(file)
    return file


READERS = (
    ["ui"],
    ["config", "--json"],
    ["check"],
    ["verify", "direction", "2016-05"],
    ["certificate", "direction", "2016-05"],
    ["tries", "direction"],
    ["maintain"],
)
MAKERS = (["run", "direction"], ["run"], ["env"], ["ingest"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--symbols", "20"],
        ["--data", "FILE"],
        ["--data", "FILE", "--symbols", "AAPL,MSFT,GOOGL"],
        ["--data", "FILE", "--universe", "TIER_1"],
        ["--data", "FILE", "--source", "files", "--column", "open=Open", "--universe", "ALL"],
        ["--data", "FILE", "--reference", "FILE"],
        ["--source", "yahoo", "--universe", "TIER_1", "--start", "2015-01"],
        ["--source", "binance", "--symbols", "BTCUSDT,ETHUSDT", "--start", "2015-01"],
        ["--home", "HOME"],
        ["--home", "HOME", "--data", "FILE"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("first", MAKERS, ids=" ".join)
def test_every_command_finds_the_same_folder_by_the_same_words(
    words: list[str], first: list[str], market_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TRADEML_HOME", raising=False)
    monkeypatch.setattr(data_sets, "DATA_FOLDER", tmp_path / "data")
    words = [{"FILE": str(market_file), "HOME": str(tmp_path / "home")}.get(word, word) for word in words]
    named: dict[str, str] = {}
    for command in (first, *MAKERS, *READERS):
        # What starts processes and opens lakes is replaced for one command at a time.
        with monkeypatch.context() as patch:
            started = Started(patch)
            result = runner.invoke(app, [*command, *words])
        if command[0] == "env":
            named["env"] = exported(result.output)["TRADEML_HOME"]
        elif command[0] == "config":
            named["config"] = json.loads(result.output)["home"]
        else:
            assert started.folders, (command, result.output)
            named[" ".join(command)] = started.folders[-1]
    assert len(set(named.values())) == 1, named
    folder = Path(next(iter(named.values())))
    assert (folder / "trademl.yaml").exists()
    assert not [f for f in (tmp_path / "data").glob("*") if f != folder], "and makes no other"
    with monkeypatch.context() as patch:
        started = Started(patch)
        runner.invoke(app, ["verify", "direction", "2016-05", "--home", str(folder)])
    assert started.folders == [str(folder)], "the folder alone says the rest"


@pytest.mark.parametrize("command", [c for c in READERS if c != ["check"]], ids=" ".join)
def test_a_command_that_reads_makes_no_data_set(command: list[str], tmp_path: Path):
    folder = tmp_path / "nothing"
    result = runner.invoke(app, [*command, "--home", str(folder), "--symbols", "20"])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert str(folder) in said.replace(" ", "")
    assert "trademl run --symbols 20" in said
    assert not folder.exists()


def test_config_shows_values_with_their_origin_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner.invoke(app, ["env", "--home", str(tmp_path)])
    with (tmp_path / "trademl.yaml").open("a") as file:
        file.write("training:\n  size: base\n")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "hush")
    monkeypatch.setenv("TRADEML_LAKE__CATALOG", "postgres:host=db password=hush")
    monkeypatch.setenv("TRADEML_TRAINING__THREADS", "3")
    result = runner.invoke(app, ["config", "--json", "--home", str(tmp_path), "--start", "2014-01"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["settings"]
    assert set(found) == set(settings.keys())
    assert found["data.start"] == {"value": "2014-01-01", "origin": "flag", "where": "--start"}
    assert found["training.threads"] == {
        "value": 3,
        "origin": "environment",
        "where": "TRADEML_TRAINING__THREADS",
    }
    assert found["training.size"]["value"] == "base"
    assert found["training.size"]["where"].startswith(f"{tmp_path}/trademl.yaml:")
    assert found["training.epochs"] == {"value": 0, "origin": "default", "where": ""}
    assert found["vendors.alpaca_secret"]["value"] == "***"
    table = runner.invoke(app, ["config", "--home", str(tmp_path)])
    assert table.exit_code == 0
    exports = runner.invoke(app, ["env", "--home", str(tmp_path)])
    assert exported(exports.output)["TRADEML_TRAINING__THREADS"] == "3"
    for output in (result.output, table.output, exports.output):
        assert "hush" not in output
    assert "training.threads" in table.output


def test_a_run_writes_its_data_set_down_only_when_it_can_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "h"
    for wrong in (["--size", "enormous"], ["--start", "2016-01", "--months", "2015-06"], ["--months", "x"]):
        assert runner.invoke(app, ["run", "direction", "--home", str(home), *wrong]).exit_code == 2
        assert not home.exists(), wrong
    started = Started(monkeypatch)
    done = runner.invoke(app, ["run", "direction", "--home", str(home), "--months", "2015-02:2015-04"])
    assert done.exit_code == 0, done.output
    assert started.folders == [str(home)]
    assert settings.load(home).data.end == "2015-05-01", "months end where the outcomes of the last fold do"


def test_a_run_on_a_file_has_the_studys_universe_and_says_how_much_of_it_is_there(
    market_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Started(monkeypatch)
    arguments = ["run", "direction", "--data", str(market_file), "--home", str(tmp_path / "h")]
    done = runner.invoke(app, [*arguments, "--months", "2016-05"])
    assert done.exit_code == 0, done.output
    assert "Universe TIER_1: 3 of its symbols are in base.parquet" in done.output
    assert settings.load(tmp_path / "h").universe.name == "TIER_1"
    few = ["run", "direction", "--data", str(market_file), "--universe", "REFERENCES"]
    result = runner.invoke(app, [*few, "--months", "2016-05", "--home", str(tmp_path / "few")])
    assert result.exit_code == 2
    assert "has 0 symbols of the universe REFERENCES" in " ".join(result.output.split())
    assert not (tmp_path / "few").exists()


@pytest.mark.parametrize(
    "command", [["ingest"], ["ui"], ["run", "direction", "--months", "2016-05"]], ids=" ".join
)
def test_months_go_on_with_a_file_that_has_grown(
    command: list[str], market_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "h"
    DataSet(data=market_file, home=home).make()
    assert settings.load(home).data.end == "2017-12-01"
    bars = pl.read_parquet(market_file)
    later = bars.filter(pl.col("session") == date(2017, 12, 29)).with_columns(
        pl.lit(date(2018, 1, 2)).alias("session")
    )
    pl.concat([bars, later]).write_parquet(market_file)
    started = Started(monkeypatch)
    runner.invoke(app, [*command, "--home", str(home)])
    assert started.folders[-1] == str(home)
    assert settings.load(home).data.end == "2018-01-01"


def test_an_old_variable_is_said_on_one_line(tmp_path: Path):
    found = subprocess.run(
        [sys.executable, "-m", "trademl_pipeline.cli", "env", "--home", str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(settings.ROOT), "TRADEML_THREADS": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr == (
        "warning: TRADEML_THREADS still works, but is now `threads` under `training` in trademl.yaml, or the variable "
        "TRADEML_TRAINING__THREADS\n"
    )
    assert exported(found.stdout)["TRADEML_TRAINING__THREADS"] == "2"


@pytest.mark.parametrize(
    ("study", "result", "printed"),
    [
        ("direction", Result(1), set()),
        ("direction", Result(0, ("direction",)), {"direction"}),
        ("all", Result(1, ("breakout",)), {"breakout"}),
        ("all", Result(0, ("direction", "breakout"), compared=True), {"direction", "breakout", "comparison"}),
    ],
)
def test_only_what_this_run_has_reported_is_printed(
    study: str, result: Result, printed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shown: list[str] = []
    for name in ("direction", "breakout", "comparison"):
        folder = tmp_path / "reports" / name / "2015-03"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"study": name}))
        (folder / "report.html").touch()
    monkeypatch.setattr("trademl_pipeline.cli.runs._run", lambda *given, **_: (result.problems, result))
    monkeypatch.setattr("trademl_pipeline.cli.runs._matured_until", lambda *given: "2015-03-01")
    monkeypatch.setattr(
        "trademl_pipeline.reports.print_comparison",
        lambda summaries, console: shown.extend(summary["study"] for summary in summaries),
    )
    monkeypatch.setattr(
        "trademl_pipeline.reports.print_summary", lambda summary, console: shown.append(summary["study"])
    )
    done = runner.invoke(app, ["run", study, "--home", str(tmp_path), "--months", "2015-02"])
    assert done.exit_code == result.problems, done.output
    assert shown == list(result.reported)
    links = [
        Path(line.partition(": ")[2]).parent.parent.name
        for line in done.output.splitlines()
        if line.startswith(("Report: ", "Comparison: "))
    ]
    assert sorted(links) == sorted(printed)
    earlier = [line for line in done.output.splitlines() if line.startswith("Not reported: ")]
    assert all("of an earlier run (" in line for line in earlier)
    missing = ({"direction", "breakout"} if study == "all" else {study}) - set(result.reported)
    assert {line.removeprefix("Not reported: ").partition(";")[0] for line in earlier} == missing
