"""Fixtures and options shared by all test folders."""

import os
import random
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, settings

from trademl_pipeline.simulation import SimulatedMarket

REPOSITORY = Path(__file__).resolve().parents[1]

# How long an example takes says how busy the machine is, not whether the code is right. The same examples come in
# each run; `--hypothesis-profile explore` draws new ones.
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run the tests marked nightly too, minutes each")
    parser.addoption(
        "--shuffle", metavar="SEED", help="run modules, and the tests within each, in an order drawn by SEED"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("nightly") and not item.config.getoption("--nightly"):
        pytest.skip("minutes long: run with --nightly")


def pytest_configure(config: pytest.Config) -> None:
    """Have no test see the data set of the repository, which `make run` leaves: definitions end where its bars end."""
    os.environ.setdefault("TRADEML_HOME", str(Path(tempfile.mkdtemp(prefix="trademl-tests-")) / "none"))


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--shuffle")
    return f"order drawn by --shuffle {seed}" if seed is not None else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order modules, before pytest groups the tests by their parametrized fixtures of a wider scope.

    The longest come first, so that no worker is left with one of them at the end; `--shuffle` draws an order.
    """
    seed = config.getoption("--shuffle")
    if seed is None:
        items.sort(key=_how_soon)
        return

    def place(node: pytest.Item | pytest.Collector | None) -> float:
        return random.Random(f"{seed}:{node.nodeid}").random() if node else 0.0

    items.sort(
        key=lambda item: (
            place(item.getparent(pytest.Module)),
            place(item.getparent(pytest.Class)),
            place(item),
        )
    )


def _how_soon(item: pytest.Item) -> int:
    module = item.getparent(pytest.Module)
    marks = {mark.name for mark in module.iter_markers()} if module else set[str]()
    return 0 if "e2e" in marks else 1 if "slow" in marks else 2


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real market data, outside the repository; TRADEML_REAL_DATA names another one."""
    folder = Path(os.environ.get("TRADEML_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").exists():
        pytest.skip(f"no real market data at {folder}; set TRADEML_REAL_DATA to the folder with SOURCES.md")
    return folder


@pytest.fixture(scope="session")
def small_market_source() -> SimulatedMarket:
    """A simulated market of 12 symbols over four years; its history is simulated once for the whole run."""
    return SimulatedMarket(seed=11, n_symbols=12, epoch=date(2014, 1, 2), end=date(2017, 12, 29))


@pytest.fixture(scope="session")
def small_market(small_market_source: SimulatedMarket) -> pl.DataFrame:
    """All bars of the small market, in the columns that a source returns, sorted by (symbol, session)."""
    return small_market_source.bars


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """Commands run in this process put the settings of their data set into its environment; no later test sees them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_instance_of_an_earlier_test():
    """Dagster remembers the storage of the instance entered last, also after that instance is gone."""
    from dagster._core.errors import DagsterInvariantViolationError
    from dagster._core.storage.defs_state import base

    remembered = base._current_storage.get()
    if remembered is not None:
        try:
            _ = remembered._instance
        except DagsterInvariantViolationError:
            base._current_storage.set(None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Where services are promised (TRADEML_REQUIRE_SERVICES), a test that skips for lack of one has failed."""
    outcome = yield
    report = outcome.get_result()
    promised = os.environ.get("TRADEML_REQUIRE_SERVICES")
    if promised and report.skipped and item.get_closest_marker("services"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} needs a service that is promised here: {reason}"
