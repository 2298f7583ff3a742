from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.cli import app

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
