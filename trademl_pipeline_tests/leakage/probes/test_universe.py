from datetime import date, timedelta

import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_universe
from trademl_pipeline.market.calendar import sessions

DAYS = sessions(date(2018, 1, 2), date(2019, 12, 31))[::21]
NAMES = [f"S{i:02d}" for i in range(40)]
MEMBERSHIP_INTERVALS = pl.DataFrame(
    {
        "symbol": NAMES,
        "start_date": [date(2010, 1, 1)] * 30 + [date(2019, 1, 2)] * 10,
        "end_date": [None] * 15 + [date(2018, 11, 1)] * 15 + [None] * 10,
    },
    schema_overrides={"end_date": pl.Date},
)
EVERY = pl.DataFrame({"symbol": NAMES}).join(pl.DataFrame({"session": DAYS}), how="cross")
MEMBERS = (
    EVERY.join(MEMBERSHIP_INTERVALS, on="symbol")
    .filter(
        (pl.col("start_date") <= pl.col("session"))
        & (pl.col("end_date").is_null() | (pl.col("session") < pl.col("end_date")))
    )
    .select("symbol", "session")
)
TODAY = MEMBERSHIP_INTERVALS.filter(pl.col("end_date").is_null())["symbol"]


def test_the_members_of_each_day_pass():
    report = audit_universe(MEMBERS, EVERY, MEMBERSHIP_INTERVALS)
    report.assert_clean()
    assert report.coverage["universe"]["share_with_prices_left"] == 1.0


def test_todays_members_projected_back_are_refused():
    projected = EVERY.filter(pl.col("symbol").is_in(TODAY.to_list()))
    report = audit_universe(projected, EVERY, MEMBERSHIP_INTERVALS)
    details = " ".join(v.detail for v in report.violations)
    assert "becomes one on 2019-01-02" in details
    assert "15 left the index later" in details


def test_members_that_were_dropped_for_leaving_are_missed():
    survivors = MEMBERS.filter(pl.col("symbol").is_in(TODAY.to_list()))
    (violation,) = audit_universe(survivors, EVERY, MEMBERSHIP_INTERVALS).violations
    assert "15 symbols, of which 15 left" in violation.detail


def test_a_chosen_part_of_the_universe_need_not_be_complete():
    part = MEMBERS.filter(pl.col("symbol").is_in(NAMES[::2]))
    assert not audit_universe(part, EVERY, MEMBERSHIP_INTERVALS).passed
    audit_universe(part, EVERY, MEMBERSHIP_INTERVALS, complete=False).assert_clean()


def test_a_member_who_left_yesterday_is_a_stranger():
    last = max(d for d in DAYS if d < date(2018, 11, 1))
    after = min(d for d in DAYS if d > date(2018, 11, 1))
    extra = pl.DataFrame({"symbol": ["S20"], "session": [after]})
    (violation,) = audit_universe(pl.concat([MEMBERS, extra]), EVERY, MEMBERSHIP_INTERVALS).violations
    assert (violation.symbol, violation.first_leak, violation.count) == ("S20", after, 1)
    assert audit_universe(MEMBERS.filter(pl.col("session") <= last), EVERY, MEMBERSHIP_INTERVALS).passed


def test_an_addition_counts_from_the_day_it_was_known():
    known = MEMBERSHIP_INTERVALS.with_columns(
        known_date=pl.when(pl.col("start_date") > date(2018, 1, 1)).then(date(2019, 3, 1))
    )
    report = audit_universe(
        MEMBERS, EVERY, known.with_columns(pl.col("known_date").fill_null(pl.col("start_date")))
    )
    assert "becomes one on 2019-03-01" in report.violations[0].detail


def test_prices_kept_for_survivors_only_are_an_alarm():
    kept = EVERY.filter(pl.col("symbol").is_in(TODAY.to_list()))
    members = MEMBERS.filter(pl.col("symbol").is_in(TODAY.to_list()))
    (violation,) = audit_universe(members, kept, MEMBERSHIP_INTERVALS).violations
    assert violation.column == "prices"
    assert "0% of the 15 that left" in violation.detail


