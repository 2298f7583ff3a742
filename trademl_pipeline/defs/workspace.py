"""The data set of a Dagster run as the steps of the pipeline see it."""

from collections.abc import Iterable

import dagster as dg

from trademl_pipeline import settings
from trademl_pipeline.defs.resources import DataSetResource, LakeResource
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.workspace import Workspace


def workspace_of(lake: LakeResource, data_set: DataSetResource) -> Workspace:
    """Return the workspace of a run."""
    return Workspace(lake.open(), Artifacts(settings.current().home), data_set.calendar)


def definitions_of(parts: Iterable[dg.AssetsDefinition | dg.AssetChecksDefinition]) -> dg.Definitions:
    """Return assets and checks as definitions."""
    every = list(parts)
    return dg.Definitions(
        assets=[part for part in every if not isinstance(part, dg.AssetChecksDefinition)],
        asset_checks=[part for part in every if isinstance(part, dg.AssetChecksDefinition)],
    )
