"""Checks for what is suspicious about bars that no single row gives away.

Each check looks at bars of some sessions with those before, and returns findings: symbol, session, count and
detail. A finding stands on the session on which it could be known, the later one where two are needed, so that a
check of a month says the same whenever it is made. Suspicions are reported, never repaired: to take out a spike
because it reverted the day after would be to know the day after.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, index_of

# Sessions of bars before the first one judged that decide the findings, and the longest absence that is a gap: a
# symbol that comes back after a longer one counts as listed anew.
LOOKBACK, MAX_GAP = 66, 60
PRICES = ("open", "high", "low", "close")

STALE_RUN = 5
# Ratios of splits, and how far from it (log) the price may end up that day; the larger, the more it may.
_SPLITS = (
    (1.5, 0.02),
    (2.0, 0.08),
    (3.0, 0.08),
    *((float(n), 0.15) for n in (4, 5, 6, 7, 8, 10, 12, 15, 20, 25)),
)
# Beyond this factor no close ratio is needed.
_ABSURD = 8.0
# Dollar volume against its median of 20: a crash multiplies it, a split leaves it.
_STAMPEDE = 6.0
_SPIKE, _SPIKE_SCALE, _REVERTED = 0.25, 8.0, 0.25
_COLLINEAR = 1e-6


@dataclass(frozen=True)
class Window:
    """Bars by symbol and session, beside each what the checks need of the ones before.

    Made by `window`. Columns beside those of bars: index (session ordinal), gap (sessions missing since the bar
    before), before (its close), growth (log of the total return since), opening (log of open over the close before,
    split counted in), dollars. They are null on the first bar and after an absence of more than `MAX_GAP`.
    """

    rows: pl.DataFrame


def window(bars: pl.DataFrame, calendar: str = DEFAULT_CALENDAR) -> Window:
    """Prepare bars for the checks.

    Args:
        bars: raw bars or reference bars, any order; unique on (symbol, session).
        calendar: that the sessions are on.
    """
    done = pl.col("adjusted").fill_null(False) if "adjusted" in bars.columns else pl.lit(False)

    def action(column: str, default: float) -> pl.Expr:
        if column not in bars.columns:
            return pl.lit(default)
        return pl.when(done).then(default).otherwise(pl.col(column).fill_null(default))

    rows = bars.sort("symbol", "session")
    rows = rows.with_columns(index_of(rows["session"], calendar).alias("index"))
    gap = (pl.col("index") - pl.col("index").shift(1) - 1).over("symbol")
    rows = rows.with_columns(pl.when(gap <= MAX_GAP).then(gap).alias("gap"))
    before = pl.when(pl.col("gap").is_not_null()).then(pl.col("close").shift(1).over("symbol"))
    rows = rows.with_columns(before.alias("before"))
    split, paid = action("split_factor", 1.0), action("dividend", 0.0)
    return Window(
        rows.with_columns(
            (split * (pl.col("close") + paid) / pl.col("before")).log().alias("growth"),
            (split * (pl.col("open") + paid) / pl.col("before")).log().alias("opening"),
            (pl.col("close") * pl.col("volume").fill_null(0)).alias("dollars"),
        )
    )


def _usual(value: pl.Expr, bars: int, shift: int) -> pl.Expr:
    """Median of a symbol's last values; null where they reach back over more sessions than a look-back holds."""
    reach = pl.col("index") - pl.col("index").shift(bars + shift)
    median = value.rolling_median(bars, min_samples=bars).shift(shift)
    return pl.when(reach <= LOOKBACK).then(median).over("symbol")


def missing_sessions(seen: Window) -> pl.DataFrame:
    """Sessions without a bar between two bars of a symbol; the finding stands on the later one."""
    rows = seen.rows.filter(pl.col("gap") > 0)
    return _findings(rows, pl.format("{} sessions without a bar", pl.col("gap")), count=pl.col("gap"))


def stale_runs(seen: Window) -> pl.DataFrame:
    """Runs of five or more sessions without volume at one close; the finding stands on the fifth."""
    idle = pl.col("volume").fill_null(0) == 0
    continues = (
        idle & idle.shift(1) & (pl.col("close") == pl.col("before")) & (pl.col("gap") == 0)
    ).fill_null(False)
    rows = seen.rows.with_columns((~continues.over("symbol")).cum_sum().alias("_run"))
    length = pl.int_range(1, pl.len() + 1).over("_run")
    rows = rows.with_columns(length.alias("_length")).filter(idle & (pl.col("_length") == STALE_RUN))
    return _findings(rows, pl.format("five sessions without volume at {}", pl.col("close")))


def zero_volume(seen: Window) -> pl.DataFrame:
    """Bars on which nothing traded."""
    return _findings(
        seen.rows.filter(pl.col("volume") == 0), pl.format("no volume, close {}", pl.col("close"))
    )


def missing_volume(seen: Window) -> pl.DataFrame:
    """Bars whose volume nobody gives, as those of an index."""
    return _findings(seen.rows.filter(pl.col("volume").is_null()), pl.lit("volume is null"))


def flat_bars(seen: Window) -> pl.DataFrame:
    """Bars whose four prices are one, although something traded or volume is not known: there is only a close."""
    flat = pl.all_horizontal(pl.col(c) == pl.col("close") for c in PRICES)
    rows = seen.rows.filter(flat & (pl.col("volume").fill_null(1) > 0))
    return _findings(rows, pl.format("all four prices are {}", pl.col("close")))


