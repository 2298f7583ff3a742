"""The one partition dimension, months, and every mapping between assets.

A month key is `YYYY-MM-01`. Symbols are rows, never partitions. Every mapping looks back only: a partition
of month M reads months <= M, and a model of month M reads months < M. The history a user has decides where months
begin, and where they end if it does.
"""

import dagster as dg

from trademl_pipeline import settings as stated
from trademl_pipeline.data_sets import recorded_span
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.pipeline.lookback import SAME_MONTH, Lookback


def months_of(settings: stated.Settings) -> dg.MonthlyPartitionsDefinition:
    """The months of a data set, and the one after them: its fold is trained before its first session."""
    first, last = recorded_span(settings)
    # A month is closed when the next has begun, so that the last key is that of the month before the end.
    end = offset_month(last, 2) if last else None
    return dg.MonthlyPartitionsDefinition(start_date=first, end_date=end, end_offset=1)


MONTHS = months_of(stated.current())

# Forty years; each month of look-back costs Dagster a look at its calendar.
ALL_HISTORY = 480


def single_run_policy(turn: int) -> dg.BackfillPolicy:
    """All months of a backfill in one run, each audited.

    The daemon puts assets of equal policies that follow one another into the same run, where a step that refused one
    month would keep the steps behind it from all others. So each asset takes another turn than those that it reads:
    limits beyond what any history holds are the same policy under different names.
    """
    if turn == 0:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=ALL_HISTORY + turn - 1)


# Bars, and the windows into what is made of them; what is computed of bars and references; references.
SINGLE_RUN = single_run_policy(0)
SINGLE_RUN_OF_DERIVED = single_run_policy(1)
SINGLE_RUN_OF_REFERENCES = single_run_policy(2)
RUN_PER_MONTH = dg.BackfillPolicy.multi_run(1)


def mapping_of(lookback: Lookback) -> dg.PartitionMapping:
    """Return the mapping by which month M reads the months of an input that its lookback says."""
    if lookback == SAME_MONTH:
        return dg.IdentityPartitionMapping()
    return dg.TimeWindowPartitionMapping(
        start_offset=-ALL_HISTORY if lookback.first is None else lookback.first,
        end_offset=lookback.last,
        allow_nonexistent_upstream_partitions=True,
    )
