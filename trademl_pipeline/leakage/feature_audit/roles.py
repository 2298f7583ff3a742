"""Which columns of bars move with a split, told from how they behave.

A vendor restates all history of a price when a later split is known, whatever the column is called. A column counts as
a price if it stays near one (settlement, mid, average) or moves in proportion to one and meets it at one end of each
symbol's history (an adjusted price, a price in cents); where no column has the name of a price, columns that bound each
other like a bar's do. Market value and money traded move with prices too, and a split leaves them: they meet no price
at either end. Cumulative factors are positive, change rarely, go one way, and are 1 at one end.

What none of this tells is restated by nothing, and named in the coverage.
"""

import re
from dataclasses import dataclass, field

import numpy as np
import polars as pl

PRICES = frozenset(
    ("open", "high", "low", "close", "vwap", "price", "adj_open", "adj_high", "adj_low", "adj_close")
)
VOLUMES = frozenset(("volume",))
OTHER_VOLUMES = frozenset(
    ("adj_volume", "v", "vol", "shares", "share_volume", "shares_traded", "shares_outstanding", "shrout")
)
DIVIDENDS = frozenset(("dividend", "dividends", "div", "cash_dividend"))

# Words by which a lone column, beside which there is nothing to compare it with, is a price.
PRICE_WORDS = frozenset(
    (
        "c",
        "close",
        "closing",
        "px",
        "prc",
        "price",
        "last",
        "settle",
        "settlement",
        "mid",
        "bid",
        "ask",
        "nav",
        "quote",
    )
)
FACTOR_WORDS = frozenset(("factor", "cfacpr", "cfacshr", "cum", "adj", "adjustment"))
EVENT_FACTORS = frozenset(("split_factor", "split_ratio"))

# Within this distance (in logarithms), in this share of the rows, a column stays near a price.
NEAR, MOSTLY = 0.2, 0.95
# A ratio is steady where it moves by less than this part of the price's usual move, in this share of the rows.
STEADY_PART, STEADY_SHARE = 0.1, 0.8
# Two columns meet at an end where their ratio is the same for the middle half of the symbols within this.
MEET = 0.25
RARE_CHANGES = 0.05


@dataclass(frozen=True)
class Roles:
    """The effect of a split on the columns of bars.

    Attributes:
        prices: columns that are prices.
        powers: column -> -1 or 1, the power of the split's ratio that multiplies it when all of the bars are adjusted.
        adjusted: the same of columns that are adjusted beside others that are not, and of cumulative factors; empty
            where there are none.
        others: numeric columns that nothing restates.
    """

    prices: frozenset[str] = frozenset()
    powers: dict[str, int] = field(default_factory=dict[str, int])
    adjusted: dict[str, int] = field(default_factory=dict[str, int])
    others: tuple[str, ...] = ()


