"""What a data set's steps are given is what its settings say."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from trademl_pipeline import settings
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.settings import SettingsError
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables.bar_tables import DAILY


@pytest.fixture
def site(tmp_path: Path):
    def made(**values: Any) -> Site:
        return Site(settings.load(tmp_path, {k.replace("__", "."): v for k, v in values.items()}, {}))

    return made


def test_everything_lies_in_the_folder_of_the_data_set(site, tmp_path: Path):
    made = site()
    assert made.artifacts.home == made.workspace.artifacts.home == tmp_path
    assert made.tracker.home == tmp_path
    assert made.workspace.lake is made.lake
    assert site().lake is made.lake, "one handle a process"
    assert made.lake.tables() == []


def test_the_calendar_reaches_the_steps(site):
    made = site(data__calendar="24/7")
    assert made.calendar == made.workspace.calendar == "24/7"
    assert site().calendar == "XNYS"


def test_the_gate_the_costs_and_the_tracker_are_as_said(site):
    made = site(
        gate__cutoffs=3,
        gate__seed=5,
        costs__commission=0.0005,
        costs__slippage=0.0,
        costs__participation=0.1,
        tracking__experiment="mine",
    )
    assert (made.sample.cutoffs, made.sample.seed) == (3, 5)
    assert made.costs == Costs(0.0005, 0.0, 0.1)
    assert made.tracker.experiment == "mine"


@pytest.mark.parametrize(("said", "expected"), [("", False), ("missing", True)])
def test_only_what_is_missing_is_fetched_where_that_is_said(site, said: str, expected: bool):
    assert site(ingest__fetch=said).only_missing is expected


def test_the_simulated_market_is_there_for_simulated_bars_alone(site, tmp_path: Path):
    made = site(data__symbols="4", data__start="2013-01-01")
    assert isinstance(made.simulated_market, SimulatedMarket)
    source = made.source(DAILY)
    assert len(source.symbols()) == 4
    assert source.fetch(None, date(2013, 1, 2), date(2013, 1, 31))["symbol"].n_unique() == 4
    with pytest.raises(SettingsError, match="none of 1h"):
        made.source("1h")
    vendor = site(data__source="binance", data__symbols="BTCUSDT", data__start="2021-01-01")
    assert vendor.simulated_market is None


def test_training_is_asked_what_the_settings_say_and_what_the_run_adds(site):
    made = site(training__size="base", training__epochs=3, training__refit="quarter", training__threads=2)
    assert made.train_options() == TrainOptions(size="base", epochs=3, refit="quarter", threads=2)
    assert made.train_options(size="small", symbols="5") == TrainOptions(
        size="small", epochs=3, symbols="5", refit="quarter", threads=2
    )
    assert site().train_options() == TrainOptions()
