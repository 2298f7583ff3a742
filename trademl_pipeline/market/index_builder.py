"""A synthetic index from the bars of its constituents.

The level is chain-linked: each session multiplies it by the members' weighted total return,

    level[t] = level[t-1] · Σ w[i] · split[i,t]·(close[i,t] + dividend[i,t]) / close[i,t']

where t' is the member's bar before t and the weights are those of t', known before the session began. Only
returns enter the level, so a member's entry, exit, split or dividend does not move it. Opens, highs and lows are
the same sum over the members' opens, highs and lows. Members do not reach their extremes at the same moment, so
the index's true range was narrower. Volume is the members' dollar volume over the level.

Members of session t are the symbols with a bar on t and another at most `max_gap` sessions before, and, where
membership intervals are given, that belong to the universe on t. A name that dies stays in until its last bar; what
its holders lost after that no bar tells. A bar that was not known within `known_within` of its session's close takes no
part: the index as of t is made of what was known at t.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

import polars as pl

from trademl_pipeline.market.errors import BarsSchemaError, MarketError
from trademl_pipeline.market.symbols import INDEX_SYMBOL

Weighting = Literal["cap", "price", "equal"]
_PRICES = ("open", "high", "low", "close")
_NEEDED = ("symbol", "session", *_PRICES, "volume", "event_time", "knowledge_time")


@dataclass(frozen=True)
class IndexSpec:
    """How an index is weighted.

    Attributes:
        weighting: "cap" weighs by shares times price where shares are known, and otherwise by one over the rank in
            dollar volume, since sizes of firms follow Zipf's law (Axtell, Science 293, 2001); "price" as the
            Dow Jones does; "equal".
        window: bars over which dollar volume is averaged.
        max_gap: most sessions between two bars of a member for the return between them to count.
        max_move: a member whose price grew or shrank by more than this factor since its bar before takes no part in the
            session: it is far more often a split left unadjusted or a wrong price than a return.
        known_within: time after its session's close within which a bar must have been known.
        symbol: name of the index.
    """

    weighting: Weighting = "cap"
    window: int = 20
    max_gap: int = 5
    max_move: float = 5.0
    known_within: timedelta = timedelta(hours=1)
    symbol: str = INDEX_SYMBOL

    def __post_init__(self) -> None:
        if self.weighting not in get_args(Weighting):
            raise MarketError(
                f"index weighting is {self.weighting!r}; it may be {', '.join(get_args(Weighting))}"
            )
        if self.window < 1 or self.max_gap < 1:
            raise MarketError(f"index window ({self.window}) and max_gap ({self.max_gap}) are at least 1")
        if self.max_move <= 1:
            raise MarketError(f"index max_move is {self.max_move}; it is a factor above 1")

    @property
    def warmup(self) -> int:
        """Sessions of bars before the first one wanted that decide its value."""
        return self.window + self.max_gap


def build_index(
    bars: pl.DataFrame,
    spec: IndexSpec | None = None,
    *,
    first: date | None = None,
    base: float = 1000.0,
    membership_intervals: pl.DataFrame | None = None,
    shares: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Bars of the index.

    Args:
        bars: the constituents, any order: the columns of raw bars; split_factor, dividend and adjusted may be
            absent.
        spec: None is weighting by capital.
        first: first session to return; the bars before are warm-up (`spec.warmup` sessions are enough). None
            returns all, from the second session that there is.
        base: the level before the first session returned.
        membership_intervals: symbol, start_date, end_date of who may be a member when; None: every symbol, always.
        shares: symbol, shares outstanding, and optionally start_date (Date), since when, which must be the day
            on which the number was known. With it "cap" has the symbols with a number only.

    Returns:
        symbol, session, open, high, low, close, volume, members (how many), event_time, knowledge_time (the
        latest of any bar it was made of so far); sorted. A session without a member has no row.

    Raises:
        BarsSchemaError: a column is missing.
    """
    spec = spec or IndexSpec()
    for column in _NEEDED:
        if column not in bars.columns:
            raise BarsSchemaError(f"the constituents' bars lack the column {column!r}", column)
    rows = _weighted(_links(bars, spec), spec, shares)
    if membership_intervals is not None:
        rows = _belonging(rows, membership_intervals)
    sessions = _sums(rows)
    if first is not None:
        sessions = sessions.filter(pl.col("session") >= first)
    close = base * pl.col("close").cum_prod()
    before = close.shift(1, fill_value=base)
    return (
        sessions.with_columns(
            *((before * pl.col(c)).alias(c) for c in ("open", "high", "low")), close.alias("close")
        )
        .with_columns(
            pl.lit(spec.symbol).alias("symbol"),
            # The sums of contradiction-free bars agree but for rounding.
            pl.max_horizontal("open", "high", "low", "close").alias("high"),
            pl.min_horizontal("open", "high", "low", "close").alias("low"),
            (pl.col("dollars") / pl.col("close")).alias("volume"),
        )
        .select("symbol", "session", *_PRICES, "volume", "members", "event_time", "knowledge_time")
    )


