"""A data set as its steps use it: opened once a process, as the settings say."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from trademl_pipeline.lake import Lake
from trademl_pipeline.market.references import ReferenceMarket
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.costs import costs_of
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.raw_bars import MISSING
from trademl_pipeline.pipeline.references import References
from trademl_pipeline.pipeline.sources import BarsFrom, open_source, simulated_market
from trademl_pipeline.pipeline.stores import open_lake
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.pipeline.universe import Universe
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.settings import Settings

if TYPE_CHECKING:
    from trademl_pipeline.market.sources import BarSource


@dataclass(frozen=True)
class Site:
    """A data set, opened as its settings say.

    Attributes:
        settings: of the data set.
    """

    settings: Settings

    @property
    def calendar(self) -> str:
        """The calendar on which sessions are counted."""
        return self.settings.calendar

    @property
    def lake(self) -> Lake:
        """The tables; the same handle for all steps of a process."""
        return open_lake(self.settings)

    @property
    def artifacts(self) -> Artifacts:
        """The files."""
        return Artifacts(self.settings.home)

    @property
    def workspace(self) -> Workspace:
        """The data set as the steps of a fold see it."""
        return Workspace(self.lake, self.artifacts, self.calendar)

    @property
    def tracker(self) -> Tracker:
        """The tracker of folds and reports."""
        tracking = self.settings.tracking
        return Tracker(self.settings.home, tracking.uri, tracking.experiment)

    @property
    def sample(self) -> Sample:
        """How hard the gate looks."""
        return Sample(self.settings.gate.cutoffs, self.settings.gate.seed)

    @property
    def costs(self) -> Costs:
        """Costs of trading."""
        return costs_of(self.settings)

    @property
    def only_missing(self) -> bool:
        """True: fetch what the lake lacks, not whole months."""
        return self.settings.ingest.fetch == MISSING

    @cached_property
    def universe(self) -> Universe:
        """Whom one may decide on."""
        return Universe.of(self.settings)

    @cached_property
    def references(self) -> References:
        """The series that symbols are compared with."""
        return References.of(self.settings)

    @cached_property
    def quality(self) -> Quality:
        """Rules of the quality checks."""
        return Quality.of(self.settings)

    @property
    def simulated_market(self) -> ReferenceMarket | None:
        """The market behind simulated bars; None for other sources."""
        return simulated_market(BarsFrom.of(self.settings))

    def source(self, timeframe: str) -> "BarSource":
        """Return the source of bars of one time frame.

        Raises:
            SettingsError: a setting makes no sense.
            MarketError: a vendor's key or package is missing, or the universe cannot be read.
        """
        return open_source(self.settings, timeframe)

    def train_options(self, **others: str | int | bool) -> TrainOptions:
        """Return what the settings say of training, with what a run asks beside it."""
        training = self.settings.training
        options = TrainOptions(
            size=training.size, epochs=training.epochs, refit=training.refit, threads=training.threads
        )
        return replace(options, **others)
