"""Input windows, one asset for each study."""

from functools import partial

import dagster as dg

from trademl_pipeline.defs.partitions import SINGLE_RUN
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline.sequences import sequence_stage
from trademl_pipeline.studies import STUDIES


def definitions() -> dg.Definitions:
    """The windows of every study."""
    return definitions_of(
        part
        for study in STUDIES.values()
        for part in stage_assets(partial(sequence_stage, study), SINGLE_RUN)
    )
