"""Breakout classes K0-K5 (the breakout design).

A class is the first-passage label between gains and failure after an observation of a pattern.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trademl_pipeline.features.consolidation import RULES
from trademl_pipeline.features.patterns import pattern_observations
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.rules import PatternRules
from trademl_pipeline.labels.horizon import KEY, Clock, Sessions

CLASSES: Final = ("K0_STAGNANT", "K1_MINIMAL", "K2_QUALITY", "K3_STRONG", "K4_EXCEPTIONAL", "K5_FAILED")
STRATEGIC_VALUES: Final = (-2.0, -0.2, 1.0, 3.0, 10.0, -10.0)
FAILED: Final = 5
_UNDECIDED: Final = -1


@dataclass(frozen=True)
class FirstPassageRules:
    """The rules of the first-passage label between the classes.

    Attributes:
        horizon: sessions after the observation.
        grace: the pattern fails when a low is at or below `grace` times its lower boundary.
        gains: highs of classes K1, K2, ... above the upper boundary, as shares of it.
    """

    horizon: int = 100
    grace: float = 0.90
    gains: tuple[float, ...] = (0.05, 0.15, 0.35, 0.75)


def breakout_labels(
    bars: pl.DataFrame,
    *,
    rules: PatternRules = RULES,
    first_passage: FirstPassageRules | None = None,
    sessions: Sessions = None,
) -> pl.DataFrame:
    """The class of every pattern observation: each active session of each consolidation pattern.

    The best gain reached before the failure wins; a bar that fails and gains fails first. Failed with no
    gain reached is K5, neither is K0. The highest gain and the failure decide at once, on whatever session
    they come; otherwise the label is decided at the horizon, and absent where the history ends before it.

    Args:
        bars: as for `features.compute`.
        rules: thresholds of the patterns.
        first_passage: horizon, grace and gains; None takes the defaults of `FirstPassageRules`.
        sessions: the exchange's sessions up to the end of the history; None takes those on which anything
            traded.

    Returns:
        symbol, session (of the observation), label_start, label_end (the last session read), forward_return
        (log total return from the observation's close to the last close read), best_gain (highest price before
        the failure or the horizon, the observation's close included, / upper - 1), target (Int8, index into
        `CLASSES`), last_price (the symbol had stopped trading before label_end); sorted by symbol and session.
    """
    first_passage = first_passage or FirstPassageRules()
    panel = prepare(bars)
    clock = Clock.of(panel, sessions)
    marked = pattern_observations(panel, rules)
    start = marked["row"].to_numpy()
    upper, lower = marked["upper"].to_numpy(), marked["lower"].to_numpy()
    last, complete = (a[start] for a in clock.last_row(first_passage.horizon))
    high, low = panel["high"].to_numpy(), panel["low"].to_numpy()
    wealth = np.log(panel["wealth"].to_numpy())

    target = np.full(len(start), _UNDECIDED, dtype=np.int8)
    end = clock.index[start] + first_passage.horizon
    stop = last.copy()
    best = np.zeros(len(start), dtype=np.int8)
    top = panel["close"].to_numpy()[start]
    open_rows = np.arange(len(start))
    for ahead in range(1, first_passage.horizon + 1):
        open_rows = open_rows[start[open_rows] + ahead <= last[open_rows]]
        if open_rows.size == 0:
            break
        row = start[open_rows] + ahead
        failed = low[row] <= first_passage.grace * lower[open_rows]
        not_failed = open_rows[~failed]
        top[not_failed] = np.maximum(top[not_failed], high[start[not_failed] + ahead])
        for rank, gain in enumerate(first_passage.gains, start=1):
            reached = ~failed & (high[row] >= (1 + gain) * upper[open_rows])
            best[open_rows[reached]] = np.maximum(best[open_rows[reached]], rank)
        won = best[open_rows] == len(first_passage.gains)
        decided = open_rows[failed | won]
        target[decided] = best[decided]
        target[open_rows[failed & (best[open_rows] == 0)]] = FAILED
        stop[decided] = start[decided] + ahead
        end[decided] = clock.index[stop[decided]]
        open_rows = open_rows[~(failed | won)]
    at_end = (target == _UNDECIDED) & complete
    target[at_end] = best[at_end]

    known = target != _UNDECIDED
    return marked.filter(pl.Series(known)).select(
        *KEY,
        pl.col("session").alias("label_start"),
        clock.session(end[known]).alias("label_end"),
        pl.Series("forward_return", (wealth[stop] - wealth[start])[known]),
        pl.Series("best_gain", (top / upper - 1)[known]),
        pl.Series("target", target[known]),
        pl.Series("last_price", (at_end & (clock.index[last] < end))[known]),
    )
