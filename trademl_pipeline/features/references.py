"""Index, sector and VIX series beside each symbol's own sessions.

The value at session t is that of the same session, joined by date: a reference that has no bar then is
null, and so are the features that read it. Nothing is filled from earlier or later sessions.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from trademl_pipeline.features.errors import FeatureInputError, require_columns
from trademl_pipeline.market.symbols import INDEX_SYMBOL

REFERENCE_COLUMNS: Final = ("index_wealth", "sector_wealth", "vix", "vix3m")
# A real index fund stands for the market where it is at least this much of the history that the synthetic index has.
_ENOUGH_OF_INDEX: Final = 0.9


@dataclass(frozen=True)
class ReferenceNames:
    """Symbols under which the reference frame has its series."""

    index: str = "SPY"
    vix: str = "^VIX"
    vix3m: str = "^VIX3M"

    def shared(self) -> dict[str, str]:
        """Column -> symbol of the series that all symbols share."""
        return {"index_wealth": self.index, "vix": self.vix, "vix3m": self.vix3m}


def index_of_history(reference: pl.DataFrame | None, day: date) -> ReferenceNames:
    """The names to use from `day` on: SPY as the index, or the synthetic one where SPY has too little history.

    It is decided by rows up to that day only, so that a fund listed later does not show in earlier values. A
    window never mixes the two.

    Args:
        reference: symbol, session.
        day: first session of the values.
    """
    names = ReferenceNames()
    if reference is None:
        return names
    past = reference.filter(pl.col("session") <= day)
    sessions_of = {
        s: past.filter(pl.col("symbol") == s)["session"].n_unique() for s in (names.index, INDEX_SYMBOL)
    }
    if sessions_of[names.index] >= max(1, _ENOUGH_OF_INDEX * sessions_of[INDEX_SYMBOL]):
        return names
    return ReferenceNames(index=INDEX_SYMBOL)


def reference_wealth(reference: pl.DataFrame) -> pl.DataFrame:
    """symbol, session and wealth (close with splits and dividends counted in, as of each session).

    Args:
        reference: symbol, session, close, and optionally split_factor, dividend, adjusted as bars have them.

    Raises:
        FeatureInputError: a column is missing, or a symbol has a session twice.
    """
    require_columns(reference, ("symbol", "session", "close"), "reference bars")
    close = pl.col("close").cast(pl.Float64)
    frame = reference.filter(close.is_not_null() & close.is_finite() & (close > 0)).sort("symbol", "session")
    if frame.select(pl.struct("symbol", "session").is_duplicated().any()).item():
        raise FeatureInputError("reference bars hold a symbol twice for one session; keep one row of each")
    done = pl.col("adjusted").fill_null(False) if "adjusted" in frame.columns else pl.lit(False)
    factor, paid = pl.lit(1.0), pl.lit(0.0)
    if "split_factor" in frame.columns:
        factor = pl.when(done).then(1.0).otherwise(pl.col("split_factor").cast(pl.Float64).fill_null(1.0))
    if "dividend" in frame.columns:
        paid = pl.when(done).then(0.0).otherwise(pl.col("dividend").cast(pl.Float64).fill_null(0.0))
    growth = (factor * (1 + paid / close)).cum_prod().over("symbol")
    return frame.select("symbol", "session", (close * growth).alias("wealth"))


def with_references(
    panel: pl.DataFrame,
    reference: pl.DataFrame | None,
    universe: pl.DataFrame | None,
    names: ReferenceNames | None = None,
) -> pl.DataFrame:
    """The panel with index_wealth, sector_wealth, vix and vix3m; null where there is no such session.

    Args:
        panel: symbol, session.
        reference: see `reference_wealth`.
        universe: symbol and `sector`, the symbol of its sector's fund in the reference; with a column
            `start_date` also since when, so that a change of sector does not reach back.
        names: symbols of the index and of the VIX series.
    """
    if reference is None:
        return panel.with_columns(pl.lit(None, dtype=pl.Float64).alias(c) for c in REFERENCE_COLUMNS)
    names = names or ReferenceNames()
    wealth = reference_wealth(reference).with_columns(pl.col("session").cast(panel.schema["session"]))
    shared = wealth.select(pl.col("session").unique())
    for column, symbol in names.shared().items():
        series = wealth.filter(pl.col("symbol") == symbol).select("session", pl.col("wealth").alias(column))
        shared = shared.join(series, on="session", how="left")
    panel = panel.join(shared, on="session", how="left", maintain_order="left")
    if universe is None:
        return panel.with_columns(pl.lit(None, dtype=pl.Float64).alias("sector_wealth"))
    sectors = _sector_of(panel, universe)
    series = wealth.rename({"symbol": "_sector", "wealth": "sector_wealth"})
    return (
        panel.with_columns(sectors)
        .join(series, on=("_sector", "session"), how="left", maintain_order="left")
        .drop("_sector")
    )


def reference_clock(
    keys: pl.DataFrame,
    reference: pl.DataFrame,
    universe: pl.DataFrame | None,
    names: ReferenceNames,
    columns: Collection[str],
) -> pl.Series:
    """Return when the references that a row may have read were known.

    Args:
        keys: symbol, session of the rows.
        reference: as in `with_references`, with knowledge_time.
        universe: as in `with_references`; None: no row reads a sector fund.
        names: symbols of the index and of the VIX series.
        columns: which of `REFERENCE_COLUMNS` are read.

    Returns:
        For each row the latest knowledge_time of any bar of those series up to its session; null where there
        is none.

    Raises:
        FeatureInputError: the reference has no knowledge_time.
    """
    require_columns(reference, ("symbol", "session", "knowledge_time"), "reference bars")
    bars = reference.select("symbol", pl.col("session").cast(keys.schema["session"]), "knowledge_time")
    read = [symbol for column, symbol in names.shared().items() if column in columns]
    shared = _latest(bars.filter(pl.col("symbol").is_in(read)).drop("symbol"))
    rows = keys.select("symbol", "session").with_row_index("_row")
    rows = rows.sort("session").join_asof(shared, on="session", check_sortedness=False)
    known = [rows.sort("_row")["knowledge_time"]]
    if universe is not None and "sector_wealth" in columns:
        funds = _latest(bars, "symbol").rename({"symbol": "_sector"})
        sector_clock = keys.with_columns(_sector_of(keys, universe)).with_row_index("_row").sort("session")
        sector_clock = sector_clock.select("_row", "session", "_sector").join_asof(
            funds, on="session", by="_sector", check_sortedness=False
        )
        known.append(sector_clock.sort("_row")["knowledge_time"].alias("_of_sector"))
    return pl.DataFrame(known).select(pl.max_horizontal(pl.all()).alias("knowledge_time")).to_series()


def _latest(bars: pl.DataFrame, *by: str) -> pl.DataFrame:
    """By session the latest knowledge_time of all rows up to it, in each group."""
    latest = bars.group_by(*by, "session").agg(pl.col("knowledge_time").max()).sort(*by, "session")
    running = pl.col("knowledge_time").cum_max()
    return latest.with_columns(running.over(by) if by else running).sort("session")


def _sector_of(panel: pl.DataFrame, universe: pl.DataFrame) -> pl.Series:
    require_columns(universe, ("symbol", "sector"), "the universe")
    sectors = universe.select(
        "symbol",
        pl.col("sector").alias("_sector"),
        *([pl.col("start_date").cast(panel.schema["session"])] if "start_date" in universe.columns else []),
    )
    if "start_date" not in universe.columns:
        if sectors["symbol"].is_duplicated().any():
            raise FeatureInputError(
                "the universe names a symbol twice; without start_date each has one sector"
            )
        return panel.join(sectors, on="symbol", how="left", maintain_order="left")["_sector"]
    rows = panel.select("symbol", "session").with_row_index("_row").sort("session")
    dated = rows.join_asof(
        sectors.sort("start_date"),
        left_on="session",
        right_on="start_date",
        by="symbol",
        strategy="backward",
        check_sortedness=False,
    )
    return dated.sort("_row")["_sector"]
