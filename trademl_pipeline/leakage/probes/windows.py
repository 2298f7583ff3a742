"""Are the windows of a sequence index made of one symbol's past? (probe "windows")

The property: **the window of (symbol, session) holds rows of that symbol only, in order, and ends at that
session.**
"""

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import AuditReport, Violation

WINDOWS = "windows"


def audit_windows(index: pl.DataFrame, features: pl.DataFrame, *, length: int) -> AuditReport:
    """Audit a window index against the rows it points into.

    Args:
        index: `symbol`, `session`, `row` (position of the window's last row in `features`), `n_valid` (its
            number of rows) and, where present, `window_start` (session of the first).
        features: `symbol`, `session` in the order in which the matrix is laid out.
        length: greatest number of rows in a window.

    Raises:
        AuditInputError: either is empty, a column is missing, or a row lies outside the matrix.
    """
    for name, frame, columns in (
        ("index", index, ("symbol", "session", "row", "n_valid")),
        ("features", features, ("symbol", "session")),
    ):
        missing = [c for c in columns if c not in frame.columns]
        if missing or frame.is_empty():
            raise AuditInputError(f"the {name} is empty or has no column {', '.join(missing) or '-'}")
    row, valid = index["row"].to_numpy(), index["n_valid"].to_numpy().astype(np.int64)
    if (row < 0).any() or (row >= features.height).any():
        raise AuditInputError(f"the index points outside the {features.height} rows of the features")
    start = row - valid + 1
    first = np.maximum(start, 0)
    last_symbol, first_symbol = features["symbol"].gather(row), features["symbol"].gather(first)
    first_session = features["session"].gather(first)
    # Rows of one symbol stand together in time order if no key is smaller than the one before.
    ordered = (
        features.select(
            (pl.col("symbol") == pl.col("symbol").shift(1))
            & (pl.col("session") <= pl.col("session").shift(1))
        )
        .to_series()
        .fill_null(False)
    )
    disorder = np.concatenate([[0], np.cumsum(ordered.to_numpy())])
    checks = {
        "the window ends in another row than its own session's": (
            (features["session"].gather(row) != index["session"]) | (last_symbol != index["symbol"])
        ).to_numpy(),
        "the window begins with another symbol's rows": (first_symbol != index["symbol"]).to_numpy()
        | (start < 0),
        f"the window has fewer than 1 or more than {length} rows": (valid < 1) | (valid > length),
        "the rows of the window are not in the order of time": disorder[row + 1] > disorder[first + 1],
    }
    if "window_start" in index.columns:
        checks["window_start is not the session of the first row"] = (
            index["window_start"] != first_session
        ).to_numpy()
    violations: list[Violation] = []
    for what, bad in checks.items():
        if bad.any():
            example = index.row(int(np.argmax(bad)), named=True)
            detail = f"{what}; {int(bad.sum()):,} of {index.height:,} windows"
            violations.append(
                Violation(
                    WINDOWS,
                    "<rows>",
                    str(example["symbol"]),
                    None,
                    example["session"],
                    None,
                    detail,
                    int(bad.sum()),
                )
            )
    coverage = {"windows": index.height, "rows": features.height, "length": length}
    return AuditReport(tuple(violations), {WINDOWS: coverage})
