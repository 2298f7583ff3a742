"""`trademl audit` and the same from a test, on functions as users write them."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.cli import app
from trademl_pipeline.leakage import LeakageError, audit_features
from trademl_pipeline.leakage.feature_audit.command import read_frame
from trademl_pipeline_tests.leakage.panels import bars

# It starts processes.
pytestmark = pytest.mark.slow
PANEL = bars(3, 45, gaps=False)
LONG = bars(8, 250, gaps=False)
OWN = """
import random
import polars as pl

BY = "symbol"

def _of(x):
    def extract(bars):
        return bars.sort("symbol", "session").select("symbol", "session", x=x.over("symbol"))
    return extract

momentum = _of(pl.col("close").pct_change(5))
leaky = _of(pl.col("close").shift(-1) / pl.col("close") - 1)

def raising(bars):
    raise KeyError("adj_close")

def noisy(bars):
    return bars.select("symbol", "session", x=pl.Series([random.random() for _ in range(bars.height)]))

def other_rows(bars):
    return bars.select("symbol", session=pl.col("session").dt.offset_by("1d"), x="close")

def doubled(bars):
    return pl.concat([momentum(bars), momentum(bars)])

def objects(bars):
    return bars.select("symbol", "session", x=pl.Series([object()] * bars.height, dtype=pl.Object))

def nothing(bars):
    return None

def vendors(bars):
    return momentum(bars).join(bars.select("symbol", "session", "rating"), on=["symbol", "session"])

def with_rates(bars, rates):
    return bars.join(rates, on="session", how="left").sort("symbol", "session").select(
        "symbol", "session", x=pl.col("close").pct_change().over("symbol") - pl.col("rate"))

def leaky_in_pandas(frame):
    frame = frame.sort_values(["symbol", "session"])
    frame["x"] = frame.groupby("symbol")["close"].pct_change()
    frame["x"] = frame.groupby("symbol")["x"].shift(-1)
    return frame[["symbol", "session", "x"]]

def in_pandas(frame):
    frame = frame.sort_values(["symbol", "session"])
    frame["x"] = frame.groupby("symbol")["close"].pct_change()
    return frame[["symbol", "session", "x"]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    (made / "own.py").write_text(OWN)
    (made / "broken.py").write_text("import nowhere_to_be_found")
    PANEL.write_parquet(made / "bars.parquet")
    PANEL.select("symbol", "session", "close").rename({"session": "day"}).write_csv(made / "bars.csv")
    noise = pl.Series(np.random.default_rng(0).standard_normal(LONG.height))
    tomorrow = (pl.col("close").shift(-1) / pl.col("close") - 1).over("symbol")
    rated = LONG.with_columns(rating=tomorrow + 3 * tomorrow.std().over("symbol") * noise)
    rated.with_columns(pl.col("rating").fill_null(0.0)).write_parquet(made / "rated.parquet")
    pl.concat([PANEL, PANEL.head(1)]).write_parquet(made / "twice.parquet")
    rates = PANEL.select("session").unique().sort("session").with_columns(rate=pl.lit(0.01))
    rates.write_parquet(made / "rates.parquet")
    return made


def call(folder: Path, function: str, *arguments: str, file: str = "own.py", data: str = "bars.parquet"):
    command = ["audit", f"{folder / file}:{function}", "--bars", str(folder / data), *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "240"})


def test_a_clean_function_passes_and_says_what_was_tested(folder: Path):
    result = call(folder, "momentum", "--warmup", "5")
    assert result.exit_code == 0, result.output
    assert "CLEAN" in result.output
    assert "no leak within the declared clocks and the tested mutants" in result.output
    for probe in ("truncation", "perturbation", "adjustment", "incremental"):
        assert probe in result.output
    assert "every session" in result.output
    assert "not run" not in result.output


def test_what_was_not_tested_is_said(folder: Path):
    result = call(folder, "momentum")
    assert result.exit_code == 0
    assert "not run" in result.output
    assert "give warmup=" in result.output


def test_a_leak_is_named_by_column_symbol_cutoff_session_and_size(folder: Path):
    result = call(folder, "leaky", "--probes", "truncation")
    assert result.exit_code == 1
    report = audit_features(
        lambda b: b.select(
            "symbol", "session", x=(pl.col("close").shift(-1) / pl.col("close") - 1).over("symbol")
        ),
        PANEL,
        probes="truncation",
    )
    first = report.violations[0]
    for word in ("LEAK", "1 column knew", "x", str(first.symbol), str(first.cutoff), str(first.first_leak)):
        assert word in result.output
    assert "as could be known" in result.output
    assert "missing" in result.output


def test_a_leak_is_told_by_horizon_pattern_line_and_fix(folder: Path):
    result = call(folder, "leaky", "--probes", "truncation")
    line = next(i for i, text in enumerate(OWN.splitlines(), 1) if "x=x.over" in text)
    # The table is as wide as the terminal, and goes on in the next line.
    told = re.sub(r"[\s│]+", " ", result.output)
    for words in ("1 session", "shift: it reads exactly one later row", "own.py:", "no shift(-n)"):
        assert words in told
    plain = json.loads(call(folder, "leaky", "--probes", "truncation", "--json").output)["violations"][0]
    assert (plain["horizon"], plain["horizon_is_minimum"], plain["pattern"]) == (1, False, "shift")
    assert plain["origin"] == f"{folder / 'own.py'}:{line}"
    assert "Fix" not in plain["detail"]
    assert plain["fix"]
    markdown = call(folder, "leaky", "--probes", "truncation", "--markdown").output
    assert "- `x`: sees 1 session ahead; likely pattern: shift" in markdown


