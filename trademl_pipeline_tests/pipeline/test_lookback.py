"""Which months a month reads: never a later one, and the same ones as Dagster's mapping says."""

import dagster as dg
import pytest

from trademl_pipeline.defs.partitions import mapping_of
from trademl_pipeline.market.calendar import month_range, month_sessions, offset_month
from trademl_pipeline.pipeline.lookback import (
    ALL_BEFORE,
    ALL_UNTIL,
    MIN_SESSIONS_A_MONTH,
    SAME_MONTH,
    Lookback,
    months_back,
    sessions_back,
)

FIRST, LAST = "2014-01-01", "2016-12-01"
MONTHS = dg.MonthlyPartitionsDefinition(start_date=FIRST, end_date="2017-01-01")
LOOKBACKS = (SAME_MONTH, ALL_BEFORE, ALL_UNTIL, Lookback(-3), Lookback(-6, -2), sessions_back(60))


@pytest.mark.parametrize(("first", "last"), [(0, 1), (None, 1), (1, 1), (-1, -2), (0, -1)])
def test_a_lookback_that_looks_ahead_or_ends_before_it_begins_is_refused(
    first: int | None, last: int
) -> None:
    with pytest.raises(ValueError, match=f"from {first} to {last} months does not look back"):
        Lookback(first, last)


@pytest.mark.parametrize(("sessions", "months"), [(0, 0), (1, 1), (15, 1), (16, 2), (252, 17)])
def test_sessions_are_rounded_up_to_months_that_surely_hold_them(sessions: int, months: int) -> None:
    assert months_back(sessions) == months
    assert sessions_back(sessions) == Lookback(-months)


def test_no_month_since_1990_has_had_fewer_sessions() -> None:
    counts = {month: len(month_sessions(month)) for month in month_range("1990-01-01", "2024-12-01")}
    assert min(counts.values()) == counts["2001-09-01"] == MIN_SESSIONS_A_MONTH


def read(lookback: Lookback, month: str) -> list[str]:
    """The months of the partitions that a lookback means."""
    first = FIRST if lookback.first is None else max(FIRST, offset_month(month, lookback.first))
    last = offset_month(month, lookback.last)
    return month_range(first, last) if first <= last else []


@pytest.mark.parametrize("lookback", LOOKBACKS, ids=str)
@pytest.mark.parametrize("month", [FIRST, "2014-03-01", "2016-06-01", LAST])
def test_the_mapping_of_a_lookback_reads_its_months(lookback: Lookback, month: str) -> None:
    wanted = MONTHS.subset_with_partition_keys([month])
    found = mapping_of(lookback).get_upstream_mapped_partitions_result_for_partitions(wanted, MONTHS, MONTHS)
    assert sorted(found.partitions_subset.get_partition_keys()) == read(lookback, month)