def _links(bars: pl.DataFrame, spec: IndexSpec) -> pl.DataFrame:
    """Each bar beside the one before it: growth of the four prices since, and what weighs the member."""
    done = pl.col("adjusted").fill_null(False) if "adjusted" in bars.columns else pl.lit(False)

    def action(column: str, default: float) -> pl.Expr:
        if column not in bars.columns:
            return pl.lit(default).alias(column)
        return pl.when(done).then(default).otherwise(pl.col(column).fill_null(default)).alias(column)

    usable = pl.all_horizontal((pl.col(c).is_finite() & (pl.col(c) > 0)).fill_null(False) for c in _PRICES)
    in_time = pl.col("knowledge_time") <= pl.col("event_time") + spec.known_within
    rows = bars.filter(usable & in_time).select(
        *_NEEDED, action("split_factor", 1.0), action("dividend", 0.0)
    )
    days = rows["session"].unique().sort()
    order = pl.DataFrame({"session": days, "_index": range(len(days))})
    rows = rows.join(order, on="session").sort("symbol", "session")
    # Whole dollars add up without rounding, so a rank does not depend on where the history begins.
    dollars = (pl.col("close") * pl.col("volume").fill_null(0.0)).fill_nan(0.0).round().cast(pl.Int64)
    rows = rows.with_columns(dollars.alias("dollars"))
    traded = pl.col("dollars").rolling_sum(spec.window, min_samples=1)
    bars_so_far = pl.int_range(1, pl.len() + 1).clip(upper_bound=spec.window)
    previous = pl.col("close").shift(1)
    return (
        rows.with_columns((traded / bars_so_far).over("symbol").alias("_traded"))
        .with_columns(
            previous.over("symbol").alias("_previous"),
            pl.col("_traded").shift(1).over("symbol"),
            (pl.col("_index") - pl.col("_index").shift(1)).over("symbol").alias("_gap"),
            pl.col("session").shift(1).over("symbol").alias("_since"),
        )
        .filter(pl.col("_gap") <= spec.max_gap)
        .with_columns(
            (pl.col("split_factor") * (pl.col(c) + pl.col("dividend")) / pl.col("_previous")).alias(c)
            for c in _PRICES
        )
        .filter(pl.col("close").is_between(1 / spec.max_move, spec.max_move))
    )


def _weighted(rows: pl.DataFrame, spec: IndexSpec, shares: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with `_size`, what their weight is proportional to, known at the bar before."""
    if spec.weighting == "equal":
        return rows.with_columns(pl.lit(1.0).alias("_size"))
    if spec.weighting == "price":
        return rows.with_columns(pl.col("_previous").alias("_size"))
    if shares is None:
        # Filled in once it is known who is in the session.
        return rows.with_columns(pl.lit(None, pl.Float64).alias("_size"))
    counts = shares.select("symbol", pl.col("shares").cast(pl.Float64), _since(shares)).sort("start_date")
    dated = rows.sort("_since").join_asof(
        counts, left_on="_since", right_on="start_date", by="symbol", check_sortedness=False
    )
    return dated.filter(pl.col("shares") > 0).with_columns(
        (pl.col("shares") * pl.col("_previous")).alias("_size")
    )


def _since(shares: pl.DataFrame) -> pl.Expr:
    always = pl.lit(date.min).alias("start_date")
    return pl.col("start_date").cast(pl.Date) if "start_date" in shares.columns else always


def _belonging(rows: pl.DataFrame, membership_intervals: pl.DataFrame) -> pl.DataFrame:
    keys = rows.select("symbol", "session").join(membership_intervals, on="symbol")
    end, day = pl.col("end_date"), pl.col("session")
    within = keys.filter((pl.col("start_date") <= day) & (end.is_null() | (day < end)))
    return rows.join(within.select("symbol", "session").unique(), on=["symbol", "session"], how="semi")


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    """By session: growth of the four prices, dollars traded, members and times."""
    rank = pl.col("_traded").rank("min", descending=True).over("session")
    rows = rows.with_columns(pl.coalesce("_size", 1 / rank).alias("_size")).sort("session", "symbol")
    total = pl.col("_size").sum()
    return (
        rows.group_by("session", maintain_order=True)
        .agg(
            *(((pl.col("_size") * pl.col(c)).sum() / total).alias(c) for c in _PRICES),
            pl.col("dollars").sum(),
            pl.len().alias("members"),
            pl.col("event_time").max(),
            pl.col("knowledge_time").max(),
        )
        .with_columns(pl.col("knowledge_time").cum_max())
    )