class _Columns:
    """Numbers of bars by column, and which neighbouring rows are of one symbol."""

    def __init__(self, bars: pl.DataFrame) -> None:
        symbol = bars["symbol"]
        self.same = (symbol[1:] == symbol[:-1]).to_numpy()
        ends = np.flatnonzero(~self.same)
        self.last = np.append(ends, bars.height - 1)
        self.first = np.insert(ends + 1, 0, 0)
        self._bars = bars
        self._logarithms: dict[str, np.ndarray] = {}

    def log(self, column: str) -> np.ndarray:
        """(rows,) logarithm; NaN where missing or not positive."""
        if column not in self._logarithms:
            values = self._bars[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
            with np.errstate(invalid="ignore", divide="ignore"):
                logarithms = np.log(np.where(values > 0, values, np.nan))
            self._logarithms[column] = np.where(np.isfinite(logarithms), logarithms, np.nan)
        return self._logarithms[column]

    def is_positive(self, column: str) -> bool:
        """Return whether nearly every value that there is is above zero."""
        values = self._bars[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        present = values[np.isfinite(values)]
        return bool(len(present)) and float((present > 0).mean()) >= 0.99

    def moves(self, logarithms: np.ndarray) -> np.ndarray:
        """Changes from row to row within symbols, where both are there."""
        moves = np.diff(logarithms)[self.same]
        return moves[np.isfinite(moves)]

    def spread(self, logarithms: np.ndarray) -> float:
        """The smaller of the spreads among symbols at the first and at the last row of each."""
        spreads: list[float] = []
        for ends in (self.first, self.last):
            at = logarithms[ends][np.isfinite(logarithms[ends])]
            # With few symbols their ratio has to be near 1, since there is nothing to compare it with.
            few = len(at) < 3
            spreads.append(
                float(np.abs(at).max(initial=0.0)) if few else float(np.ptp(np.quantile(at, [0.25, 0.75])))
            )
        return min(spreads)


def roles_of(bars: pl.DataFrame) -> Roles:
    """Return what a split does to the columns of bars.

    Args:
        bars: sorted by (symbol, session).
    """
    numeric = [c for c, t in bars.schema.items() if t.is_numeric() and c not in ("symbol", "session")]
    columns = _Columns(bars)
    positive = [c for c in numeric if columns.is_positive(c)]
    prices = {c for c in numeric if c.lower() in PRICES}
    if not prices:
        prices = _bar_of(columns, positive) or {
            c for c in positive if PRICE_WORDS & _words(c) and _walks(columns, c)
        }
    anchor = next((c for c in numeric if c in prices and c.lower() in ("close", "c")), None) or next(
        (c for c in numeric if c in prices), None
    )
    if anchor is None:
        return Roles(others=tuple(numeric))
    known = VOLUMES | OTHER_VOLUMES | DIVIDENDS | EVENT_FACTORS
    unknown = [c for c in positive if c not in prices and c.lower() not in known]
    prices |= {c for c in unknown if _is_near(columns, c, anchor) or _is_proportional(columns, c, anchor)}
    volumes = {c for c in numeric if c.lower() in VOLUMES | OTHER_VOLUMES} - prices
    volumes |= {c for c in unknown if c not in prices and any(_is_a_part(columns, c, v) for v in volumes)}
    powers = {c: -1 for c in numeric if c in prices or c.lower() in DIVIDENDS} | dict.fromkeys(
        sorted(volumes), 1
    )
    adjusted = _adjusted(columns, [c for c in numeric if c in prices], anchor)
    factors = {c for c in unknown if c not in powers and _is_factor(columns, c)}
    # A later split divides what prices are multiplied by, and multiplies what they are divided by.
    for column in sorted(factors):
        adjusted[column] = _direction(columns, column, anchor, [c for c in adjusted if c in prices])
    if adjusted:
        adjusted |= {c: 1 for c in volumes if _words(c) & {"adj", "adjusted"}}
    return Roles(
        frozenset(prices),
        powers,
        adjusted,
        tuple(c for c in numeric if c not in powers and c not in adjusted),
    )


def _words(column: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", column).lower()))


def _is_near(columns: _Columns, column: str, price: str) -> bool:
    ratio = columns.log(column) - columns.log(price)
    ratio = ratio[np.isfinite(ratio)]
    return len(ratio) > 0 and float((np.abs(ratio) < NEAR).mean()) >= MOSTLY


def _is_proportional(columns: _Columns, column: str, price: str) -> bool:
    """Return whether a column moves as a price does, and both meet at one end of the symbols' histories."""
    return (
        _is_steady(columns, column, price)
        and columns.spread(columns.log(column) - columns.log(price)) <= MEET
    )


def _is_steady(columns: _Columns, column: str, price: str) -> bool:
    moves = columns.moves(columns.log(column) - columns.log(price))
    usual = columns.moves(columns.log(price))
    if not len(moves) or not len(usual):
        return False
    limit = max(STEADY_PART * float(np.median(np.abs(usual))), 1e-9)
    return float((np.abs(moves) < limit).mean()) >= STEADY_SHARE


def _is_a_part(columns: _Columns, column: str, volume: str) -> bool:
    """Return whether a column is a volume in another unit, which money traded is not."""
    moves = columns.moves(columns.log(column) - columns.log(volume))
    return len(moves) > 0 and float((np.abs(moves) < 1e-6).mean()) >= STEADY_SHARE


def _walks(columns: _Columns, column: str) -> bool:
    """Return whether a column goes on from where it was, in steps, as a price does."""
    moves = np.abs(columns.moves(columns.log(column)))
    return len(moves) > 0 and 0 < float(np.median(moves)) < NEAR


def _bar_of(columns: _Columns, positive: list[str]) -> set[str]:
    """The columns that bound each other as those of a bar do: near each other, one on top and one at the bottom."""
    for column in positive:
        if not _walks(columns, column):
            continue
        near = [c for c in positive if c == column or _is_near(columns, c, column)]
        if len(near) < 3:
            continue
        logarithms = np.stack([columns.log(c) for c in near])
        whole = np.isfinite(logarithms).all(axis=0)
        top, bottom = (edge(logarithms[:, whole], axis=0) for edge in (np.max, np.min))
        if any((row >= top - 1e-9).mean() >= MOSTLY for row in logarithms[:, whole]) and any(
            (row <= bottom + 1e-9).mean() >= MOSTLY for row in logarithms[:, whole]
        ):
            return set(near)
    return set()


def _adjusted(columns: _Columns, prices: list[str], anchor: str) -> dict[str, int]:
    """Prices that are adjusted beside others that are not."""
    named = [c for c in prices if _words(c) & {"adj", "adjusted"} and not _words(c) & {"unadj", "unadjusted"}]
    if named and len(named) < len(prices):
        return dict.fromkeys(named, -1)
    for column in prices:
        ratio = columns.log(column) - columns.log(anchor)
        moves = np.diff(ratio)
        changed = columns.same & (np.abs(moves) > 1e-3)
        if column == anchor or not _is_steady(columns, column, anchor) or not changed.any():
            continue
        # The one that jumps where the two part is the one that was not adjusted.
        jumps = [float(np.nansum(np.abs(np.diff(columns.log(c))[changed]))) for c in (column, anchor)]
        raw, smooth = (anchor, column) if jumps[0] < jumps[1] else (column, anchor)
        return {c: -1 for c in prices if c == smooth or (c != raw and _is_closer(columns, c, smooth, raw))}
    return {}


def _is_closer(columns: _Columns, column: str, one: str, other: str) -> bool:
    distances = [np.nanmedian(np.abs(columns.log(column) - columns.log(c))) for c in (one, other)]
    return bool(distances[0] < distances[1])


def _is_factor(columns: _Columns, column: str) -> bool:
    """Return whether a column is a cumulative factor of adjustment."""
    logarithms = columns.log(column)
    moves = np.where(columns.same, np.diff(logarithms), 0.0)
    if not np.isfinite(logarithms).all() or float((np.abs(moves) > 1e-12).mean()) > RARE_CHANGES:
        return False
    group = np.cumsum(np.insert(~columns.same, 0, False))[1:]
    up = np.bincount(group, weights=moves > 1e-12) > 0
    down = np.bincount(group, weights=moves < -1e-12) > 0
    if (up & down).any():
        return False
    ends_at_one = any(
        (np.abs(logarithms[ends]) < 1e-9).mean() >= 0.5 for ends in (columns.first, columns.last)
    )
    named = bool(FACTOR_WORDS & _words(column))
    return named or (ends_at_one and bool((up | down).any()))


def _direction(columns: _Columns, factor: str, anchor: str, adjusted: list[str]) -> int:
    """Return -1 where prices are multiplied by a factor to adjust them, and 1 where they are divided by it."""
    logarithms, price = columns.log(factor), columns.log(anchor)
    if adjusted and adjusted[0] != anchor:
        ratio = columns.log(adjusted[0]) - price
        times, by = (np.nansum(np.abs(columns.moves(ratio - sign * logarithms))) for sign in (1, -1))
    else:
        times, by = (np.nansum(np.abs(columns.moves(price + sign * logarithms))) for sign in (1, -1))
    return -1 if times <= by else 1


def has_gaps(bars: pl.DataFrame) -> bool:
    """Return True if prices are missing somewhere, so that an extractor must be able to take it."""
    prices = [c for c, t in bars.schema.items() if c.lower() in PRICES and t.is_float()]
    return any(bars[c].null_count() or bars[c].is_nan().any() for c in prices)
