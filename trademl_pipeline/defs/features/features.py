"""Feature sets, one asset for each."""

from functools import partial

import dagster as dg

from trademl_pipeline.defs.partitions import SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.pipeline.features import feature_stage


def definitions() -> dg.Definitions:
    """Every feature set."""
    return definitions_of(
        part
        for name in FEATURE_SETS
        for part in stage_assets(partial(feature_stage, name), SINGLE_RUN_OF_DERIVED)
    )
