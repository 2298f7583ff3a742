"""Consolidation patterns: one row for each session on which one is active."""

import dagster as dg

from trademl_pipeline.defs.partitions import ONE_RUN_APART
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline.patterns import pattern_stage


def definitions() -> dg.Definitions:
    """The table of patterns."""
    return definitions_of(stage_assets(pattern_stage, ONE_RUN_APART))
