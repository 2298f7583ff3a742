"""Series to compare symbols with: real ones where there are any, and the index built from the bars.

Real series come from a second file or folder, or from the simulated market's own factors, or, where neither is
given, from rows of known funds among the bars themselves (SPY, XLK, ^VIX, ...). The synthetic index is always
there beside them.
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl

from trademl_pipeline.market import symbols as lists
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, FIRST_DAY, month_bounds, sessions_before
from trademl_pipeline.market.errors import EmptyMonthError, UniverseError
from trademl_pipeline.market.index_builder import IndexSpec, build_index
from trademl_pipeline.market.quality.rows import SplitBars, split_bars
from trademl_pipeline.market.schema import DEFECT, ROW, SOURCE_COLUMNS
from trademl_pipeline.market.sources import BarSource, fetch_month
from trademl_pipeline.tables import REFERENCE_BARS

FUND, SECTOR, VOLATILITY, SYNTHETIC = "fund", "sector", "volatility", "synthetic"
# Cboe computes the VIX until a quarter of an hour after the stock market's close.
VOLATILITY_LAG = timedelta(minutes=15)
SECTOR_MAP = pl.Schema({"symbol": pl.String, "sector": pl.String, "start_date": pl.Date})


class ReferenceMarket(Protocol):
    """A market that has references of its own, such as the simulated one."""

    def reference_bars(self) -> pl.DataFrame:
        """Bars of its index and sector funds and its volatility, in the columns of a source."""
        ...

    def sector_funds(self) -> pl.DataFrame:
        """symbol, sector: the fund that stands for each symbol's sector."""
        ...


def kind_of(symbol: str) -> str:
    """The kind of a reference series: sector, volatility or fund."""
    if symbol in lists.SECTOR_FUNDS:
        return SECTOR
    return VOLATILITY if symbol in lists.VOLATILITY_INDICES else FUND


def reference_rows(
    market: ReferenceMarket | None, series: BarSource | None, bars: pl.DataFrame, month: str
) -> pl.DataFrame:
    """The month's real reference series as their source has them.

    Args:
        market: the simulated market that the bars come from, which has references of its own; None for others.
        series: where the references come from, if that was said.
        bars: the month's bars, for known funds among them.
        month: "YYYY-MM-01".

    Returns:
        The columns of `schema.SOURCE_COLUMNS`, with `row` and `defect` where the source has them. No row where
        there is no series in that month.
    """
    if series is not None:
        try:
            series_rows = fetch_month(series, month)
        except EmptyMonthError:
            return bars.select(SOURCE_COLUMNS).clear()
    elif market is not None:
        first, last = month_bounds(month)
        series_rows = market.reference_bars().filter(pl.col("session").is_between(first, last))
    else:
        known = (*lists.REFERENCES, *lists.VOLATILITY_INDICES)
        series_rows = bars.filter(pl.col("symbol").is_in(known)).select(SOURCE_COLUMNS)
    late = (
        pl.when(pl.col("symbol").is_in(lists.VOLATILITY_INDICES)).then(VOLATILITY_LAG).otherwise(timedelta(0))
    )
    columns = [c for c in (*SOURCE_COLUMNS, ROW, DEFECT) if c in series_rows.columns]
    return series_rows.select(columns).with_columns(
        pl.col("event_time") + late, pl.col("knowledge_time") + late
    )


def split_references(
    rows: pl.DataFrame, *, ingested_at: datetime, calendar: str = DEFAULT_CALENDAR
) -> SplitBars:
    """Judge reference rows as bars are judged, but that a volume may be missing, and tell their kind.

    Args:
        rows: from `reference_rows`.
        ingested_at: of this run.
        calendar: that their sessions are on.

    Returns:
        good: in the schema REFERENCE_BARS; quarantined: as `quality.rows.split_bars`.
    """
    good, bad = split_bars(rows, ingested_at=ingested_at, calendar=calendar, volume_required=False)
    kinds = pl.col("symbol").map_elements(kind_of, return_dtype=pl.String)
    return SplitBars(good.with_columns(kinds.alias("kind")).select(list(REFERENCE_BARS.columns)), bad)


def synthetic_rows(
    bars: pl.DataFrame,
    month: str,
    base: float,
    *,
    spec: IndexSpec | None = None,
    membership_intervals: pl.DataFrame | None = None,
    shares: pl.DataFrame | None = None,
    ingested_at: datetime,
) -> pl.DataFrame:
    """Return the index of one month, in the schema REFERENCE_BARS; no row where it has no member.

    Args:
        bars: the month's bars and those of its warm-up; funds and indices among them are left out.
        month: "YYYY-MM-01".
        base: level of the index before the month.
        spec, membership_intervals, shares: as in `index_builder.build_index`.
        ingested_at: moment of the computation, with time zone.
    """
    spec = spec or IndexSpec()
    first, last = month_bounds(month)
    built = build_index(
        constituents(bars),
        spec,
        first=first,
        base=base,
        membership_intervals=membership_intervals,
        shares=shares,
    )
    return (
        built.filter(pl.col("session") <= last)
        .with_columns(
            pl.lit(1.0).alias("split_factor"),
            pl.lit(0.0).alias("dividend"),
            pl.lit(False).alias("adjusted"),
            pl.lit(f"constituents:{spec.weighting}").alias("source"),
            pl.lit(ingested_at).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias("ingested_at"),
            pl.lit(SYNTHETIC).alias("kind"),
        )
        .select(list(REFERENCE_BARS.columns))
    )


