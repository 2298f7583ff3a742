"""A data set in a temporary folder, with the assets run in this process on an instance of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from trademl_pipeline import studies
from trademl_pipeline.data_sets import DataSet
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.resources import LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.settings import FILE
from trademl_pipeline_tests.small import small_direction

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
SYMBOLS = "6"
FIRST, LAST = "2013-01-01", "2014-03-01"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stands on the workplace is slow: filling it takes the runs of fifteen months."""
    for item in items:
        if "made_once" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@dataclass
class Workplace:
    """Definitions, instance and state folder of one test."""

    home: Path
    instance: dg.DagsterInstance
    defs: dg.Definitions

    def run(
        self,
        job: str,
        *,
        month: str | None = None,
        months: tuple[str, str] | None = None,
        assets: tuple[str, ...] = (),
    ) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=month,
            tags=dict(zip(RANGE, months, strict=True)) if months else None,
            asset_selection=[dg.AssetKey(a) for a in assets] or None,
            raise_on_error=False,
        )

    def succeed(
        self,
        job: str,
        *,
        month: str | None = None,
        months: tuple[str, str] | None = None,
        assets: tuple[str, ...] = (),
    ) -> dg.ExecuteInProcessResult:
        """Run a job that has to succeed."""
        result = self.run(job, month=month, months=months, assets=assets)
        assert result.success, [e.message for e in result.all_node_events if e.is_failure]
        return result

    def lake(self) -> Lake:
        return LakeResource().open()

    def workspace(self) -> Workspace:
        """What the steps see of it."""
        return Workspace(self.lake(), Artifacts(self.home), DEFAULT_CALENDAR)

    def materialized(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def checks(self, asset: str, name: str, month: str) -> list[str]:
        """Statuses of a check for one month, the newest first."""
        records = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(asset), name), limit=500
        )
        return [r.status.value for r in records if r.partition == month]


@contextmanager
def surroundings(home: Path) -> Iterator[None]:
    """Environment variables of a simulated data set of six symbols, and a direction study of a few trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADEML_HOME", str(home))
        patch.setenv("TRADEML_SYMBOLS", SYMBOLS)
        # Test processes share the cores.
        patch.setenv("TRADEML_THREADS", "1")
        patch.delenv("TRADEML_SOURCE", raising=False)
        patch.setitem(studies.STUDIES, "direction", small_direction())
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a data set and of its instance: fifteen months, two folds, their report and the first champion.

    The first worker that needs them makes them for all.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home, storage, done = (folder / f"made_once_{name}" for name in ("home", "storage", "done"))
    with FileLock(folder / "made_once.lock"):
        if not done.exists():
            make_once(home, storage)
            done.touch()
    return home, storage


def make_once(home: Path, storage: Path) -> None:
    for made in (home, storage):
        # What a worker that died has left.
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
    with dg.DagsterInstance.local_temp(str(storage)) as instance, surroundings(home):
        made = Workplace(home, instance, build_definitions())
        made.succeed("prepare_direction", months=(FIRST, LAST))
        made.succeed("fold_direction", month="2014-02-01")
        made.succeed("fold_direction", month=LAST)
        made.succeed("write_report_direction", month=LAST)
        made.succeed("month_direction", month=LAST, assets=("champion_direction",))


@pytest.fixture(scope="module")
def workplace(made_once: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A copy of what was made once, for the tests of one module alone."""
    folder = tmp_path_factory.mktemp("workplace")
    home, storage = (shutil.copytree(made, folder / made.name) for made in made_once)
    with dg.DagsterInstance.local_temp(str(storage)) as instance, surroundings(home):
        yield Workplace(home, instance, build_definitions())


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases of an instance in which nothing happened, to be copied: Dagster takes seconds to make them."""
    folder = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs(limit=1)
        instance.event_log_storage.get_asset_records()
    return folder


@pytest.fixture
def written_down(workplace: Workplace) -> Iterator[Workplace]:
    """The workplace as a data set that commands find: its other tests have all of it in the environment."""
    DataSet(home=workplace.home, symbols=SYMBOLS).make({})
    yield workplace
    (workplace.home / FILE).unlink()
