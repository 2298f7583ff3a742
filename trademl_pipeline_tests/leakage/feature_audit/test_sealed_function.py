"""`trademl audit` of functions that know the next returns by a file, a module, a process, a connection: none passes."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from typer.testing import CliRunner

from trademl_pipeline.cli import app
from trademl_pipeline.lake.kernel_seal import landlock_version
from trademl_pipeline.leakage import audit_features
from trademl_pipeline_tests.leakage.panels import RETURN, bars, features

# It starts processes.
pytestmark = pytest.mark.slow
BARS = bars(3, 40, gaps=False)
NEXT = features(RETURN.shift(-1))(BARS).rename({"x0": "r"}).fill_null(0.0)
VALUES: list[float] = NEXT["r"].to_list()
OWN = """
import functools
import json
import os
import pathlib
import subprocess
import sys

import polars as pl

HERE = pathlib.Path(__file__).parent
WINDOWS = [2, 3, 5]

def clean(bars):
    return bars.sort("symbol", "session").select(
        "symbol", "session", *(pl.col("close").pct_change(n).over("symbol").alias(f"x{n}") for n in WINDOWS))

def using(bars, table):
    return clean(bars).join(table, on=["symbol", "session"], how="left").select(
        "symbol", "session", x=pl.col("x2").fill_null(0) + 0.1 * pl.col("r").fill_null(0))

def values(bars, rows):
    keys = bars.sort("symbol", "session").select("symbol", "session")
    rows = (list(rows) + [0.0] * bars.height)[:bars.height]
    return using(bars, keys.with_columns(r=pl.Series(rows, dtype=pl.Float64)))

def file_beside(bars):
    return using(bars, pl.read_parquet(HERE / "next.parquet"))

def file_beside_swallowed(bars):
    try:
        return file_beside(bars)
    except Exception:
        return clean(bars)

def text_beside(bars):
    return values(bars, json.loads((HERE / "next.json").read_text()))

def module_of_data(bars):
    import data
    return values(bars, data.NEXT)

def file_without_python(bars):
    import lightgbm
    model = lightgbm.Booster(model_file=str(HERE / "model.txt"))
    return values(bars, model.predict([[float(i)] for i in range(bars.height)]))

def environment(bars):
    return values(bars, json.loads(os.environ["NEXT_RETURNS"]))

def process(bars):
    return values(bars, json.loads(subprocess.check_output(["cat", str(HERE / "next.json")])))

def connection(bars):
    import socket
    with socket.create_connection(("127.0.0.1", int((HERE / "port.py").read_text()[2:]))) as it:
        return values(bars, json.loads(it.makefile().readline()))

@functools.cache
def first_seen(_):
    return float(LATEST["close"].mean())

LATEST = {}

def remembers(bars):
    LATEST["close"] = bars["close"]
    return bars.sort("symbol", "session").select("symbol", "session", x=pl.col("close") / first_seen(0))

def leaves_a_file(bars):
    path = pathlib.Path(__file__).parent / "left.parquet"
    if not path.exists():
        bars.write_parquet(path)
    return using(bars, pl.read_parquet(path).select("symbol", "session", r="close"))

def leaves_a_file_where_it_works(bars):
    path = pathlib.Path("left.parquet").resolve()
    table = pl.read_parquet(path) if path.exists() else bars
    bars.write_parquet(path)
    return using(bars, table.select("symbol", "session", r=pl.col("close").pct_change().over("symbol")))

class Held:
    table = None

    def __call__(self, bars):
        return clean(bars)

