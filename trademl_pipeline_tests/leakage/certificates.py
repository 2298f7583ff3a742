"""A certificate as a month of predictions would have it."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from trademl_pipeline.certificates.certificate import Certificate, content_of, make_certificate
from trademl_pipeline.certificates.code_version import CodeVersion
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.training.ledger import FitLedger

MONTH = "2014-03-01"
CODE = CodeVersion("0.1.0", "ab" * 32, "cd" * 20, False, {"polars": "2.1.0"})
MODEL = {
    "train_start": date(2013, 1, 2),
    "train_end": date(2014, 2, 20),
    "test_start": date(2014, 3, 3),
    "test_end": date(2014, 3, 31),
    "embargo": 5,
    "rows": 2,
    "sessions": 2,
    "symbols": 1,
    "snapshot": 7,
    "model_run": "run",
    "artifact": "models/x/model.json",
    "artifact_sha256": "ef" * 32,
    "ledger_digest": "01" * 32,
}
CLOSE = datetime(2014, 3, 3, 21, tzinfo=UTC)


def predictions() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["A", "B"],
            "session": [date(2014, 3, 3)] * 2,
            "decision_time": [CLOSE, CLOSE],
            "knowledge_time": [CLOSE, CLOSE - timedelta(seconds=90)],
            "score": [0.1, -0.2],
        }
    ).cast({"decision_time": pl.Datetime("us", "UTC"), "knowledge_time": pl.Datetime("us", "UTC")})


def ledger() -> FitLedger:
    record = FitLedger(MONTH)
    rows = pl.DataFrame(
        {
            "symbol": ["A", "A"],
            "session": [date(2014, 1, 2), date(2014, 1, 3)],
            "label_end": [date(2014, 1, 9), date(2014, 1, 10)],
            "knowledge_time": [CLOSE - timedelta(days=60), CLOSE - timedelta(days=59)],
        }
    ).cast({"knowledge_time": pl.Datetime("us", "UTC")})
    record.fit("model", rows, lambda frame: None)
    record.freeze()
    return record


def audits(*rows: tuple[str, str, str, bool, int, dict[str, Any]]) -> pl.DataFrame:
    """Rows of the ledger: table, month, probe, passed, hour of recording, coverage."""
    return pl.DataFrame(
        [
            {
                "table_name": table,
                "month": month,
                "probe": probe,
                "passed": passed,
                "coverage": json.dumps(coverage),
                "recorded_at": datetime(2020, 1, 1, hour, tzinfo=UTC),
            }
            for table, month, probe, passed, hour, coverage in rows
        ],
        schema={
            "table_name": pl.String,
            "month": pl.String,
            "probe": pl.String,
            "passed": pl.Boolean,
            "coverage": pl.String,
            "recorded_at": pl.Datetime("us", "UTC"),
        },
    )


def arguments(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "values": "aa" * 16,
        "model": MODEL,
        "ledger": ledger(),
        "report": AuditReport(coverage={"knowledge": {"rows": 2}, "folds": {"rows": 2}}),
        "table": "predictions_x",
        "audits": audits(
            ("features_f", "2014-02-01", "truncation", True, 1, {"cutoffs": 2, "cells": 100}),
            ("features_f", "2014-03-01", "truncation", True, 1, {"cutoffs": 2, "cells": 50}),
        ),
        "code": CODE,
        "data_snapshot": 9,
        "data": {"features_f": content_of({"2014-02-01": "1", "2014-03-01": "2"})},
        "training": {"features_f": content_of({"2014-02-01": "1"})},
    }
    return plain | changes


def made(**changes: Any) -> Certificate:
    return make_certificate("x", MONTH, predictions(), **arguments(**changes))