def unadjusted_splits(seen: Window) -> pl.DataFrame:
    """Moves that are a split which the source did not tell of.

    Opening and close both stand near a split's ratio from the close before, while no more dollars than usual
    changed hands; or the close moved by a factor of eight and more, however.
    """
    rows = seen.rows.with_columns(_usual(pl.col("dollars"), 20, 1).alias("_usual"))
    size = pl.col("growth").abs()
    calm = pl.col("dollars") <= _STAMPEDE * pl.col("_usual")
    same_way = pl.col("growth").sign() == pl.col("opening").sign()
    near = pl.any_horizontal(
        ((size - np.log(ratio)).abs() <= slack) & ((pl.col("opening").abs() - np.log(ratio)).abs() <= slack)
        for ratio, slack in _SPLITS
    )
    rows = rows.filter((near & same_way & calm) | (size >= np.log(_ABSURD)))
    factor = size.exp().round(2)
    reverse = pl.when(pl.col("growth") > 0).then(pl.lit("1:{}")).otherwise(pl.lit("{}:1"))
    text = pl.format("close {} after {}, as in a split of ", pl.col("close"), pl.col("before"))
    return _findings(
        rows, pl.concat_str(text, reverse.str.replace("{}", factor.cast(pl.String), literal=True))
    )


def reverting_spikes(seen: Window) -> pl.DataFrame:
    """Moves far beyond a symbol's usual ones that the next bar takes back; the finding stands on that bar."""
    rows = seen.rows.with_columns(
        _usual(pl.col("growth").abs(), 40, 2).fill_null(0.0).alias("_usual"),
        pl.col("growth").shift(1).over("symbol").alias("_move"),
        pl.col("session").shift(1).over("symbol").alias("_on"),
    )
    move = pl.col("_move").abs()
    large = (move >= _SPIKE) & (move >= _SPIKE_SCALE * pl.col("_usual"))
    back = (pl.col("_move") + pl.col("growth")).abs() <= _REVERTED * move
    text = pl.format("close {} on {}, {} after", pl.col("before"), pl.col("_on"), pl.col("close"))
    return _findings(rows.filter(large & back), text)


def interpolated_bars(seen: Window) -> pl.DataFrame:
    """Bars that were made, not traded: all four prices on a straight line over four bars, or a bar said again."""
    four = pl.all_horizontal(_straight(c) for c in PRICES)
    moved = pl.any_horizontal((pl.col(c) != pl.col(c).shift(1)) for c in PRICES)
    consecutive = (pl.col("gap") == 0) & (pl.col("gap").shift(1) == 0) & (pl.col("gap").shift(2) == 0)
    line = (four & moved & four.shift(1) & consecutive).over("symbol").fill_null(False)
    # A line goes on; it is found once, where it has become one.
    begins = line & ~line.shift(1).over("symbol").fill_null(False)
    same = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in (*PRICES, "volume"))
    again = (same & (pl.col("volume") > 0) & (pl.col("gap") == 0)).over("symbol").fill_null(False)
    rows = seen.rows.with_columns(begins.alias("_line"), again.alias("_again")).filter(
        pl.col("_line") | pl.col("_again")
    )
    text = (
        pl.when("_line")
        .then(pl.lit("all prices on a straight line since three bars"))
        .otherwise(pl.lit("the same bar as before, volume included"))
    )
    return _findings(rows, text)


def _straight(column: str) -> pl.Expr:
    value = pl.col(column)
    return (value - 2 * value.shift(1) + value.shift(2)).abs() <= _COLLINEAR * value


def vendor_disagreement(seen: Window, other: Window, tolerance: float = 0.01) -> pl.DataFrame:
    """Returns on which two sources differ by more than `tolerance`, where both have the bar and the one before.

    Returns are compared, not prices, which sources adjust each in its own way.
    """
    keys = ["symbol", "session"]
    rows = seen.rows.filter(pl.col("gap") == 0).join(
        other.rows.filter(pl.col("gap") == 0).select(*keys, pl.col("growth").alias("_theirs")), on=keys
    )
    rows = rows.filter((pl.col("growth") - pl.col("_theirs")).abs() > tolerance)
    percentages = (pl.col(c).exp().sub(1).mul(100).round(2) for c in ("growth", "_theirs"))
    return _findings(rows, pl.format("returned {} % here, {} % there", *percentages))


def _findings(rows: pl.DataFrame, detail: pl.Expr, count: pl.Expr | None = None) -> pl.DataFrame:
    size = count if count is not None else pl.lit(1)
    return rows.select(
        "symbol",
        "session",
        size.cast(pl.Int64).alias("count"),
        detail.cast(pl.String).alias("detail"),
    )


CHECKS: dict[str, Callable[[Window], pl.DataFrame]] = {
    "missing_sessions": missing_sessions,
    "stale_runs": stale_runs,
    "zero_volume": zero_volume,
    "missing_volume": missing_volume,
    "flat_bars": flat_bars,
    "unadjusted_splits": unadjusted_splits,
    "reverting_spikes": reverting_spikes,
    "interpolated_bars": interpolated_bars,
}
