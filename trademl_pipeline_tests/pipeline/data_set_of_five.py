"""A data set with a fold of every study: eight simulated symbols, two years of months, models of a second."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trademl_pipeline import settings, studies
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline import cold
from trademl_pipeline.pipeline.catalog import fold_assets, generations, input_assets, opened
from trademl_pipeline.pipeline.months import RunInfo, work_off
from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline_tests.cold_start import cold_start
from trademl_pipeline_tests.pipeline.plants import Ground
from trademl_pipeline_tests.small import small_studies

# Patterns of three symbols are active in the month, and those of the year before have their outcomes.
FIRST, MONTH = "2010-12-01", "2012-11-01"
# By which all that was decided in the month has its outcome.
AS_OF = "2013-05-01"
RUN = RunInfo("built", datetime(2026, 1, 1, tzinfo=UTC), logging.getLogger(__name__))
PLANT = """
from trademl_pipeline_tests.pipeline import plants
plants.plant({name!r}, setattr, plants.Ground.of({ground!r}))
"""


def cold_command(name: str = "", ground: Ground | None = None) -> tuple[str, ...]:
    """Return what runs a cold process of the small studies, with a plant in its code."""
    plant = PLANT.format(name=name, ground=ground.to_json()) if ground else ""
    return cold_start("small.small_studies()", plant)


@dataclass(frozen=True)
class FiveStudies:
    """The data set, and what came of every decision in a file outside it."""

    site: Site
    file: Path

    @property
    def workspace(self) -> Workspace:
        return self.site.workspace

    def ground(self, study: StudySpec) -> Ground:
        """What a plant may try to reach: the outcomes of a study's decisions lie in files, here and in the data set."""
        outcomes = self.workspace.lake.read(study.labels).select("symbol", "session", "forward_return")
        reports = self.site.settings.home / "reports"
        reports.mkdir(exist_ok=True)
        for file in (self.file, reports / "outcomes.parquet"):
            outcomes.write_parquet(file)
        return Ground(study.name, str(self.site.settings.home), str(self.file))

    def make(self, asset: str, month: str = MONTH) -> MonthDone | MonthRefused:
        """Make a month of an asset by its step."""
        with opened(asset, self.site, RUN, [month], self.site.train_options()) as body:
            (event,) = work_off(asset, [month], body, RUN.log)
        return event

    def made(self, *assets: str) -> None:
        """Make months of assets, none of which may be refused."""
        for asset in assets:
            event = self.make(asset)
            assert isinstance(event, MonthDone), event


@contextmanager
def five_small_studies() -> Iterator[None]:
    """Have the five studies be small ones, here and in cold processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, study in small_studies().items():
            patch.setitem(studies.STUDIES, name, study)
        patch.setattr(cold, "COMMAND", cold_command())
        yield


def build(home: Path) -> Site:
    """Make all inputs, and a fold of every study."""
    site = Site(settings.load(home, {"data.symbols": "8", "training.threads": 1}, {}))
    everything = list(studies.STUDIES.values())
    inputs = list(dict.fromkeys(asset for study in everything for asset in input_assets(study)))
    outcomes = {RAW_BARS.name, *(study.labels.name for study in everything)}
    for asset in (asset for group in generations(inputs) for asset in group):
        months = month_range(FIRST, AS_OF if asset in outcomes else MONTH)
        with opened(asset, site, RUN, months, site.train_options()) as body:
            events = work_off(asset, months, body, RUN.log)
        assert all(isinstance(event, MonthDone) for event in events), events
    for study in everything:
        for asset in fold_assets(study):
            with opened(asset, site, RUN, [MONTH], site.train_options()) as body:
                (event,) = work_off(asset, [MONTH], body, RUN.log)
            assert isinstance(event, MonthDone), event
    return site
