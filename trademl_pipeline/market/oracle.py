"""What the best forecaster of the simulated market could know, and how well it would do.

The oracle stands at the close of session t and knows the hidden state of the market at that moment: the
signal z[t], the log volatilities, the phase of each symbol with the sessions left in it and, once a move
has begun, its class. It does not know the class of a consolidation before its move begins, nor anything
that is drawn after t. What lies ahead is integrated out, so its expectation is the conditional expectation
given all that could be known, and no causal model can beat it but by luck. A model that reads bars sees
less: part of the state has to be inferred.

Delistings are drawn apart from returns, so that having a forward return at all says nothing about it.

The expectation is exact. `p_up` takes the sum of h returns as normal given the state and, in a
consolidation, given each class in turn: exact but for the spread of the volatility path ahead, which moves
both sides alike.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trademl_pipeline.market.paths import MarketSpec, Paths, Symbols


@dataclass(frozen=True)
class Forecast:
    """The oracle's view of the next h sessions' log return; arrays of shape (session, symbol).

    mean: E[return | state]. signal_mean: the part of it that the planted signal brings. p_up: P(return > 0
    | state). common_variance, sector_variance, own_variance: of the return's three random parts.
    """

    mean: np.ndarray
    signal_mean: np.ndarray
    p_up: np.ndarray
    common_variance: np.ndarray
    sector_variance: np.ndarray
    own_variance: np.ndarray


def forecast(spec: MarketSpec, symbols: Symbols, paths: Paths, horizon: int) -> Forecast:
    """Expectation and direction of the log return over (t, t + horizon], for every session and symbol.

    Raises:
        ValueError: the horizon is not at least one session.
    """
    if horizon < 1:
        raise ValueError(f"a horizon is at least one session, not {horizon}")
    chain = spec.chain()
    drift = chain.expected(chain.drift, horizon).sum(axis=0)
    noise = chain.expected(chain.noise, horizon)
    noise_squared = chain.expected(chain.noise**2, horizon)
    state = paths.state.ravel()
    cells = _Cells(
        beta=_flat(symbols.beta, paths),
        sigma=_flat(symbols.sigma, paths),
        index_log=_flat(paths.index_log_volatility[:, None], paths),
        own_log=paths.log_volatility.ravel(),
        signal=paths.signal.ravel(),
    )
    result = np.stack(_given_state(spec, cells, state, drift, noise, noise_squared))

    # In a consolidation any class may follow: the oracle mixes what each would bring, in the classes' shares.
    remaining = chain.remaining[state]
    hidden = np.flatnonzero(remaining)
    if hidden.size:
        result[:, hidden] = 0.0
        inside = _Cells(*(values[hidden] for values in cells))
        for label, share in enumerate(chain.shares):
            assumed = np.asarray(chain.consolidating(remaining[hidden], label))
            parts = _given_state(spec, inside, assumed, drift, noise, noise_squared)
            result[:, hidden] += share * np.stack(parts)
    return Forecast(*result.reshape(len(result), *paths.state.shape))


class _Cells(NamedTuple):
    """What is known of each (session, symbol), flattened; arrays of shape (cell,)."""

    beta: np.ndarray
    sigma: np.ndarray
    index_log: np.ndarray
    own_log: np.ndarray
    signal: np.ndarray


def _flat(values: np.ndarray, paths: Paths) -> np.ndarray:
    return np.broadcast_to(values, paths.state.shape).ravel()


def _given_state(
    spec: MarketSpec,
    cells: _Cells,
    state: np.ndarray,
    drift: np.ndarray,
    noise: np.ndarray,
    noise_squared: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """The fields of a Forecast, given the phase's state; arrays of shape (cell,)."""
    b, phi = spec.strength, spec.persistence
    common, sector, own, weights, noises, response = (np.zeros(len(state)) for _ in range(6))
    for k in range(len(noise), 0, -1):
        g, g2 = noise[k - 1][state], noise_squared[k - 1][state]
        level, square = (
            _expected_exp(cells.own_log, spec.volatility_persistence, spec.volatility_spread, k, power)
            for power in (1, 2)
        )
        index_square = _expected_exp(
            cells.index_log, spec.index_volatility_persistence, spec.index_volatility_spread, k, 2
        )
        weight = b * g * cells.sigma * level
        own += (1 - b**2) * g2 * cells.sigma**2 * square
        common += g2 * (cells.beta * spec.index_volatility) ** 2 * index_square
        sector += g2 * spec.sector_volatility**2
        noises += g
        weights += weight * phi ** (k - 1)
        # What a shock to z one session later adds to the sum, built from the far end.
        response = weight + phi * response
        if k > 1:
            own += (1 - phi**2) * response**2
    signal_mean = weights * cells.signal
    mean = drift[state] + cells.beta * spec.index_drift * noises + signal_mean
    return mean, signal_mean, _normal_cdf(mean / np.sqrt(common + sector + own)), common, sector, own


def _expected_exp(now: np.ndarray, coefficient: float, spread: float, k: int, power: int) -> np.ndarray:
    """E[exp(power·x[t+k]) | x[t]] of the log volatility, an AR(1) of deviation `spread` around -spread²."""
    level = -(spread**2)
    fade = coefficient**k
    mean = level + fade * (now - level)
    return np.exp(power * mean + 0.5 * power**2 * spread**2 * (1 - fade**2))


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return ndtr(x)
