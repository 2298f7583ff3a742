"""Columns of orders and fills as people name them, and what is values of one that could not be had."""

from collections.abc import Iterable

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import Violation

EXECUTION = "execution"
# Of prices and returns, relative: an account is added up in another order by who checks it.
TOLERANCE = 1e-9
SIZES = ("quantity", "filled_quantity", "shares", "size", "weight_change")
PRICES = ("price", "fill_price", "average_price")
SIGNS = {
    **dict.fromkeys(("buy", "b", "long", "cover", "buy_to_cover"), 1),
    **dict.fromkeys(("sell", "s", "short", "sell_short"), -1),
}
_SEEN = ("price", "fill_price", "_filled", "_ordered", "_stop", "_limit", "open", "high", "low", "volume")


def first_of(frame: pl.DataFrame, names: Iterable[str]) -> str | None:
    """Return the first of some columns that a frame has."""
    return next((c for c in names if c in frame.columns), None)


def sign_of(frame: pl.DataFrame, what: str) -> pl.Series | None:
    """Return 1 for what is bought and -1 for what is sold, by `side` or by signed sizes; None where neither tells.

    Args:
        frame: orders or fills.
        what: they are, for the error.

    Raises:
        AuditInputError: a side is none that is known.
    """
    if "side" in frame.columns:
        side = frame["side"].cast(pl.String).str.strip_chars().str.to_lowercase().str.replace_all(" ", "_")
        unknown = sorted({str(s) for s in side.unique().to_list() if s not in SIGNS})
        if unknown:
            raise AuditInputError(f"side of the {what}: {', '.join(unknown)}; say one of {', '.join(SIGNS)}")
        return side.replace_strict(SIGNS, return_dtype=pl.Int64)
    size = first_of(frame, SIZES)
    # Sizes that are all positive may be of purchases, or may just have no sign.
    if size is not None and (frame[size] < 0).any():
        return frame[size].sign().cast(pl.Int64)
    return None


def violation_of(rows: pl.DataFrame, bad: pl.Expr, column: str, what: str, clock: str) -> Violation | None:
    """Return the refusal of fills for which something holds; None where it holds for none.

    Args:
        rows: fills.
        bad: for which it holds.
        column: that is at fault.
        what: they did, such as "without a bar".
        clock: column of the fills' times.
    """
    wrong = rows.filter(bad)
    if wrong.is_empty():
        return None
    first = wrong.row(0, named=True)
    values = ", ".join(f"{name.lstrip('_')} {first[name]}" for name in _SEEN if first.get(name) is not None)
    detail = (
        f"{wrong.height:,} of {rows.height:,} fills {what}, such as at {first[clock]} ({values or 'no bar'})"
    )
    symbol = first.get("symbol")
    return Violation(
        EXECUTION,
        column,
        None if symbol is None else str(symbol),
        None,
        first[clock],
        None,
        detail,
        wrong.height,
    )
