"""The data set of a Dagster run as the steps of the pipeline see it."""

from collections.abc import Iterable

import dagster as dg

from trademl_pipeline.defs.calendars import data_calendar
from trademl_pipeline.defs.resources import LakeResource, home
from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.workspace import Workspace


def workspace_of(lake: LakeResource) -> Workspace:
    """Return the workspace of a run."""
    return workspace(lake.open())


def workspace(store: Lake) -> Workspace:
    """Return the workspace of an open lake."""
    return Workspace(store, Artifacts(home()), data_calendar())


def definitions_of(parts: Iterable[dg.AssetsDefinition | dg.AssetChecksDefinition]) -> dg.Definitions:
    """Return assets and checks as definitions."""
    every = list(parts)
    return dg.Definitions(
        assets=[part for part in every if not isinstance(part, dg.AssetChecksDefinition)],
        asset_checks=[part for part in every if isinstance(part, dg.AssetChecksDefinition)],
    )
