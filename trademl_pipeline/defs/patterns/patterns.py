"""Consolidation patterns: one row for each session on which one is active."""

import dagster as dg

from trademl_pipeline.defs.partitions import SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline.patterns import pattern_stage


def definitions() -> dg.Definitions:
    """The table of patterns."""
    return definitions_of(stage_assets(pattern_stage, SINGLE_RUN_OF_DERIVED))
