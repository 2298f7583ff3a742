"""A made market of 15 symbols over nine months, with forecasts of chosen skill."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.market.calendar import month_expr, sessions
from trademl_pipeline.reports import ReportConfig, ReportInputs

HORIZON = 5
DAYS = sessions(date(2019, 1, 2), date(2019, 10, 31))
SYMBOLS = [f"S{i:02d}" for i in range(15)]
MONTHS = [f"2019-{m:02d}-01" for m in range(1, 10)]


def audit_row(table, month, probe, passed=True, *, at=1, detail="", **more):
    return {
        "table_name": table,
        "month": month,
        "probe": probe,
        "passed": passed,
        "column": None,
        "symbol": None,
        "cutoff": None,
        "first_leak": None,
        "max_delta": None,
        "detail": detail,
        "coverage": json.dumps({"cutoffs": 5, "cells": 1000}),
        "run_id": "r",
        "recorded_at": datetime(2026, 1, at, tzinfo=UTC),
        **more,
    }


@dataclass
class Made:
    """The made market and what can be forecast in it."""

    bars: pl.DataFrame
    outcomes: pl.DataFrame
    known: np.ndarray
    noise: np.ndarray
    keys: pl.DataFrame

    def inputs(self, skill=0.0, *, future=0.0, **changes) -> ReportInputs:
        """Forecasts that see `skill` of the part that can be known and `future` of the outcome itself."""
        outcome = self.outcomes["forward_return"].to_numpy()
        seen = skill * self.known / self.known.std() + future * outcome / outcome.std()
        score = 0.3 * (seen + self.noise)
        logits = np.column_stack([-score, np.zeros(len(score)), score])
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        predictions = self.keys.with_columns(
            p_sell=p[:, 0],
            p_hold=p[:, 1],
            p_buy=p[:, 2],
            score=p[:, 2] - p[:, 0],
            fold=month_expr(),
            model_run=pl.lit("0123456789abcdef"),
            snapshot=pl.lit(41),
        )
        return ReportInputs(predictions, self.outcomes, self.bars, **changes)

    def oracle(self) -> pl.DataFrame:
        return self.keys.with_columns(expected_return=self.known)


@pytest.fixture(scope="session")
def made() -> Made:
    rng = np.random.default_rng(5)
    n, m = len(DAYS), len(SYMBOLS)
    drift = 0.004 * rng.standard_normal((n, m))
    for t in range(1, n):
        drift[t] = 0.9 * drift[t - 1] + 0.4 * drift[t]
    returns = drift + 0.01 * rng.standard_normal((n, m)) + 0.004 * rng.standard_normal((n, 1))
    close = 100 * np.exp(np.cumsum(returns, axis=0))
    opening = np.vstack([close[:1], close[:-1]])
    bars = pl.DataFrame(
        {
            "symbol": np.tile(SYMBOLS, n),
            "session": np.repeat(np.array(DAYS, dtype="datetime64[D]"), m),
            "open": opening.ravel(),
            "close": close.ravel(),
            "volume": np.full(n * m, 1e8),
        }
    )
    last = sum(d < date(2019, 10, 1) for d in DAYS)
    forward = np.log(close[HORIZON:] / close[:-HORIZON])[:last]
    # The drift of the sessions ahead, faded, is what the past tells of them.
    known = (drift[:last] * sum(0.9**k for k in range(1, HORIZON + 1))).ravel()
    keys = bars.filter(pl.col("session") < date(2019, 10, 1)).select("symbol", "session")
    target = np.digitize(forward.ravel(), [-0.012, 0.012]).astype(np.int8)
    outcomes = keys.with_columns(forward_return=forward.ravel(), target=target)
    return Made(bars, outcomes, known, rng.standard_normal(len(keys)), keys)


@pytest.fixture(scope="session")
def config() -> ReportConfig:
    return ReportConfig("direction", "Buy/Hold/Sell over the next week", horizon=HORIZON, seed=3, draws=500)


@pytest.fixture(scope="session")
def audits() -> pl.DataFrame:
    rows = [
        audit_row(table, month, probe)
        for month in MONTHS
        for table, probe in (("features_indicators", "truncation"), ("model_direction", "fit_ledger"))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