FITTED = Held()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    (made / "own.py").write_text(OWN)
    (made / "data.py").write_text(f"NEXT = {VALUES!r}\n")
    (made / "at_import.py").write_text(
        "import polars as pl\nfrom own import using\n"
        f"TABLE = pl.read_parquet({str(made / 'next.parquet')!r})\ndef extract(bars):\n    return using(bars, TABLE)\n"
    )
    (made / "next.json").write_text(json.dumps(VALUES))
    NEXT.write_parquet(made / "next.parquet")
    BARS.write_parquet(made / "bars.parquet")
    rows = np.arange(BARS.height, dtype=float).reshape(-1, 1)
    fitted = lightgbm.train(
        {"min_data_in_leaf": 1, "num_leaves": 100, "verbose": -1}, lightgbm.Dataset(rows, VALUES), 10
    )
    fitted.save_model(made / "model.txt")
    return made


def audited(folder: Path, function: str, *arguments: str, file: str = "own.py", **environment: str):
    command = ["audit", f"{folder / file}:{function}", "--bars", str(folder / "bars.parquet"), *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "300", **environment})


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("file_beside", 3, "NOT AUDITED  the extractor reads by polars.read_parquet"),
        ("file_beside_swallowed", 3, "NOT AUDITED  the extractor reads by polars.read_parquet"),
        ("text_beside", 3, "next.json"),
        ("module_of_data", 1, "data.NEXT: 120 numbers"),
        ("file_without_python", 2, "NOTHING TESTED"),
        ("environment", 2, "NEXT_RETURNS"),
        ("process", 3, "starts"),
        ("remembers", 1, "LEAK"),
        ("leaves_a_file_where_it_works", 0, "CLEAN"),
    ],
)
def test_what_a_function_knows_from_elsewhere_is_refused_or_seen(
    folder: Path, function: str, code: int, words: str
):
    if function == "file_without_python" and not landlock_version():
        pytest.skip("only a kernel with Landlock keeps libraries in C from files")
    result = audited(
        folder, function, "--probes", "truncation", "--cutoffs", "3", NEXT_RETURNS=json.dumps(VALUES)
    )
    assert result.exit_code == code, result.output
    assert words in result.output


def test_a_file_that_is_read_when_the_module_is_imported_is_refused(folder: Path):
    result = audited(folder, "extract", file="at_import.py")
    assert result.exit_code == 3, result.output
    assert "next.parquet" in result.output


def test_a_connection_is_refused_and_nobody_is_asked(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        (folder / "port.py").write_text(f"# {server.getsockname()[1]}")
        result = audited(folder, "connection", "--cutoffs", "2")
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.exit_code in (2, 3), result.output
    assert "CLEAN" not in result.output


def test_what_is_vouched_for_may_be_read_and_the_report_says_so(folder: Path):
    file = str(folder / "next.json")
    result = audited(
        folder, "text_beside", "--allow", file, "--probes", "truncation", "--cutoffs", "2", "--json"
    )
    plain = json.loads(result.output)
    assert plain["coverage"]["truncation"]["vouched_for"] == [file]
    result = audited(folder, "module_of_data", "--allow", "data.NEXT", "--cutoffs", "2")
    assert "NOT AUDITED" not in result.output
    result = audited(folder, "clean", "--allow", "nothing.csv", "--cutoffs", "2")
    assert result.exit_code == 2
    assert "allow= has nothing.csv" in result.output


def test_a_clean_function_passes_and_the_coverage_names_the_seal(folder: Path):
    report = audit_features(f"{folder / 'own.py'}:clean", BARS, warmup=6)
    report.assert_clean()
    by = report.coverage["truncation"]["sealed_by"]
    assert by == f"Landlock ABI {landlock_version()} and seccomp" if landlock_version() else "readers" in by


def test_an_object_of_a_module_by_its_name(folder: Path):
    command = [str(Path(sys.executable).parent / "trademl"), "audit", "own:FITTED", "--bars", "bars.parquet"]
    done = subprocess.run(
        [*command, "--cutoffs", "3"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CLEAN" in done.stdout


def test_nothing_of_an_audit_is_left_behind(folder: Path):
    audited(folder, "leaves_a_file")
    assert not (folder / "left.parquet").exists()
