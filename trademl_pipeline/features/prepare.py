"""From bars as traded to the panel that features are computed on.

The panel is sorted by symbol and session, and holds for each symbol only sessions with a usable bar.
Prices are put on the share of the symbol's *first* session: `price * product of the split factors up to t`.
A split thus changes no row before it, makes no return on its day, and what happens after t cannot reach t.
(Adjusting to the *last* share, as vendors do, rewrites the past with every split.) Features are free of
scale, so the start of the history does not matter. Where a source marks bars as `adjusted`, or gives no
factors, prices are taken as they are.
"""

import math
from typing import Final

import polars as pl

from trademl_pipeline.features.errors import FeatureInputError, require_columns
from trademl_pipeline.features.operators import AGE, SPLIT
from trademl_pipeline.features.references import REFERENCE_COLUMNS, ReferenceNames, with_references

KEY: Final = ("symbol", "session")
PRICES: Final = ("open", "high", "low", "close")
REQUIRED: Final = (*KEY, *PRICES, "volume")
TRADED: Final = ("high", "low", "close")
TRADED_COLUMNS: Final = (*(f"traded_{c}" for c in TRADED), SPLIT)
PANEL_COLUMNS: Final = (
    *KEY,
    AGE,
    *PRICES,
    "volume",
    "dividend",
    "wealth",
    *TRADED_COLUMNS,
    *REFERENCE_COLUMNS,
)

# Of rows by symbol: the symbol's first row, and the number of its rows before this one.
_FIRST = pl.col("symbol").ne_missing(pl.col("symbol").shift(1))
_ROW = pl.int_range(pl.len(), dtype=pl.Int32)
_AGE = (_ROW - pl.when(_FIRST).then(_ROW).forward_fill()).alias(AGE)


def checked(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars by symbol and session.

    Raises:
        FeatureInputError: a column is missing or of a wrong type, a key is null or twice there.
    """
    require_columns(bars, REQUIRED, "bars")
    for column in (*PRICES, "volume"):
        if not bars.schema[column].is_numeric():
            raise FeatureInputError(f"bars: column {column} is {bars.schema[column]}; it must be numeric")
    if not bars.schema["session"].is_temporal():
        raise FeatureInputError(
            f"bars: column session is {bars.schema['session']}; it must be a date or a timestamp"
        )
    if any(bars[c].null_count() for c in KEY):
        raise FeatureInputError("bars: symbol or session is null in some rows; give every row its key")
    session = pl.col("session")
    later = _FIRST | (session > session.shift(1))
    if bars["symbol"].is_sorted() and bars.select_seq(later.all()).item():
        return bars
    bars = bars.sort(KEY)
    twice = bars.select(pl.all_horizontal(pl.col(KEY) == pl.col(KEY).shift(1))).to_series()
    if twice.any():
        first = bars.filter(twice).select(KEY).row(0)
        raise FeatureInputError(
            f"bars: {first[0]} has more than one row for {first[1]}; keep one per session"
        )
    return bars


def usable() -> pl.Expr:
    """True where all four prices are there, finite and above zero; other rows count as missing sessions."""
    return pl.all_horizontal(
        *(pl.col(c).is_not_null() & pl.col(c).is_finite() & (pl.col(c) > 0) for c in PRICES)
    )


def _all_usable(panel: pl.DataFrame) -> bool:
    """True if `usable` holds for every row, at a fraction of its cost: a sum is finite only if all values are."""
    prices = [panel[c] for c in PRICES]
    return all(
        p.null_count() == 0 and math.isfinite(p.sum()) and (p.min() or 0) > 0  # pyright: ignore
        for p in prices
    )


def _on_first_share(panel: pl.DataFrame) -> pl.DataFrame:
    """The usable rows, their prices, volumes and dividends on the symbol's first share, with SPLIT."""
    if (panel["split_factor"] == 1).all():
        return (panel if _all_usable(panel) else panel.filter(usable())).rename({"split_factor": SPLIT})
    shares = pl.col("split_factor").cum_prod().over("symbol")
    panel = panel.with_columns(shares.alias("_shares"), usable().shift(1).over("symbol").alias("_whole"))
    panel = panel.filter(usable()).with_columns(
        *(pl.col(c) * pl.col("_shares") for c in (*PRICES, "dividend")),
        pl.col("volume") / pl.col("_shares"),
    )
    # After a row that was left out, its split counts too.
    since = pl.col("_shares") / pl.col("_shares").shift(1).over("symbol")
    split = pl.when(pl.col("_whole").fill_null(True)).then(pl.col("split_factor")).otherwise(since)
    return panel.with_columns(split.fill_null(1.0).alias(SPLIT))


def prepare(
    bars: pl.DataFrame,
    *,
    reference: pl.DataFrame | None = None,
    universe: pl.DataFrame | None = None,
    names: ReferenceNames | None = None,
) -> pl.DataFrame:
    """Return the panel: key, AGE, prices, volume, dividend, wealth and the references, by symbol and session.

    The prices that a few kernels read as traded stand beside as `traded_<column>`, with the number of today's
    shares in one of the session before (`split`).

    `wealth` is the worth of one share of the first session with dividends reinvested at the close of their
    ex-date: `wealth[t] / wealth[t-1] = (close[t] + dividend[t]) / close[t-1]`, on one share basis. All
    returns are made of it.

    Args:
        bars: one row per symbol and session: symbol, session, open, high, low, close, volume, and optionally
            split_factor (2.0 on the ex-date of a 2:1 split), dividend (cash per share on its ex-date, on the
            share of that day) and adjusted (true: the factors of the row are already in its prices). Any
            order.
        reference: bars of the index, the sector funds and the VIX series, see `reference_wealth`; None: their
            columns are null.
        universe: symbol, sector and optionally start_date, see `with_references`; None: no symbol has a
            sector.
        names: symbols of the index and of the VIX series in the reference; None: the usual ones.

    Raises:
        FeatureInputError: a column is missing or of a wrong type, a key is null or twice there.
    """
    numbers = [pl.col(c).cast(pl.Float64) for c in (*PRICES, "volume")]
    done = pl.col("adjusted").fill_null(False) if "adjusted" in bars.columns else pl.lit(False)

    def action(column: str, default: float) -> pl.Expr:
        if column not in bars.columns:
            return pl.lit(default).alias(column)
        value = pl.col(column).cast(pl.Float64).fill_null(default).fill_nan(default)
        return pl.when(done).then(default).otherwise(value).alias(column)

    panel = checked(bars).select(*KEY, *numbers, action("split_factor", 1.0), action("dividend", 0.0))
    if (panel["split_factor"] <= 0).any():
        raise FeatureInputError(
            "bars: split_factor holds values of 0 or less; it is 1.0 where nothing happened"
        )
    panel = _on_first_share(panel.with_columns(pl.col(c).alias(f"traded_{c}") for c in TRADED))
    growth = (1 + pl.col("dividend") / pl.col("close")).cum_prod().over("symbol")
    paid = (panel["dividend"] != 0).any()
    panel = panel.select(
        *KEY,
        _AGE,
        *PRICES,
        pl.col("volume").fill_nan(None),
        "dividend",
        (pl.col("close") * growth if paid else pl.col("close")).alias("wealth"),
        *(f"traded_{c}" for c in TRADED),
        SPLIT,
    )
    return with_references(panel, reference, universe, names)
