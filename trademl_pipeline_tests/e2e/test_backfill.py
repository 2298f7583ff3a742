"""A real daemon backfills 12 months of which one is poisoned, and again once the poison is gone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.cli import prepare_instance
from trademl_pipeline.data_sets import ROOT, DataSet
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.e2e.stopping import stop_group

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

LOCATION = "trademl_pipeline_tests.e2e.poisoned"
INPUTS = [
    "raw_bars",
    "reference_bars",
    "universe_members",
    "features_indicators",
    "labels_direction",
    "sequences_direction",
]
FOLDS = ["model_direction", "predictions_direction"]
YEAR = month_range("2014-01-01", "2014-12-01")
POISONED = "2014-07-01"


class Backfills:
    """A state folder with a daemon at work on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **DataSet(home=home, symbols="6", start="2013-07-01").environment(),
            "PYTHONPATH": str(ROOT),
        }
        prepare_instance(self.environment)
        self.log = (home / "daemon.log").open("w")
        self.daemon = subprocess.Popen(
            [sys.executable, "-m", "trademl_pipeline_tests.e2e.daemon", "run", "-m", LOCATION],
            env=self.environment,
            cwd=ROOT,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self) -> None:
        stop_group(self.daemon, 30)
        self.log.close()

    def run(self, name: str, first: str, last: str, assets: list[str]) -> str:
        """Ask for a backfill, wait for its end, return its status."""
        request = [sys.executable, "-m", "trademl_pipeline_tests.e2e.request", name, first, last, *assets]
        try:
            asked = subprocess.run(
                request, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=3300
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"backfill {name} did not end: {self.daemon_said()}") from error
        assert "STATUS " in asked.stdout, asked.stderr[-4000:] + self.daemon_said()
        return asked.stdout.split("STATUS ")[1].split()[0]

    def daemon_said(self) -> str:
        """The end of the daemon's log."""
        return (self.home / "daemon.log").read_text()[-4000:]

    def materialized(self, asset: str) -> set[str]:
        return set(self.answer("sorted(i.get_materialized_partitions(dg.AssetKey(sys.argv[1])))", asset))

    def months_of_the_run(self, backfill: str, asset: str, month: str) -> set[str]:
        """The months that the backfill's last run over this month of the asset was to make.

        The daemon asks for months as those they need are there, so that a range may come in several runs.
        """
        ranges = self.answer(
            "[f\"{r.tags.get('dagster/partition') or r.tags['dagster/asset_partition_range_start']}:\"\n"
            "f\"{r.tags.get('dagster/partition') or r.tags['dagster/asset_partition_range_end']}\"\n"
            "for r in i.get_runs(dg.RunsFilter(tags={'dagster/backfill': sys.argv[1]}))\n"
            "if dg.AssetKey(sys.argv[2]) in (r.asset_selection or ())]",
            backfill,
            asset,
        )
        months = [set(month_range(*said.split(":"))) for said in ranges]
        return next(those for those in months if month in those)

    def answer(self, expression: str, *arguments: str) -> list[str]:
        """What a process of its own reads in the instance `i`."""
        code = (
            f"import sys, dagster as dg\nwith dg.DagsterInstance.get() as i: print('KEYS', *({expression}))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        return found.stdout.split("KEYS")[1].split()

    def lake(self) -> Lake:
        return Lake(LakeConfig.of(self.home))


@pytest.fixture(scope="module")
def backfills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfills]:
    started = Backfills(tmp_path_factory.mktemp("state"))
    try:
        yield started
    finally:
        started.stop()


def test_a_poisoned_month_is_refused_and_healed(backfills: Backfills):
    assert backfills.run("history", "2013-07-01", "2013-12-01", INPUTS) == "COMPLETED_SUCCESS"

    (backfills.home / "poison").symlink_to(POISONED)
    backfills.run("poisoned", YEAR[0], YEAR[-1], [*INPUTS, *FOLDS])

    year, before = set(YEAR), {m for m in YEAR if m < POISONED}
    assert backfills.materialized("raw_bars") >= year
    assert backfills.materialized("labels_direction") >= year
    asked = backfills.months_of_the_run("poisoned", "features_indicators", POISONED)
    stopped = {m for m in asked if m >= POISONED}
    assert year - backfills.materialized("features_indicators") == stopped, (
        "the run makes no month after the refusal"
    )
    trained = backfills.materialized("model_direction")
    assert trained == before | {POISONED}, "a fold learns from earlier months only, so July's own may train"
    assert backfills.materialized("predictions_direction") == before

    lake = backfills.lake()
    assert POISONED not in lake.months("features_indicators")
    assert set(lake.months("model_direction")) == trained
    refused = lake.read(AUDITS).filter(~pl.col("passed"))
    assert set(refused["table_name"]) == {"features_indicators"}
    assert set(refused["month"]) == {POISONED}
    assert set(refused["column"]) == {"gap"}
    assert {"truncation", "perturbation"} <= set(refused["probe"])

    (backfills.home / "poison").unlink()
    assert backfills.run("healed", POISONED, YEAR[-1], [*INPUTS, *FOLDS]) == "COMPLETED_SUCCESS"
    for asset in [*INPUTS, *FOLDS]:
        assert backfills.materialized(asset) >= year, asset
    assert set(backfills.lake().months("predictions_direction")) == year
