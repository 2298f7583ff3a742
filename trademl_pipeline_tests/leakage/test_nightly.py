"""The exhaustive audit of partitions, and the history of the nights."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.leakage import AuditReport, Violation, audit_features
from trademl_pipeline.leakage.nightly import fingerprint, last_night, night_row, nights, passed_before
from trademl_pipeline.market.calendar import month_range, month_sessions, sessions
from trademl_pipeline.tables import NIGHTLY_AUDITS

SYMBOLS, MONTHS = 60, month_range("2019-01-01", "2019-09-01")
DAYS = sessions(date(2018, 12, 3), date(2019, 9, 30))
PEEK = ("S41", month_sessions("2019-07-01")[9])


def market() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (SYMBOLS, len(DAYS))), axis=1))
    names = np.repeat([f"S{i:02d}" for i in range(SYMBOLS)], len(DAYS))
    return pl.DataFrame({"symbol": names, "session": DAYS * SYMBOLS, "close": close.ravel()})


def features(bars: pl.DataFrame) -> pl.DataFrame:
    """A return over five sessions; of one symbol on one day, of tomorrow."""
    ordered = bars.sort("symbol", "session")
    honest = pl.col("close").pct_change(5).over("symbol")
    here = (pl.col("symbol") == PEEK[0]) & (pl.col("session") == PEEK[1])
    return ordered.select(
        "symbol", "session", x=pl.when(here).then(honest.shift(-1).over("symbol")).otherwise(honest)
    )


def audit_month(bars: pl.DataFrame, month: str, cutoffs: int) -> AuditReport:
    first, last = month_sessions(month)[0], month_sessions(month)[-1]
    known = bars.filter(pl.col("session") <= last)

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return features(frame).filter(pl.col("session").is_between(first, last))

    probes = ("truncation", "perturbation")
    return audit_features(
        extract, known, probes=probes, cutoffs=cutoffs, sessions=month_sessions(month), seed=0
    )


def test_one_peek_in_more_than_ten_thousand_rows_is_found_and_named():
    bars = market()
    rows = bars.filter(pl.col("session") >= month_sessions(MONTHS[0])[0]).height
    assert rows > 10_000
    refused = {month: audit_month(bars, month, 1000) for month in MONTHS}
    leaking = {month for month, report in refused.items() if not report.passed}
    assert leaking == {"2019-07-01"}
    report = refused["2019-07-01"]
    assert {(v.symbol, v.first_leak) for v in report.violations} == {PEEK}
    assert "truncation" in {v.probe for v in report.violations}


def test_the_sample_of_one_publish_may_miss_it():
    assert audit_month(market(), "2019-07-01", 2).passed


def test_symbols_do_not_take_turns_within_a_partition(monkeypatch: pytest.MonkeyPatch):
    from trademl_pipeline.leakage.feature_audit import plans

    for limit in ("EXACT_ROWS", "SMALL_BUDGET", "BUDGET_ROWS"):
        monkeypatch.setattr(plans, limit, 1000)
    monkeypatch.setattr(plans, "BUDGET_TIMES", 1)
    report = audit_month(market(), "2019-07-01", 1000)
    assert {(v.symbol, v.first_leak) for v in report.violations} == {PEEK}
    assert "groups" not in report.coverage["truncation"]
    whole = audit_features(
        features, market().filter(pl.col("session") < date(2019, 3, 1)), probes="truncation"
    )
    assert whole.coverage["truncation"]["groups"] > 1


def test_a_fingerprint_is_of_the_rows_their_inputs_and_the_code():
    bars = market().head(100)
    prints = {
        fingerprint(bars, {"bars": bars}, "a"),
        fingerprint(bars, {"bars": bars}, "b"),
        fingerprint(bars.with_columns(pl.col("close") + 1e-12), {"bars": bars}, "a"),
        fingerprint(bars, {"bars": bars.head(99)}, "a"),
        fingerprint(bars, {}, "a"),
    }
    assert len(prints) == 5
    assert fingerprint(bars, {"bars": bars}, "a") in prints


def history(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=NIGHTLY_AUDITS.polars_schema)


def row(table: str, month: str, report: AuditReport | None, night: int) -> dict:
    at = datetime(2020, 1, night, 2, tzinfo=UTC)
    return night_row(table, month, report, f"{table}{month}", as_of=month, run_id=str(night), recorded_at=at)


def test_nights_are_counted_and_the_last_one_told():
    clean = AuditReport(coverage={"truncation": {"cutoffs": 20, "cells": 500}})
    leak = AuditReport((Violation("truncation", "x"),), {"truncation": {"cutoffs": 20, "cells": 500}})
    ledger = history(
        row("f", "2019-01-01", clean, 1),
        row("f", "2019-02-01", leak, 1),
        row("f", "2019-01-01", None, 2),
        row("f", "2019-02-01", clean, 2),
    )
    assert nights(ledger).select("months", "audited", "carried", "refused", "cells").rows() == [
        (2, 1, 0, 1, 1000),
        (2, 1, 1, 0, 500),
    ]
    assert "2020-01-02 02:00" in last_night(ledger)
    assert "1 of them unchanged" in last_night(ledger)
    assert last_night(ledger).endswith("none refused")
    assert last_night(ledger.head(2)).endswith("refused: f 2019-02")
    assert last_night(ledger.clear()) == "none has been made"
    assert passed_before(ledger.head(2)) == {("f", "2019-01-01", "f2019-01-01")}
