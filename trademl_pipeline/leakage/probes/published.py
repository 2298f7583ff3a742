"""Is what is published what its inputs give now?

The property tested: **the published rows equal a computation anew, from the inputs that the store holds.** It
finds a month cut out of a longer run with more history than the declared warm-up, a stale cache, inputs
restated after the month was published, and rows edited in the store. It says nothing about look-ahead that
both computations share.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from trademl_pipeline.leakage.report import AuditReport, Violation
from trademl_pipeline.leakage.traces import Trace, frame_trace

PROBE = "incremental"
ROWS = "<rows>"


def audit_published(
    published: pl.DataFrame,
    recomputed: pl.DataFrame,
    *,
    key: Sequence[str] = ("symbol", "session"),
    rtol: float = 1e-9,
    atol: float = 1e-12,
) -> AuditReport:
    """Compare published rows with a computation anew, rows as well as values.

    Args:
        published: rows as the store holds them.
        recomputed: the same rows computed again; its columns beside the key are compared, numeric ones within
            tolerance, others exactly.
        key: columns that identify a row.
        rtol, atol: a number differs if |a - b| > rtol * max(|a|, |b|) + atol; null equals null only.

    Returns:
        The report of the probe "incremental".
    """
    key = list(key)
    columns = [c for c in recomputed.columns if c not in key]
    missing = [c for c in columns if c not in published.columns]
    violations = [
        Violation(PROBE, column, detail=f"column {column!r} is computed but not published")
        for column in missing
    ]
    columns = [c for c in columns if c not in missing]
    for these, those, what in (
        (published, recomputed, "published but not computed"),
        (recomputed, published, "computed but not published"),
    ):
        extra = these.select(key).join(those.select(key), on=key, how="anti").sort(key)
        if extra.height:
            row = extra.row(0, named=True)
            violations.append(
                Violation(
                    PROBE,
                    ROWS,
                    symbol=row.get("symbol"),
                    first_leak=row.get("session"),
                    max_delta=float("inf"),
                    detail=f"{extra.height} rows are {what}",
                    count=extra.height,
                )
            )
    both = published.select(*key, *columns).join(
        recomputed.select(*key, pl.col(columns).name.suffix("@new")), on=key, how="inner"
    )
    schema = both.schema
    differs = {column: _differs(schema[column], column, rtol, atol) for column in columns}
    # All columns are looked at in one pass, and only those that differ one by one.
    differing = both.select(expr.any().alias(c) for c, expr in differs.items()) if columns else None
    for column in (c for c in columns if differing is not None and differing[c].item()):
        bad = both.filter(differs[column]).sort(key)
        row = bad.row(0, named=True)
        delta = None
        if schema[column].is_numeric():
            largest = bad.select((pl.col(column) - pl.col(f"{column}@new")).abs().max()).item()
            delta = float("inf") if largest is None else float(largest)
        violations.append(
            Violation(
                PROBE,
                column,
                symbol=row.get("symbol"),
                first_leak=row.get("session"),
                max_delta=delta,
                detail=f"published {row[column]}, computed {row[f'{column}@new']}; {bad.height} rows differ",
                count=bad.height,
                trace=_trace(published, recomputed, column, row),
            )
        )
    coverage = {"rows": both.height, "columns": len(columns), "cells": both.height * len(columns)}
    return AuditReport(tuple(violations), {PROBE: coverage})


def _trace(
    published: pl.DataFrame, recomputed: pl.DataFrame, column: str, row: dict[str, Any]
) -> Trace | None:
    if "symbol" not in row or "session" not in row:
        return None
    return frame_trace(published, recomputed, column, row["symbol"], row["session"])


def _differs(dtype: pl.DataType, column: str, rtol: float, atol: float) -> pl.Expr:
    a, b = pl.col(column), pl.col(f"{column}@new")
    one_null = a.is_null() != b.is_null()
    if dtype.is_float():
        far = (a - b).abs() > rtol * pl.max_horizontal(a.abs(), b.abs()) + atol
        one_nan = a.is_nan() != b.is_nan()
        return one_null | one_nan.fill_null(False) | (far & ~a.is_nan()).fill_null(False)
    return one_null | (a != b).fill_null(False)
