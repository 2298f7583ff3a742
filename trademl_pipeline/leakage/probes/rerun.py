"""A step run again without the future: rows decided by a cut must come out as they were published."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.report import AuditReport, Violation

PROBE = "rerun"
# A network may add up in another order where its batch is another one.
TOLERANCE = 1e-6


def audit_rerun(
    published: pl.DataFrame,
    run_again: Callable[[datetime], pl.DataFrame],
    cuts: Sequence[datetime],
    *,
    clock: str = "decision_time",
    key: Sequence[str] = ("symbol", "session"),
    tolerance: float = TOLERANCE,
) -> AuditReport:
    """Run a step again as it could have been run at earlier moments, and compare what was decided by then.

    Args:
        published: the step's rows, as they are published, with `clock` and `key`.
        run_again: (cut) -> the step's rows, made from what was known at the cut (UTC); it need not return `clock`.
        cuts: moments to cut at.
        clock: column with the moment of each row's decision.
        key: columns that identify a row.
        tolerance: of numbers, relative above 1 and absolute below.

    Returns:
        a report of the probe "rerun": for each column that moved, the first row that did, and how many did. A row that
        is there in one and not in the other is a violation of "<rows>".
    """
    by_column: dict[str, Violation] = {}
    cells = 0
    for cut in sorted(cuts):
        expected = published.filter(pl.col(clock) <= cut)
        again = run_again(cut)
        columns = [c for c in published.columns if c in again.columns and c not in key]
        cells += expected.height * len(columns)
        for violation in _differences(expected, again, columns, list(key), cut, tolerance):
            by_column.setdefault(str(violation.column), violation)
    coverage = {"cutoffs": len(cuts), "cells": cells, "tolerance": tolerance}
    if not cuts:
        coverage |= {"skipped": "no moment to cut at"}
    return AuditReport(tuple(by_column.values()), {PROBE: coverage})


def _differences(
    expected: pl.DataFrame,
    again: pl.DataFrame,
    columns: Sequence[str],
    key: list[str],
    cut: datetime,
    tolerance: float,
) -> list[Violation]:
    lost, added = (
        expected.join(again, on=key, how="anti", nulls_equal=True),
        again.join(expected, on=key, how="anti", nulls_equal=True),
    )
    if lost.height or added.height:
        first = _in_time(lost if lost.height else added).row(0, named=True)
        return [
            Violation(
                PROBE,
                "<rows>",
                first.get("symbol"),
                cut.date(),
                first.get("session"),
                float("inf"),
                f"{lost.height} rows that were decided by then are not made from what was known then, "
                f"{added.height} others are",
                lost.height + added.height,
            )
        ]
    both = expected.select(key + list(columns)).join(
        again.select(key + list(columns)), on=key, how="left", suffix=" again", nulls_equal=True
    )
    violations: list[Violation] = []
    for column in columns:
        moved, delta = _moved(both[column], both[f"{column} again"], tolerance)
        if not moved.any():
            continue
        bad = _in_time(both.filter(pl.Series(moved)))
        first = bad.row(0, named=True)
        violations.append(
            Violation(
                PROBE,
                column,
                first.get("symbol"),
                cut.date(),
                first.get("session"),
                delta,
                f"published {first[column]!r}, but {first[f'{column} again']!r} from what was known at "
                f"{cut:%Y-%m-%d %H:%M} UTC, and so in {bad.height} of {both.height} rows: it used what came later",
                bad.height,
            )
        )
    return violations


def _in_time(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("session", maintain_order=True) if "session" in rows.columns else rows


def _moved(ours: pl.Series, theirs: pl.Series, tolerance: float) -> tuple[np.ndarray[Any, Any], float]:
    if not ours.dtype.is_float():
        return (~ours.eq_missing(theirs)).to_numpy(), float("nan")
    x, y = (s.cast(pl.Float64).fill_null(float("nan")).to_numpy() for s in (ours, theirs))
    far = ~((np.abs(x - y) <= tolerance * np.maximum(1.0, np.abs(x))) | (np.isnan(x) & np.isnan(y)))
    return far, float(np.nanmax(np.abs(x - y), initial=0.0)) if far.any() else 0.0
