"""Targets, one asset for each."""

from functools import partial

import dagster as dg

from trademl_pipeline.defs.partitions import SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.pipeline.labels import label_stage


def definitions() -> dg.Definitions:
    """Every target."""
    return definitions_of(
        part
        for target in TARGETS.values()
        for part in stage_assets(partial(label_stage, target), SINGLE_RUN_OF_DERIVED)
    )