def warmup_start(month: str, spec: IndexSpec, calendar: str = DEFAULT_CALENDAR) -> date:
    """First session whose bars decide the month's index."""
    return sessions_before(month, spec.warmup, calendar)


def constituents(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars without those of funds and indices."""
    return bars.filter(~pl.col("symbol").is_in((*lists.REFERENCES, *lists.VOLATILITY_INDICES)))


def sector_map(market: ReferenceMarket | None, path: str | Path | None = None) -> pl.DataFrame:
    """Which fund stands for the sector of a symbol, and since when.

    Args:
        market: a simulated market knows its sectors; for others (None) the built-in map of the named universes holds.
        path: CSV with symbol, sector (the fund's symbol) and optionally start_date, which goes before the
            built-in map for the symbols that it names.

    Returns:
        symbol, sector, start_date; sorted. Symbols that nothing is known of are not in it.

    Raises:
        UniverseError: the file is missing or wrong.
    """
    if market is not None:
        known = market.sector_funds().with_columns(pl.lit(FIRST_DAY).alias("start_date"))
    else:
        known = _built_in()
    if path:
        custom = _sector_file(Path(path))
        known = pl.concat([known.join(custom, on="symbol", how="anti"), custom])
    return known.sort("symbol", "start_date")


def sectors_of(sectors: pl.DataFrame, bars: pl.DataFrame, month: str) -> pl.DataFrame:
    """The map of the month's symbols as known in the month: moves that lie ahead are hidden."""
    last = month_bounds(month)[1]
    symbols = bars.select(pl.col("symbol").unique())
    return (
        sectors.filter(pl.col("start_date") <= last)
        .join(symbols, on="symbol", how="semi")
        .sort("symbol", "start_date")
    )


def _built_in() -> pl.DataFrame:
    rows: list[tuple[str, str, date]] = []
    for symbol, fund in lists.SECTOR_OF.items():
        if symbol in lists.MOVED:
            before, since = lists.MOVED[symbol]
            rows += [(symbol, before, FIRST_DAY), (symbol, fund, since)]
        else:
            rows.append((symbol, fund, FIRST_DAY))
    return pl.DataFrame(rows, schema=SECTOR_MAP, orient="row")


def _sector_file(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UniverseError(f"the map of sectors {path} cannot be read: {error}") from error
    missing = [c for c in ("symbol", "sector") if c not in frame.columns]
    if missing:
        raise UniverseError(
            f"the map of sectors {path} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}. "
            "Write symbol, sector (the symbol of the sector's fund) and, where a name moved, start_date"
        )
    if "start_date" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias("start_date"))
    dates = pl.col("start_date").str.strip_chars().replace("", None)
    bad = frame.filter(dates.is_not_null() & dates.str.to_date("%Y-%m-%d", strict=False).is_null())
    if bad.height:
        raise UniverseError(
            f"the map of sectors {path}: start_date is {bad['start_date'][0]!r}; write dates as YYYY-MM-DD"
        )
    sectors = frame.select("symbol", "sector", dates.str.to_date("%Y-%m-%d").fill_null(FIRST_DAY))
    if sectors.select(pl.any_horizontal(pl.col("symbol", "sector").is_null()).any()).item():
        raise UniverseError(f"the map of sectors {path} has a row without symbol or sector")
    twice = sectors.filter(sectors.select("symbol", "start_date").is_duplicated())
    if twice.height:
        raise UniverseError(f"the map of sectors {path} names {twice['symbol'][0]} twice for one day")
    return sectors


def shares_file(path: str | Path) -> pl.DataFrame:
    """Shares outstanding from a CSV: symbol, shares, and optionally start_date, the day the number was known.

    Raises:
        UniverseError: the file is missing or wrong.
    """
    try:
        frame = pl.read_csv(path, schema_overrides={"symbol": pl.String}, try_parse_dates=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UniverseError(f"the shares outstanding in {path} cannot be read: {error}") from error
    wrong = [c for c in ("symbol", "shares") if c not in frame.columns]
    if wrong or not frame["shares"].dtype.is_numeric():
        raise UniverseError(
            f"{path} needs the columns symbol and shares, a number; it has {', '.join(frame.columns)}"
        )
    if "start_date" in frame.columns and frame["start_date"].dtype != pl.Date:
        raise UniverseError(f"{path}: start_date holds {frame['start_date'][0]!r}; write dates as YYYY-MM-DD")
    return frame
