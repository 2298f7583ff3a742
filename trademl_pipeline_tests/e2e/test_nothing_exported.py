"""Dagster's own commands: in the repository's folder with nothing exported, and on a data set as `trademl env` says."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from trademl_pipeline.settings import ROOT
from trademl_pipeline_tests.e2e.stopping import stop_group

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

PORT = 3907


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, str]:
    """What `env -i PATH=... HOME=...` leaves, and where the package lies if it is not installed."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}


def dagster(*arguments: str, env: dict[str, str], cwd: Path = ROOT) -> str:
    done = subprocess.run(
        ["dagster", *arguments], env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_definitions_validate_and_assets_are_listed(clean: dict[str, str]):
    assert "passed validation" in dagster("definitions", "validate", "-w", "workspace.yaml", env=clean)
    assert "raw_bars" in dagster("asset", "list", "-m", "trademl_pipeline.definitions", env=clean).split()
    assert not list(ROOT.glob("history")), "what Dagster keeps lies in the demo's folder"


def test_the_ui_opens(clean: dict[str, str], tmp_path: Path):
    log = tmp_path / "dev.log"
    with log.open("w") as output:
        started = subprocess.Popen(
            ["dagster", "dev", "-p", str(PORT)],
            env=clean,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert answers(f"http://127.0.0.1:{PORT}/server_info", started), log.read_text()
    finally:
        stop_group(started)


def answers(url: str, process: subprocess.Popen, seconds: float = 240) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    return False


def test_a_data_sets_instance_lies_in_its_folder(clean: dict[str, str], tmp_path: Path):
    home = tmp_path / "set"
    command = [sys.executable, "-m", "trademl_pipeline.cli", "env", "--home", str(home), "--symbols", "6"]
    said = subprocess.run(command, env=clean, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    exported = dict(line.removeprefix("export ").split("=", 1) for line in said.splitlines())
    shown = dagster("instance", "info", env=clean | exported, cwd=tmp_path)
    assert str(home / "dagster") in shown
    assert "max_concurrent_runs: 4" in shown
    assert (home / "dagster" / "history").is_dir()
    code = "from trademl_pipeline.defs.partitions import MONTHS; print(MONTHS.get_first_partition_key())"
    first = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | exported,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert first.stdout.split() == ["2013-01-01"]
