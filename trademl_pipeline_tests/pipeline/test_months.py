"""Working off months: a refusal of the gate is the last, what fails for itself stops no other, all is told in order."""

import logging
from collections.abc import Callable

import pytest

from trademl_pipeline.folds import FoldError
from trademl_pipeline.lake.errors import LakeError
from trademl_pipeline.leakage import AuditError, AuditReport, Violation
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.pipeline.gate import GateRefusedError
from trademl_pipeline.pipeline.months import (
    GATE_ERRORS,
    MONTH_ERRORS,
    MonthResult,
    refusal,
    refusals_of,
    work_off,
)
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused
from trademl_pipeline.training.inner_split import FitError

ASSET, MONTHS = "table", month_range("2016-01-01", "2016-05-01")
BAD = "2016-03-01"
LOG = logging.getLogger(__name__)
REPORT = AuditReport(
    (Violation("truncation", "gap", "A", detail="moved"),),
    {"truncation": {"rows": 3}, "knowledge": {"rows": 3}},
)


def failing(error: Exception, asked: list[str] | None = None) -> Callable[[str], MonthResult]:
    """A body of ten rows a month that fails in one."""

    def body(month: str) -> MonthResult:
        if asked is not None:
            asked.append(month)
        if month == BAD:
            raise error
        return MonthResult({"dagster/row_count": 10}, [CheckResult("knowledge", True)])

    return body


OF_THE_CODE = [GateRefusedError(ASSET, BAD, REPORT), AuditError("nothing to test")]
OF_A_MONTH = [
    LakeError("no such month"),
    MarketError("no bars"),
    FoldError("too little"),
    FitError("no rows"),
]


def named(error: object) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", OF_THE_CODE, ids=named)
def test_a_month_that_the_gate_refuses_is_the_last(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    events = work_off(ASSET, MONTHS, failing(error, asked), LOG)
    assert asked == [event.month for event in events] == MONTHS[:3]
    assert [(event.month, event.by_gate) for event in refusals_of(events)] == [(BAD, True)]
    line = refusal(ASSET, events, MONTHS)
    assert line.startswith("table: 1 of 5 months refused (2016-03)")
    assert "Not run after the refusal: 2016-04 to 2016-05 (2 of the months" in line
    assert "Not run after the refusal: 2016-04 to 2016-05" in caplog.messages[-1]


@pytest.mark.parametrize("error", OF_THE_CODE, ids=named)
def test_the_other_months_are_run_after_a_refusal_where_that_is_asked(error: Exception) -> None:
    asked: list[str] = []
    events = work_off(ASSET, MONTHS, failing(error, asked), LOG, keep_going=True)
    assert asked == [event.month for event in events] == MONTHS
    assert "Not run" not in refusal(ASSET, events, MONTHS)


@pytest.mark.parametrize("error", OF_A_MONTH, ids=named)
def test_a_month_that_fails_for_itself_does_not_stop_the_others(error: Exception) -> None:
    asked: list[str] = []
    events = work_off(ASSET, MONTHS, failing(error, asked), LOG)
    assert asked == MONTHS
    assert [event.month for event in events] == MONTHS
    assert [event.month for event in refusals_of(events)] == [BAD]
    assert all(
        event.metadata == {"dagster/row_count": 10} for event in events if isinstance(event, MonthDone)
    )
    assert str(error) in refusals_of(events)[0].reason


def test_every_kind_of_error_that_a_month_may_fail_with_is_tried_here() -> None:
    assert {type(error) for error in OF_THE_CODE} == set(GATE_ERRORS)
    assert {type(error) for error in OF_THE_CODE + OF_A_MONTH} == set(MONTH_ERRORS)


@pytest.mark.parametrize("error", [KeyError("close"), ZeroDivisionError(), RuntimeError("a bug")])
def test_an_error_that_nobody_expected_ends_the_work(error: Exception) -> None:
    asked: list[str] = []
    told: list[MonthDone | MonthRefused] = []
    with pytest.raises(type(error)):
        work_off(ASSET, MONTHS, failing(error, asked), LOG, told.append)
    assert asked == month_range(MONTHS[0], BAD)
    assert [event.month for event in told] == MONTHS[: MONTHS.index(BAD)]


def test_events_are_told_one_by_one_as_their_months_are_done() -> None:
    order: list[str] = []
    body = failing(LakeError("no such month"))

    def step(month: str) -> MonthResult:
        order.append(f"made {month[:7]}")
        return body(month)

    events = work_off(ASSET, MONTHS, step, LOG, lambda event: order.append(f"told {event.month[:7]}"))
    assert order == [f"{what} {month[:7]}" for month in MONTHS for what in ("made", "told")]
    assert [type(event) for event in events] == [MonthDone, MonthDone, MonthRefused, MonthDone, MonthDone]


def test_a_refusal_of_the_gate_tells_what_each_probe_found() -> None:
    (event,) = refusals_of(work_off(ASSET, [BAD], failing(GateRefusedError(ASSET, BAD, REPORT)), LOG))
    assert event.reason == "table 2016-03: refused by the leakage gate: truncation, gap, A: moved"
    assert {check.name: check.passed for check in event.checks} == {"truncation": False, "knowledge": True}
    assert "| truncation | gap | A |" in event.metadata["refusal 2016-03"].text


def test_a_month_that_failed_otherwise_tells_its_error_and_no_check() -> None:
    (event,) = refusals_of(work_off(ASSET, [BAD], failing(LakeError("no such month")), LOG))
    assert event.metadata == {"error 2016-03": "LakeError: no such month"}
    assert event.checks == ()


def test_the_line_of_refusals_names_every_month_and_the_first_reason() -> None:
    body = failing(LakeError("no such month"))

    def two_bad(month: str) -> MonthResult:
        return body(BAD) if month == MONTHS[-1] else body(month)

    events = work_off(ASSET, MONTHS, two_bad, LOG)
    line = refusal(ASSET, events, MONTHS)
    assert line == (
        "table: 2 of 5 months refused (2016-03, 2016-05); the lake keeps what it held for them. First: no such month"
    )


def test_the_log_says_how_far_it_is_and_what_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOG.name):
        work_off(ASSET, MONTHS, failing(LakeError("no such month")), LOG)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["table 2016-03: no such month"]
    assert "table 2016-05: 5 of 5 months, 40 rows" in caplog.messages[-1]
