"""Limit and stop orders: could their fills be had? (probe "execution")

A stop that the opening has jumped over fills at the opening or worse. A limit order that rests in the market fills at
its limit, or at an opening that is better. Neither fills where its price was not touched.
"""

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.probes.trade_columns import TOLERANCE, violation_of
from trademl_pipeline.leakage.report import Violation

LIMIT, STOP, STOP_LIMIT, MARKET = "limit", "stop", "stop_limit", "market"
_AT_MARKET = ("market", "mkt", "moo", "moc", "market_on_open", "market_on_close", "opg", "cls")
KINDS = {
    **dict.fromkeys(_AT_MARKET, MARKET),
    **dict.fromkeys(("limit", "lmt"), LIMIT),
    **dict.fromkeys(("stop", "stp", "stop_market", "stop_loss"), STOP),
    **dict.fromkeys(("stop_limit", "stop_loss_limit"), STOP_LIMIT),
}


def kinds_of(orders: pl.DataFrame) -> pl.DataFrame:
    """Return the kind, stop and limit price of each order, as `_kind`, `_stop`, `_limit`.

    Args:
        orders: with `order_type`, `stop_price`, `limit_price` where given; without a type the prices tell it.

    Raises:
        AuditInputError: a type is none that is known, or an order lacks the price of its kind.
    """
    stop, limit = (
        pl.col(c).cast(pl.Float64) if c in orders.columns else pl.lit(None, pl.Float64)
        for c in ("stop_price", "limit_price")
    )
    frame = orders.select(stop.alias("_stop"), limit.alias("_limit"))
    has_stop, has_limit = pl.col("_stop").is_not_null(), pl.col("_limit").is_not_null()
    by_prices = (
        pl.when(has_stop & has_limit)
        .then(pl.lit(STOP_LIMIT))
        .when(has_stop)
        .then(pl.lit(STOP))
        .when(has_limit)
        .then(pl.lit(LIMIT))
        .otherwise(pl.lit(MARKET))
    )
    frame = frame.with_columns(by_prices.alias("_kind"))
    if "order_type" in orders.columns:
        given = orders["order_type"].cast(pl.String).str.strip_chars().str.to_lowercase()
        given = given.str.replace_all("[ -]", "_")
        unknown = sorted({t for t in given.drop_nulls().unique().to_list() if t not in KINDS})
        if unknown:
            raise AuditInputError(
                f"order_type of the orders: {', '.join(unknown)}; say one of {', '.join(KINDS)}"
            )
        frame = frame.with_columns(
            pl.coalesce(given.replace_strict(KINDS, default=None, return_dtype=pl.String), "_kind").alias(
                "_kind"
            )
        )
    lacking = frame.filter(
        (pl.col("_kind").is_in([STOP, STOP_LIMIT]) & ~has_stop)
        | (pl.col("_kind").is_in([LIMIT, STOP_LIMIT]) & ~has_limit)
    )
    if lacking.height:
        raise AuditInputError(
            f"{lacking.height} orders of the kind {lacking['_kind'][0]} have no stop_price or limit_price of theirs"
        )
    return frame


def audit_resting(rows: pl.DataFrame, price: str, clock: str) -> list[Violation]:
    """Return fills of limit and stop orders that are better than the market gave.

    Args:
        rows: fills of such orders, each with its bar, with `_kind`, `_stop` and `_limit` of its order, `_sign` of its
            direction, and `_rested`: whether the order was there before the bar began.
        price: column of the fills' prices.
        clock: column of the fills' times.
    """
    # Seen as purchases: a sale is one at the negative price.
    sign, slack = pl.col("_sign"), TOLERANCE * pl.col("open").abs()
    paid, opened = pl.col(price) * sign, pl.col("open") * sign
    lowest = pl.min_horizontal(pl.col("low") * sign, pl.col("high") * sign)
    highest = pl.max_horizontal(pl.col("low") * sign, pl.col("high") * sign)
    trigger, most = pl.col("_stop") * sign, pl.col("_limit") * sign
    triggered, limited = pl.col("_kind").is_in([STOP, STOP_LIMIT]), pl.col("_kind").is_in([LIMIT, STOP_LIMIT])
    stop, limit, rested = pl.col("_kind") == STOP, pl.col("_kind") == LIMIT, pl.col("_rested")
    # The opening is the first price that an order meets which was there before.
    stop_fills_at = pl.when(rested).then(pl.max_horizontal(trigger, opened)).otherwise(trigger)
    limit_fills_at = pl.when(rested).then(pl.min_horizontal(most, opened)).otherwise(lowest)
    touched = highest >= trigger - slack
    checks = [
        (triggered & ~touched, "stop_price", "of stops that were not touched"),
        (
            stop & touched & (paid < stop_fills_at - slack),
            price,
            "of stops, better than their price or the gap over it",
        ),
        (limited & (paid > most + slack), price, "of limit orders, worse than their limit"),
        (
            limit & (paid < limit_fills_at - slack),
            price,
            "of limit orders, better than their limit and the opening",
        ),
    ]
    violations = [
        violation_of(rows, bad.fill_null(True), column, what, clock) for bad, column, what in checks
    ]
    return [v for v in violations if v is not None]
