"""A portfolio made again from less than there was: what it wanted and filled until then is the same.

It is made again in three ways. From what was there at an earlier session, since a size or a choice of the whole period
is another one then. From what was there when an earlier session *opened*, its own high, low and close and all that
follows replaced: what is filled at an open knows nothing of the day, and a leak of a single session shows in no other
way. And with other names of the symbols: a rule that was told which of them did well does not know them any more.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np
import polars as pl

from trademl_pipeline.leakage.probes.trade_columns import EXECUTION
from trademl_pipeline.leakage.report import Violation
from trademl_pipeline.market.calendar import open_utc

# Symbols keep their order, by which ties are decided.
PREFIX = "_"
# Of log prices and volumes of sessions that were replaced.
_SPREAD = 0.05
_PRICES = ("open", "high", "low", "close", "vwap")
_KEY = ["symbol", "session"]


class Traded(Protocol):
    """The part of a portfolio that is compared, see `portfolio.Portfolio`."""

    @property
    def equity(self) -> pl.DataFrame:
        """session, until."""
        ...

    @property
    def signals(self) -> pl.DataFrame:
        """symbol, session, weight."""
        ...

    @property
    def fills(self) -> pl.DataFrame:
        """symbol, session, fill_session, fill_time, price, weight_change."""
        ...


Make = Callable[[pl.DataFrame, pl.DataFrame], Traded]


@dataclass(frozen=True)
class Again:
    """The result of making a portfolio again.

    Attributes:
        violations: the first of each column that moved, by the way in which it was made.
        cuts: sessions as of which it was made again.
    """

    violations: list[Violation]
    cuts: int


def made_again(
    portfolio: Traded,
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    make: Make,
    *,
    calendar: str,
    cuts: int,
    seed: int,
) -> Again:
    """Make a portfolio again, and compare what it wanted and filled.

    Args:
        portfolio: as it is shown.
        predictions, bars: that it was made of.
        make: makes the portfolio of (predictions, bars).
        calendar: exchange calendar that gives the opens.
        cuts: as of how many sessions it is made again.
        seed: of their draw.
    """
    # A portfolio needs a session to hold.
    sessions = portfolio.equity["session"].to_list()[2:]
    chosen = sorted(random.Random(seed).sample(sessions, min(cuts, len(sessions))))
    refusals: dict[str, Violation] = {}
    for number, cut in enumerate(chosen):
        then = make(predictions.filter(pl.col("session") <= cut), bars.filter(pl.col("session") <= cut))
        of_then = f"the one of what was there at {cut}", "it used what came later"
        _compare(
            refusals, portfolio, then, cut, of_then, pl.col("session") <= cut, pl.col("fill_session") < cut
        )
        opened = make(
            predictions.filter(pl.col("session") < cut), at_the_open(bars, cut, seed=seed + number + 1)
        )
        of_open = (
            f"the one of what was there when {cut} opened",
            "it used the session that it traded in, or what came later",
        )
        within = (pl.col("fill_session") < cut) | (pl.col("fill_time") == _open(cut, calendar))
        _compare(refusals, portfolio, opened, cut, of_open, pl.col("session") < cut, within)
    if chosen:
        _compare_renamed(refusals, portfolio, predictions, bars, make)
    return Again(list(refusals.values()), len(chosen))


def _compare_renamed(
    refusals: dict[str, Violation],
    portfolio: Traded,
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    make: Make,
) -> None:
    try:
        other = _renamed_back(make(_renamed(predictions), _renamed(bars)))
    except Exception as error:
        detail = f"with other names of the symbols it cannot be made: {type(error).__name__}: {error}"
        refusals["names"] = Violation(EXECUTION, "symbol", detail=detail)
        return
    words = "the one with other names of the symbols", "it knew symbols by their names"
    _compare(refusals, portfolio, other, None, words, pl.lit(True), pl.lit(True))


def _open(session: date, calendar: str) -> datetime:
    opened: Any = open_utc(session, calendar)
    return opened


def at_the_open(bars: pl.DataFrame, session: date, *, seed: int) -> pl.DataFrame:
    """Return the bars as they may have gone on after a session opened.

    Args:
        bars: symbol, session, and prices.
        session: at whose open what is known ends. Its other prices are its open; its volume stays, as the limit to the
            size of a fill.
        seed: of what follows: prices and volumes of later sessions are multiplied by noise.
    """
    noise = np.random.default_rng(seed)
    prices = [c for c in _PRICES if c in bars.columns]
    inside, later = pl.col("session") == session, pl.col("session") > session
    factor = pl.Series("_factor", np.exp(_SPREAD * noise.standard_normal(bars.height)))
    volume = pl.Series("_volume", np.exp(noise.standard_normal(bars.height)))
    of_prices = [
        pl.when(inside).then("open").when(later).then(pl.col(c) * pl.col("_factor")).otherwise(c).alias(c)
        for c in prices
    ]
    of_volume = pl.when(later).then(pl.col("volume") * pl.col("_volume")).otherwise("volume").alias("volume")
    changed = bars.with_columns(factor, volume).with_columns(*of_prices, of_volume)
    return changed.drop("_factor", "_volume")


def _renamed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns((pl.lit(PREFIX) + pl.col("symbol").cast(pl.String)).alias("symbol"))


@dataclass(frozen=True)
class _Record:
    equity: pl.DataFrame
    signals: pl.DataFrame
    fills: pl.DataFrame


def _renamed_back(portfolio: Traded) -> _Record:
    back = pl.col("symbol").cast(pl.String).str.strip_prefix(PREFIX)
    return _Record(portfolio.equity, portfolio.signals.with_columns(back), portfolio.fills.with_columns(back))


def _compare(
    refusals: dict[str, Violation],
    ours: Traded,
    theirs: Traded,
    cut: date | None,
    words: tuple[str, str],
    signals: pl.Expr,
    fills: pl.Expr,
) -> None:
    """Add what differs between the signals and fills that a condition selects."""
    # It closes at its last open, the one after its last prediction: what it fills there is its end, not its rule.
    end: Any = theirs.equity["until"].max() if theirs.equity.height else cut
    if cut is not None:
        fills = fills & (pl.col("fill_session") < pl.lit(end))
    for name, condition, key, values in (
        ("signals", signals, _KEY, ["weight"]),
        ("fills", fills, [*_KEY, "fill_session"], ["price", "weight_change"]),
    ):
        a, b = (getattr(p, name).filter(condition) for p in (ours, theirs))
        for violation in _compared(a, b, key, values, name, cut, words):
            refusals.setdefault(f"{name} {violation.column}", violation)


def _compared(
    ours: pl.DataFrame,
    theirs: pl.DataFrame,
    key: list[str],
    values: list[str],
    name: str,
    cut: date | None,
    words: tuple[str, str],
) -> list[Violation]:
    which, why = words
    # A symbol is text here, however its frames keep it.
    both = (
        ours.select(pl.col("symbol").cast(pl.String), *key[1:], *values)
        .join(
            theirs.select(
                pl.col("symbol").cast(pl.String), *key[1:], *(pl.col(v).alias(f"_{v}") for v in values)
            ),
            on=key,
            how="full",
            coalesce=True,
            maintain_order="left",
        )
        .sort("session", maintain_order=True)
    )
    refusals: list[Violation] = []
    for value in values:
        a, b = pl.col(value), pl.col(f"_{value}")
        # A trade of next to nothing is left out of a portfolio, and by a hair on which side of that it lies: what is
        # on one side alone is judged by its size, and has no price to compare.
        compared = both.drop_nulls([value, f"_{value}"]) if value == "price" else both
        bad = compared.filter(
            (a.fill_null(0.0) - b.fill_null(0.0)).abs() > 1e-8 * pl.max_horizontal(pl.lit(1.0), a.abs())
        )
        if bad.is_empty():
            continue
        first = bad.row(0, named=True)
        detail = (
            f"{name}: {first[value]} in the portfolio, but {first[f'_{value}']} in {which}, and so in {bad.height} of "
            f"{both.height}: {why}"
        )
        refusals.append(
            Violation(EXECUTION, value, first["symbol"], cut, first["session"], None, detail, bad.height)
        )
    return refusals