def test_functions_of_pandas_frames_are_told_by_their_own_line(folder: Path):
    result = call(folder, "leaky_in_pandas", "--pandas", "--probes", "truncation", "--json")
    assert result.exit_code == 1, result.output
    origin = json.loads(result.output)["violations"][0]["origin"]
    line = next(i for i, text in enumerate(OWN.splitlines(), 1) if text.startswith("def leaky_in_pandas"))
    assert origin == f"{folder / 'own.py'}:{line}"


def test_what_is_too_good_is_suspicious_and_not_refused(folder: Path):
    result = call(folder, "vendors", "--warmup", "5", "--cutoffs", "3", data="rated.parquet")
    assert result.exit_code == 4, result.output
    assert "SUSPICIOUS  1 column too good to be true" in result.output
    assert "rating ranks the returns to the next session with +0." in result.output
    plain = json.loads(call(folder, "vendors", "--cutoffs", "3", "--json", data="rated.parquet").output)
    assert plain["passed"] is True
    assert [s["column"] for s in plain["suspicions"]] == ["rating"]
    assert call(folder, "momentum", "--cutoffs", "3", data="rated.parquet").exit_code == 0


def test_a_report_can_be_read_by_programs(folder: Path):
    result = call(folder, "leaky", "--json", "--cutoffs", "3")
    assert result.exit_code == 1
    plain = json.loads(result.output)
    assert plain["passed"] is False
    assert plain["violations"][0]["column"] == "x"
    assert plain["coverage"]["truncation"]["cutoffs"] == 3
    markdown = call(folder, "leaky", "--markdown", "--cutoffs", "3")
    assert markdown.output.startswith("**Refused by truncation, perturbation: x**")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("raising", ["KeyError", "adj_close", "own.py, line"]),
        ("noisy", ["two calls", "x of"]),
        ("other_rows", ["were not in the bars"]),
        ("doubled", ["keys must be unique"]),
        ("objects", ["'x'", "Object"]),
        ("nothing", ["NoneType"]),
        ("absent", ["no 'absent'", "momentum"]),
        ("BY", ["is str"]),
    ],
)
def test_wrong_use_is_an_error_and_never_a_pass(folder: Path, function: str, words: list[str]):
    result = call(folder, function)
    assert result.exit_code == 2, result.output
    assert "NOTHING TESTED" in result.output
    for word in words:
        assert word in result.output


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((), {"file": "none.py"}, ["there is no file"]),
        ((), {"file": "broken.py"}, ["cannot be imported", "nowhere_to_be_found"]),
        ((), {"data": "none.parquet"}, ["none.parquet"]),
        ((), {"data": "bars.csv"}, ["no column session", "--column session=<yours>"]),
        ((), {"data": "twice.parquet"}, ["keys must be unique"]),
        (("--column", "session=when"), {}, ["no column when"]),
        (("--cutoffs", "some"), {}, ["neither all nor a number"]),
        (("--cutoffs", "0"), {}, ["at least 1"]),
        (("--probes", "truncation,luck"), {}, ["luck"]),
        (("--source", "rates"), {}, ["name=file"]),
        (("--probes", "incremental"), {}, ["needs the declared warm-up"]),
    ],
)
def test_what_cannot_be_audited_is_said(folder: Path, arguments, options, words):
    result = call(folder, "momentum", *arguments, **options)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output


def test_a_target_without_a_function_is_said(folder: Path):
    result = CliRunner().invoke(app, ["audit", "own.py", "--bars", str(folder / "bars.parquet")])
    assert result.exit_code == 2
    assert "names no function" in result.output


def test_csv_and_other_column_names(folder: Path):
    result = call(folder, "momentum", "--column", "session=day", "--cutoffs", "2", data="bars.csv")
    assert result.exit_code == 0, result.output
    assert read_frame(folder / "bars.csv").schema["day"] == pl.Date


def test_further_frames_are_cut_with_the_bars(folder: Path):
    result = call(folder, "with_rates", "--source", f"rates={folder / 'rates.parquet'}", "--cutoffs", "3")
    assert result.exit_code == 0, result.output


def test_functions_of_pandas_frames(folder: Path):
    result = call(folder, "in_pandas", "--pandas", "--cutoffs", "2")
    assert result.exit_code == 0, result.output
    result = call(folder, "in_pandas", "--cutoffs", "2")
    assert result.exit_code == 2


def my_features(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("symbol", "session").select(
        "symbol", "session", high_5=pl.col("close").rolling_max(5).over("symbol") / pl.col("close")
    )


def test_my_features_do_not_know_the_future():
    audit_features(my_features, PANEL, warmup=5).assert_clean()


def test_a_test_of_leaky_features_fails_with_the_violations():
    def centred(frame: pl.DataFrame) -> pl.DataFrame:
        return my_features(frame).with_columns(pl.col("high_5").shift(-2).over("symbol"))

    with pytest.raises(LeakageError, match="high_5"):
        audit_features(centred, PANEL, warmup=5).assert_clean()
