"""Resources: the lake, the bars, the tracker, the data set's settings and the folder for reports.

Their values are those of the settings (see docs/architecture.md) when the definitions load, so that the Launchpad shows
what is in force and takes another value for one run. What does the work knows no Dagster and lies in `pipeline/`,
`registry/` and `lake/`.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from trademl_pipeline import settings as stated
from trademl_pipeline.defs.bars import bars_resource
from trademl_pipeline.defs.quality import quality_resource
from trademl_pipeline.defs.references import reference_resource
from trademl_pipeline.defs.universes import universe_resource
from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.stores import open_lake
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.registry.tracking import Tracker


class DataSetResource(dg.ConfigurableResource):
    """Settings of all that is computed in a data set; see `trademl config`."""

    calendar: str = Field(default="XNYS", description="exchange calendar that everything counts sessions on")
    size: str = Field(
        default="", description="size of the models, such as small or base; empty: the study's first"
    )
    refit: str = Field(
        default="", description="month or quarter: how often models are trained; empty: as the study says"
    )
    epochs: int = Field(default=0, description="epochs of every network; 0: as the preset says")
    threads: int = Field(default=0, description="threads of each training library; 0: all cores")
    fetch: str = Field(default="", description="missing: fetch only what the lake lacks; empty: everything")
    commission: float = Field(default=0.001, description="share of the traded value, each side")
    slippage: float = Field(default=0.001, description="share of the traded value, each side")
    participation: float = Field(
        default=0.05, description="largest share of a session's volume that one fill may take"
    )

    def costs(self) -> Costs:
        """Return what trading costs."""
        return Costs(self.commission, self.slippage, self.participation)


class LakeResource(dg.ConfigurableResource):
    """The lake of this data set.

    `catalog` and `data_path` left empty mean what the settings say: by default SQLite and Parquet files in the data
    set's folder; `postgres:<dsn>` and `s3://bucket/prefix` outgrow it.
    """

    catalog: str = Field(default="", description="sqlite:<file> or postgres:<libpq dsn>")
    data_path: str = Field(default="", description="local folder or s3://bucket/prefix")

    def open(self) -> Lake:
        """Return a handle on the lake, the same one for a configuration; each operation connects on its own."""
        return open_lake(stated.current(), catalog=self.catalog, data_path=self.data_path)


class GateResource(dg.ConfigurableResource):
    """How hard the gate samples within one month, and what follows a refusal."""

    cutoffs: int = Field(default=2, description="as-of sessions drawn per month and probe")
    seed: int = Field(default=0, description="seed of the draw")
    keep_going: bool = Field(
        default=False, description="go on with a table's other months after one that the gate refused"
    )

    def plain(self) -> Sample:
        """Return the values without Dagster."""
        return Sample(self.cutoffs, self.seed)


class TrackingResource(dg.ConfigurableResource):
    """MLflow tracking: one run per (asset, partition), closed as FINISHED or FAILED as it ended."""

    uri: str = Field(default="", description="MLflow tracking URI; empty: SQLite in the data set's folder")
    experiment: str = Field(default="trademl", description="prefix of the experiment names")

    def open(self) -> Tracker:
        """Return the tracker as code that knows no Dagster takes it."""
        return Tracker(stated.current().home, self.uri, self.experiment)


def resources() -> dict[str, Any]:
    """Return all resources, as the settings say now."""
    settings = stated.current()
    return {
        "data_set": DataSetResource(
            calendar=settings.calendar,
            size=settings.training.size,
            refit=settings.training.refit,
            epochs=settings.training.epochs,
            threads=settings.training.threads,
            fetch=settings.ingest.fetch,
            commission=settings.costs.commission,
            slippage=settings.costs.slippage,
            participation=settings.costs.participation,
        ),
        # Empty fields are filled from the settings when the lake is opened: a connection string may hold a password.
        "lake": LakeResource(),
        "bars": bars_resource(),
        "references": reference_resource(),
        "quality": quality_resource(),
        "universe": universe_resource(),
        "gate": GateResource(
            cutoffs=settings.gate.cutoffs, seed=settings.gate.seed, keep_going=settings.gate.keep_going
        ),
        "tracking": TrackingResource(uri=_uri(settings), experiment=settings.tracking.experiment),
    }


def _uri(settings: stated.Settings) -> Any:
    """The tracking server's address; one with a password in it stays the name of its variable."""
    uri = settings.tracking.uri
    where = stated.origin("tracking.uri", settings)
    return dg.EnvVar(where.where) if where.kind == "environment" and stated.hidden(uri) != uri else uri


def definitions() -> dg.Definitions:
    """The resources, and how runs are executed."""
    return dg.Definitions(
        resources=resources(),
        # A run is a process of its own, and its steps follow one another: a process for each step would cost two
        # seconds a step and give nothing. Folds run in parallel as runs.
        executor=dg.in_process_executor,
    )
