"""The one partition dimension, months, and every mapping between assets.

A month key is `YYYY-MM-01`. Symbols are rows, never partitions. Every mapping looks back only: a partition
of month M reads months <= M, and a model of month M reads months < M. `first_month` is read from
`TRADEML_START` because the history a user has decides where it begins.
"""

import math
import os

import dagster as dg

FIRST_MONTH = os.environ.get("TRADEML_START", "2007-01-01")
# The month that has begun is there too: its fold is trained before its first session.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1)

# The fewest sessions a calendar month of XNYS has had since 1990 is 15 (September 2001); one month more
# covers a look-back that begins inside a month.
FEWEST_SESSIONS_A_MONTH = 15
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


def months_back(sessions: int) -> int:
    """Calendar months that surely hold `sessions` sessions before the first day of a month."""
    return math.ceil(sessions / FEWEST_SESSIONS_A_MONTH)


def same_month() -> dg.PartitionMapping:
    """Month M reads month M."""
    return dg.IdentityPartitionMapping()


def trailing(months: int) -> dg.PartitionMapping:
    """Month M reads months M - `months` to M."""
    return dg.TimeWindowPartitionMapping(
        start_offset=-months, end_offset=0, allow_nonexistent_upstream_partitions=True
    )


def earlier(months: int = ALL_HISTORY) -> dg.PartitionMapping:
    """Month M reads up to `months` months that end with M - 1: what a model may learn from."""
    return dg.TimeWindowPartitionMapping(
        start_offset=-months, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )


def until(months: int = ALL_HISTORY) -> dg.PartitionMapping:
    """Month M reads all months up to and including M: what a report may show."""
    return trailing(months)
