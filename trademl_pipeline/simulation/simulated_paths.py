"""Simulated paths drawn from what the oracle knows at a close, for targets whose probabilities have no closed form.

A simulated path starts from the hidden state of `simulation.oracle` and follows the equations of `simulation.paths`
and `simulation.price_generator`. Each one draws all its numbers anew, those of the index and the sector too, so
simulated paths serve the probabilities of one symbol, not how symbols move together. Nothing is delisted, and
consolidations that begin on the way show no leading signal.
"""

from dataclasses import dataclass

import numpy as np

from trademl_pipeline.simulation.leading_signal import bar_factors, posterior
from trademl_pipeline.simulation.paths import MarketSpec, Paths, Symbols
from trademl_pipeline.simulation.price_generator import DIVIDEND_PERIOD, bar_shape


@dataclass(frozen=True)
class SimulatedPaths:
    """Simulated sessions ahead; arrays of shape (path, session).

    Attributes:
        returns: log total returns.
        high, low: prices over the close that the simulated path starts from, splits undone.
    """

    returns: np.ndarray
    high: np.ndarray
    low: np.ndarray


def draw_simulated_paths(
    spec: MarketSpec,
    symbols: Symbols,
    paths: Paths,
    session: np.ndarray,
    symbol: np.ndarray,
    horizon: int,
    rng: np.random.Generator,
) -> SimulatedPaths:
    """One simulated path for each (session, symbol).

    Args:
        spec, symbols, paths: the market.
        session, symbol: positions of the closes that simulated paths start from; repeat one for more paths of it.
        horizon: sessions ahead.
        rng: draws everything.
    """
    chain, n = spec.chain(), len(session)
    beta, sigma = symbols.beta[symbol], symbols.sigma[symbol]
    index_log, own_log = paths.index_log_volatility[session], paths.log_volatility[session, symbol]
    signal, leading_signal = paths.signal[session, symbol], paths.leading_signal[session, symbol]
    state = paths.state[session, symbol]
    remaining = chain.remaining[state]
    probabilities = posterior(leading_signal, chain.shares, spec.clarity).cumsum(axis=-1)
    label = (rng.random((n, 1)) > probabilities[:, :-1]).sum(axis=-1)
    state = np.where(remaining > 0, chain.consolidating(np.maximum(remaining, 1), label), state)
    tight = bar_factors(leading_signal)[1]

    steps = np.empty((3, horizon, n))
    level = np.zeros(n)
    for k in range(horizon):
        normal = rng.standard_normal((n, 8))
        before = signal
        index_log = _next_log(
            index_log, spec.index_volatility_persistence, spec.index_volatility_spread, normal[:, 0]
        )
        own_log = _next_log(own_log, spec.volatility_persistence, spec.volatility_spread, normal[:, 1])
        signal = spec.persistence * signal + np.sqrt(1 - spec.persistence**2) * normal[:, 2]
        state = chain.step(state, rng.random((n, 3)))
        factor = spec.index_drift + spec.index_volatility * np.exp(index_log) * normal[:, 3]
        own_shock = spec.strength * before + np.sqrt(1 - spec.strength**2) * normal[:, 4]
        moves = beta * factor + spec.sector_volatility * normal[:, 5] + sigma * np.exp(own_log) * own_shock
        noise = chain.noise[state]
        moves = chain.drift[state] + noise * moves
        due = symbols.pays[symbol] & ((session + 1 + k - symbols.ex_offset[symbol]) % DIVIDEND_PERIOD == 0)
        paid = np.where(due, symbols.dividend_yield[symbol] * DIVIDEND_PERIOD / 252, 0.0)
        level = level + np.log(np.exp(moves) - paid)
        noise = np.where(k < remaining - 1, noise * tight, noise)
        location, width = bar_shape(spec, beta, sigma, index_log, own_log, noise, signal, normal[:, 6:])
        close = np.exp(level)
        steps[:, k] = moves, close * (1 + (1 - location) * width), close * (1 - location * width)
    returns, high, low = np.swapaxes(steps, 1, 2)
    return SimulatedPaths(returns, high, low)


def _next_log(now: np.ndarray, coefficient: float, spread: float, noise: np.ndarray) -> np.ndarray:
    """The next value of a log volatility, an AR(1) of deviation `spread` around -spread²."""
    level = -(spread**2)
    return level + coefficient * (now - level) + spread * np.sqrt(1 - coefficient**2) * noise
