"""The one partition dimension, months, and every mapping between assets.

A month key is `YYYY-MM-01`. Symbols are rows, never partitions. Every mapping looks back only: a partition
of month M reads months <= M, and a model of month M reads months < M. `first_month` is read from
`TRADEML_START` because the history a user has decides where it begins.
"""

import os

import dagster as dg

from trademl_pipeline.pipeline.lookback import SAME_MONTH, Lookback

FIRST_MONTH = os.environ.get("TRADEML_START", "2007-01-01")
# The month that has begun is there too: its fold is trained before its first session.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1)

# Forty years; each month of look-back costs Dagster a look at its calendar.
ALL_HISTORY = 480


def one_run(turn: int) -> dg.BackfillPolicy:
    """All months of a backfill in one run, each audited.

    The daemon puts assets of equal policies that follow one another into the same run, where a step that refused one
    month would keep the steps behind it from all others. So each asset takes another turn than those that it reads:
    limits beyond what any history holds are the same policy under different names.
    """
    if turn == 0:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=ALL_HISTORY + turn - 1)


# Bars, and the windows into what is made of them; what is computed of bars and references; references.
ONE_RUN = one_run(0)
ONE_RUN_APART = one_run(1)
ONE_RUN_BESIDE = one_run(2)
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
