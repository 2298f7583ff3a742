"""Resources: the lake, the bars, the tracker and the folder for reports. All values come from the environment,
which the Makefile and the CLI set (see docs/architecture.md for the list)."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from trademl_pipeline.defs.bars import bars_resource
from trademl_pipeline.defs.quality import quality_resource
from trademl_pipeline.defs.references import reference_resource
from trademl_pipeline.defs.universes import universe_resource
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.registry.tracking import Tracker

if TYPE_CHECKING:
    pass


DEFAULT_HOME = "data/simulated"


def home() -> Path:
    """Folder that holds the state of one data set: `TRADEML_HOME`, or the simulated market's."""
    return Path(os.environ.get("TRADEML_HOME", DEFAULT_HOME)).resolve()


class LakeResource(dg.ConfigurableResource):
    """The lake of this data set.

    `catalog` and `data_path` left empty mean the embedded default under `TRADEML_HOME`; set
    `TRADEML_LAKE_CATALOG=postgres:<dsn>` and `TRADEML_LAKE_DATA=s3://bucket/prefix` to outgrow it.
    """

    catalog: str = Field(default="", description="sqlite:<file> or postgres:<libpq dsn>")
    data_path: str = Field(default="", description="local folder or s3://bucket/prefix")

    def open(self) -> Lake:
        """A handle on the lake, the same one for a configuration; each operation connects on its own."""
        environment = dict(os.environ)
        if self.catalog:
            environment["TRADEML_LAKE_CATALOG"] = self.catalog
        if self.data_path:
            environment["TRADEML_LAKE_DATA"] = self.data_path
        return _lake(LakeConfig.from_env(home(), environment))


@lru_cache(maxsize=8)
def _lake(config: LakeConfig) -> Lake:
    # What a lake has looked up of its catalog holds for all steps of a run; looking it up costs more than a month.
    return Lake(config)


class GateResource(dg.ConfigurableResource):
    """How hard the gate samples within one month."""

    cutoffs: int = Field(default=2, description="as-of sessions drawn per month and probe")
    seed: int = Field(default=0, description="seed of the draw")

    def plain(self) -> Sample:
        """Return the values without Dagster."""
        return Sample(self.cutoffs, self.seed)


class TrackingResource(dg.ConfigurableResource):
    """MLflow tracking: one run per (asset, partition), closed as FINISHED or FAILED as it ended.

    The client is used with explicit run ids: MLflow's fluent API keeps one active run per process, which
    merges partitions that run in one process.
    """

    uri: str = Field(default="", description="MLflow tracking URI; empty: SQLite under TRADEML_HOME/mlflow")
    experiment: str = Field(default="trademl", description="prefix of the experiment names")

    def plain(self) -> Tracker:
        """Return the tracker."""
        return Tracker(home(), self.uri, self.experiment)


def resources() -> dict[str, Any]:
    """All resources, bound to the environment at run time."""

    def from_env(name: str, default: str) -> Any:
        # dg.EnvVar raises on a name that is not set; an unset one means the default here.
        return dg.EnvVar(name) if name in os.environ else default

    return {
        "lake": LakeResource(),
        "bars": bars_resource(),
        "references": reference_resource(),
        "quality": quality_resource(),
        "universe": universe_resource(),
        "gate": GateResource(),
        "tracking": TrackingResource(uri=from_env("TRADEML_MLFLOW_URI", "")),
    }


def definitions() -> dg.Definitions:
    """The resources, and how runs are executed."""
    return dg.Definitions(
        resources=resources(),
        # A run is a process of its own, and its steps follow one another: a process for each step would cost two
        # seconds a step and give nothing. Folds run in parallel as runs.
        executor=dg.in_process_executor,
    )
