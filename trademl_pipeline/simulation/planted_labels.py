"""The best probabilities anyone could give a target on the simulated market.

They come from simulated paths drawn from the market's hidden state.

What the oracle knows is in `simulation.oracle`. Probabilities are frequencies over `draws` simulated paths of each
row, so they err by up to sqrt(p(1 - p) / draws); that makes their scores a little worse than the best, never better.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from trademl_pipeline.features import operators as op
from trademl_pipeline.features.engine import evaluate
from trademl_pipeline.features.feature import Series
from trademl_pipeline.features.patterns import pattern_observations
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.features.registry import DECLARED
from trademl_pipeline.labels.breakout import CLASSES, FAILED, FirstPassageRules
from trademl_pipeline.labels.horizon import KEY
from trademl_pipeline.labels.validation import FEATURE_OF, HORIZON, PERSISTENCE_SHARE, USUAL_STD
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.simulated_paths import SimulatedPaths

DRAWS = 200
# Simulated paths held at once.
_BLOCK = 40_000


def breakout_probabilities(
    market: SimulatedMarket, bars: pl.DataFrame, keys: pl.DataFrame, draws: int = DRAWS
) -> pl.DataFrame:
    """Probabilities of the classes K0 to K5 of pattern observations.

    Args:
        market: the market.
        bars: its bars up to the last observation, from the same first session as those the labels were made of.
        keys: symbol and session of the pattern observations.
        draws: simulated paths of each.

    Returns:
        symbol, session, p_k0 .. p_k5, in the order of the keys that are pattern observations.
    """
    panel, first_passage = prepare(bars), FirstPassageRules()
    marked = pattern_observations(panel)
    close = panel["close"].gather(marked["row"])
    marked = marked.select(*KEY, upper=pl.col("upper") / close, lower=pl.col("lower") / close)
    rows = keys.select(KEY).join(marked, on=KEY, how="inner", maintain_order="left")
    probabilities = np.zeros((rows.height, len(CLASSES)))
    for part, simulated_paths in _simulated_blocks(market, rows, first_passage.horizon, draws):
        upper, lower = (np.repeat(rows[c].to_numpy()[part], draws)[:, None] for c in ("upper", "lower"))
        winners = _winner(simulated_paths, upper, lower, first_passage).reshape(-1, draws)
        for k in range(len(CLASSES)):
            probabilities[part, k] = (winners == k).mean(axis=1)
    return rows.select(KEY).hstack(
        pl.DataFrame(probabilities, schema=[f"p_k{k}" for k in range(len(CLASSES))])
    )


def _winner(
    simulated_paths: SimulatedPaths, upper: np.ndarray, lower: np.ndarray, first_passage: FirstPassageRules
) -> np.ndarray:
    """Class of each simulated path by the first-passage label of `labels.breakout`."""
    failed = simulated_paths.low <= first_passage.grace * lower
    first = np.where(failed.any(axis=1), failed.argmax(axis=1), failed.shape[1])
    before = np.arange(failed.shape[1]) < first[:, None]
    top = np.where(before, simulated_paths.high, 0.0).max(axis=1, keepdims=True)
    best = (top >= (1 + np.array(first_passage.gains)) * upper).sum(axis=1)
    return np.where((best == 0) & (first < failed.shape[1]), FAILED, best)


def pattern_probabilities(
    market: SimulatedMarket, bars: pl.DataFrame, keys: pl.DataFrame, draws: int = DRAWS
) -> pl.DataFrame:
    """Probabilities that the four validations come true, whether their triggers fire or not.

    Args:
        market, bars, draws: as for `breakout_probabilities`.
        keys: symbol and session of bars.

    Returns:
        symbol, session and p_<validation>, in the order of the keys; NaN where what is validated is not known yet.
    """
    panel = prepare(bars)
    steps = (USUAL_STD, Series("return_10", op.change("wealth", 10)))
    needed = ["drift_sign_5", "return_5", "volatility_regime_change", *(s.name for s in steps)]
    values = evaluate(panel, needed, {**DECLARED, **{s.name: s for s in steps}})
    rows = keys.select(KEY).join(values, on=KEY, how="inner", maintain_order="left")
    known = {name: rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in needed}
    probabilities = {name: np.full(rows.height, np.nan) for name in FEATURE_OF}
    for part, simulated_paths in _simulated_blocks(market, rows, HORIZON, draws):
        now = {name: column[part] for name, column in known.items()}
        returns = simulated_paths.returns.reshape(-1, draws, HORIZON)
        drift, ahead = now["drift_sign_5"][:, None], np.sign(returns.sum(axis=2))
        persists = (np.sign(returns) == drift[:, :, None]).mean(axis=2) > PERSISTENCE_SHARE
        rising = returns.std(axis=2, ddof=1) > now["usual_std_5"][:, None]
        outcomes = {
            "momentum_persistence": (persists, drift[:, 0]),
            "volatility_regime": (
                rising == (now["volatility_regime_change"] > 0)[:, None],
                now["volatility_regime_change"] + now["usual_std_5"],
            ),
            "trend_exhaustion": (ahead == -np.sign(now["return_10"])[:, None], now["return_10"]),
            "volume_divergence": (ahead == -np.sign(now["return_5"])[:, None], now["return_5"]),
        }
        for name, (true, validated) in outcomes.items():
            probabilities[name][part] = np.where(np.isnan(validated), np.nan, true.mean(axis=1))
    return rows.select(KEY).with_columns(**{f"p_{name}": pl.Series(p) for name, p in probabilities.items()})


PLANTED_PROBABILITIES = {"breakout": breakout_probabilities, "pattern": pattern_probabilities}


def _simulated_blocks(
    market: SimulatedMarket, rows: pl.DataFrame, horizon: int, draws: int
) -> Iterator[tuple[slice, SimulatedPaths]]:
    """Simulated paths of the rows, some rows at a time."""
    step = max(1, _BLOCK // draws)
    for start in range(0, rows.height, step):
        part = slice(start, min(start + step, rows.height))
        yield part, market.simulated_paths(rows[part], horizon, draws)
