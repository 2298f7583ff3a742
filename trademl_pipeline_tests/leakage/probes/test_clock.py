from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_knowledge
from trademl_pipeline.market.calendar import close_utc, sessions

DAYS = sessions(date(2019, 3, 1), date(2019, 3, 29))
CLOSES = close_utc(pl.Series("session", DAYS))


def clocks(*, delay: timedelta = timedelta(0), decide: timedelta = timedelta(hours=1)) -> pl.DataFrame:
    return pl.DataFrame({"symbol": "AAA", "session": DAYS, "event_time": CLOSES}).with_columns(
        knowledge_time=pl.col("event_time") + delay, decision_time=pl.col("event_time") + decide
    )


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(minutes=15), timedelta(hours=1)])
def test_what_is_known_by_the_decision_passes(delay):
    report = audit_knowledge(clocks(delay=delay), calendar="XNYS")
    report.assert_clean()
    assert report.coverage["knowledge"]["rows"] == len(DAYS)


def test_what_is_known_a_second_later_is_refused():
    report = audit_knowledge(clocks(delay=timedelta(hours=1, seconds=1)))
    (violation,) = report.violations
    assert violation.count == len(DAYS)
    assert violation.max_delta == 1.0
    assert (violation.symbol, violation.first_leak) == ("AAA", DAYS[0])


def test_one_late_row_is_named_with_its_delay():
    late = pl.when(pl.col("session") == DAYS[7]).then(pl.col("knowledge_time") + pl.duration(days=3))
    report = audit_knowledge(clocks().with_columns(knowledge_time=late.otherwise("knowledge_time")))
    (violation,) = report.violations
    assert (violation.count, violation.first_leak) == (1, DAYS[7])
    assert "2.96 days too early" in violation.detail


def test_nothing_is_known_before_it_happened():
    frame = clocks().with_columns(event_time=pl.col("event_time") + pl.duration(minutes=1))
    (violation,) = audit_knowledge(frame).violations
    assert (violation.column, violation.max_delta) == ("event_time", 60.0)


def test_bars_stamped_at_their_opening_are_found_with_the_calendar():
    stamped = clocks().with_columns(
        (pl.col(c) - pl.duration(minutes=390)).alias(c) for c in ("event_time", "knowledge_time")
    )
    assert audit_knowledge(stamped).passed
    (violation,) = audit_knowledge(stamped, calendar="XNYS").violations
    assert "before the session closed" in violation.detail
    assert violation.max_delta == 390 * 60


def test_local_time_taken_for_utc_is_found_with_the_calendar():
    local = clocks().with_columns(
        pl.col(c)
        .dt.convert_time_zone("America/New_York")
        .dt.replace_time_zone(None)
        .dt.replace_time_zone("UTC")
        for c in ("event_time", "knowledge_time", "decision_time")
    )
    report = audit_knowledge(local, calendar="XNYS")
    assert report.violations[0].max_delta == 5 * 3600


def test_a_weekend_is_no_session():
    frame = clocks().with_columns(session=pl.col("session") + pl.duration(days=1))
    columns = [v.column for v in audit_knowledge(frame, calendar="XNYS").violations]
    assert columns[0] == "session"


def test_other_columns_can_be_the_clock():
    frame = clocks().rename({"knowledge_time": "seen", "decision_time": "used"})
    assert audit_knowledge(frame, decision_time="used", knowledge_time="seen").passed
    assert not audit_knowledge(frame, decision_time="seen", knowledge_time="used").passed


def test_rows_need_no_key():
    bare = clocks().select("knowledge_time", "decision_time")
    assert audit_knowledge(bare).passed
    assert not audit_knowledge(bare, "knowledge_time", "decision_time").passed


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (clocks().clear(), "no rows"),
        (clocks().drop("knowledge_time"), "no column 'knowledge_time'"),
        (
            clocks().with_columns(knowledge_time=pl.lit(None, pl.Datetime("us", "UTC"))),
            "unknown clock never passes",
        ),
        (clocks().with_columns(knowledge_time="session"), "must be a Datetime"),
        (clocks().with_columns(knowledge_time=pl.lit("noon")), "must be a Datetime"),
        (clocks().with_columns(knowledge_time=pl.lit(datetime(2019, 1, 1))), "give both a time zone"),
        ({"knowledge_time": datetime(2019, 1, 1, tzinfo=UTC)}, "give a pl.DataFrame"),
    ],
)
def test_a_clock_that_cannot_be_read_is_an_error(frame, message):
    with pytest.raises(AuditInputError, match=message):
        audit_knowledge(frame)


def test_a_calendar_needs_sessions():
    with pytest.raises(AuditInputError, match="'session'"):
        audit_knowledge(clocks().drop("session"), calendar="XNYS")


def test_a_clock_of_days_is_compared_by_days():
    days = clocks().select("symbol", "session", knowledge_time="session", decision_time="session")
    assert audit_knowledge(days).passed
    late = days.with_columns(knowledge_time=pl.col("session") + pl.duration(days=1))
    assert audit_knowledge(late).violations[0].max_delta == 86_400