def test_prices_that_are_missing_evenly_are_no_alarm():
    kept = EVERY.filter(pl.col("symbol").is_in(NAMES[::2]))
    members = MEMBERS.filter(pl.col("symbol").is_in(NAMES[::2]))
    report = audit_universe(members, kept, MEMBERSHIP_INTERVALS)
    report.assert_clean()
    assert report.coverage["universe"]["share_with_prices_stayed"] < 0.6


@pytest.mark.parametrize(
    ("members", "prices", "membership_intervals", "message"),
    [
        (MEMBERS.clear(), EVERY, MEMBERSHIP_INTERVALS, "no members"),
        (MEMBERS, EVERY.drop("session"), MEMBERSHIP_INTERVALS, "no column 'session'"),
        (MEMBERS, EVERY, MEMBERSHIP_INTERVALS.with_columns(start_date=pl.lit(None, pl.Date)), "nulls"),
        (MEMBERS.cast({"session": pl.String}), EVERY, MEMBERSHIP_INTERVALS, "must be Date"),
    ],
)
def test_universes_that_cannot_be_audited_are_an_error(members, prices, membership_intervals, message):
    with pytest.raises(AuditInputError, match=message):
        audit_universe(members, prices, membership_intervals)


def test_on_the_last_day_of_a_spell_both_readings_pass():
    end = DAYS[10]
    membership_intervals = MEMBERSHIP_INTERVALS.with_columns(
        end_date=pl.when(pl.col("end_date").is_not_null()).then(end)
    )
    for inside in (pl.col("session") < end, pl.col("session") <= end):
        left = pl.col("symbol").is_in(NAMES[15:30])
        joined = pl.col("symbol").is_in(NAMES[30:]) & (pl.col("session") < date(2019, 1, 2))
        members = EVERY.filter(~left | inside).filter(~joined)
        audit_universe(members, EVERY, membership_intervals).assert_clean()


DAILY = pl.DataFrame({"session": sessions(date(2018, 6, 1), date(2018, 12, 31))})
DAILY_PRICES = pl.DataFrame({"symbol": NAMES}).join(DAILY, how="cross")


def until(days_before: int, names: list[str]) -> pl.DataFrame:
    """Daily prices in which names that leave stop trading some days before they do."""
    stops = pl.col("session") < date(2018, 11, 1) - timedelta(days=days_before)
    return DAILY_PRICES.filter(~pl.col("symbol").is_in(names) | stops)


@pytest.mark.parametrize(("days", "refused"), [(0, False), (10, False), (31, True)])
def test_prices_of_who_died_go_on_to_the_end(days, refused):
    prices = until(days, ["S20"])
    members = prices.join(
        MEMBERSHIP_INTERVALS.with_columns(pl.col("end_date").fill_null(date(2030, 1, 1))), on="symbol"
    ).filter(pl.col("session").is_between("start_date", "end_date", closed="left"))
    report = audit_universe(members.select("symbol", "session"), prices, MEMBERSHIP_INTERVALS)
    assert report.coverage["universe"]["last_prices_compared"] == 15
    assert report.passed is not refused
    if refused:
        (violation,) = report.violations
        assert (violation.symbol, violation.column, violation.count) == ("S20", "prices", 1)
        assert violation.first_leak == date(2018, 9, 28)
        assert "how they ended is missing" in violation.detail


def test_a_name_that_comes_back_or_ends_after_the_prices_is_not_early():
    again = pl.DataFrame({"symbol": ["S20"], "start_date": [date(2018, 12, 15)], "end_date": [None]}).cast(
        MEMBERSHIP_INTERVALS.schema
    )
    prices = until(31, ["S20"])
    members = prices.filter(pl.col("symbol") < "S15")
    intervals = pl.concat([MEMBERSHIP_INTERVALS, again])
    audit_universe(members, prices, intervals, complete=False).assert_clean()
    later = MEMBERSHIP_INTERVALS.with_columns(
        end_date=pl.when(pl.col("end_date").is_not_null()).then(date(2020, 5, 1))
    )
    whole = until(0, [])
    audit_universe(whole.filter(pl.col("symbol") < "S15"), whole, later, complete=False).assert_clean()
