"""The best forecaster of the simulated market: what it could know, and how well it would do.

The oracle stands at the close of session t and knows the hidden state of the market at that moment: the
signal z[t], the log volatilities, the regime of each symbol with the sessions left in it and, once a move
has begun, its class. Of a consolidation's class it knows what the leading signal tells, the probabilities of
`leading_signal.posterior`. It knows nothing that is drawn after t. What lies ahead is integrated out, so its
expectation is the conditional expectation given all that could be known, and no causal model can beat it
but by luck. A model that reads bars sees less: part of the state has to be inferred.

Delistings are drawn apart from returns, so that having a forward return at all says nothing about it.

The expectation is exact. `p_up` takes the sum of h returns as normal given the state and, in a
consolidation, given each class in turn: exact but for the spread of the volatility path ahead, which moves
both sides alike.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trademl_pipeline.simulation.leading_signal import PARTS, posterior
from trademl_pipeline.simulation.paths import SECTORS, MarketSpec, Paths, Symbols


@dataclass(frozen=True)
class Forecast:
    """The oracle's view of the next h sessions' log return; arrays of shape (session, symbol).

    Attributes:
        mean: E[return | state].
        signal_mean: the part of it that the planted signal brings.
        p_up: P(return > 0 | state).
    """

    mean: np.ndarray
    signal_mean: np.ndarray
    p_up: np.ndarray


def forecast(spec: MarketSpec, symbols: Symbols, paths: Paths, horizon: int) -> Forecast:
    """Return expectation and direction of the log return over (t, t + horizon], for every session and symbol.

    Args:
        spec: of the market.
        symbols: drawn once per symbol.
        paths: the hidden world up to each session; nothing later is read.
        horizon: sessions ahead.

    Raises:
        ValueError: the horizon is not at least one session.
    """
    outlook, cells, state = _outlook(spec, horizon), _cells(symbols, paths), paths.state.ravel()
    result = _view(_moments(spec, outlook, cells, state))

    # In a consolidation any class may follow: the oracle mixes what each would bring by the leading signal's
    # probabilities.
    chain = spec.chain()
    remaining = chain.remaining[state]
    hidden = np.flatnonzero(remaining)
    if hidden.size:
        inside = _Cells(*(values[hidden] for values in cells))
        probabilities = posterior(paths.leading_signal.reshape(-1, PARTS)[hidden], chain.shares, spec.clarity)
        result[:, hidden] = sum(
            probabilities[:, label]
            * _view(_moments(spec, outlook, inside, chain.consolidating(remaining[hidden], label)))
            for label in range(len(chain.shares))
        )
    return Forecast(*result.reshape(len(result), *paths.state.shape))


def imagine(
    spec: MarketSpec, symbols: Symbols, paths: Paths, horizon: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw returns over (t, t + horizon] anew from what the oracle believes at t.

    Symbols of one session share their index and sector shocks; sessions are drawn apart from each other.

    Args:
        spec: of the market.
        symbols: drawn once per symbol.
        paths: the hidden world.
        horizon: sessions ahead.
        rng: draws everything.

    Returns:
        (session, symbol) log returns.
    """
    chain, shape = spec.chain(), paths.state.shape
    remaining = chain.remaining[paths.state]
    probabilities = posterior(paths.leading_signal, chain.shares, spec.clarity).cumsum(axis=-1)
    label = (rng.random((*shape, 1)) > probabilities[..., :-1]).sum(axis=-1)
    state = np.where(remaining > 0, chain.consolidating(np.maximum(remaining, 1), label), paths.state)
    moments = _moments(spec, _outlook(spec, horizon), _cells(symbols, paths), state.ravel())
    mean, common, sector, own_variance = (
        x.reshape(shape)
        for x in (moments.mean, moments.common_variance, moments.sector_variance, moments.own_variance)
    )
    shocks = rng.standard_normal((shape[0], len(SECTORS)))[:, symbols.sector]
    return (
        mean
        + np.sqrt(common) * rng.standard_normal((shape[0], 1))
        + np.sqrt(sector) * shocks
        + np.sqrt(own_variance) * rng.standard_normal(shape)
    )


class _Outlook(NamedTuple):
    """The expectations that each state of the regimes leads to.

    Attributes:
        drift: of the sum over the horizon, shape (state,).
        noise, noise_squared: k sessions ahead, k from 1; shape (horizon, state).
    """

    drift: np.ndarray
    noise: np.ndarray
    noise_squared: np.ndarray


def _outlook(spec: MarketSpec, horizon: int) -> _Outlook:
    if horizon < 1:
        raise ValueError(f"a horizon is at least one session, not {horizon}")
    chain = spec.chain()
    return _Outlook(
        chain.expected(chain.drift, horizon).sum(axis=0),
        chain.expected(chain.noise, horizon),
        chain.expected(chain.noise**2, horizon),
    )


class _Cells(NamedTuple):
    """State of each (session, symbol) as known then, flattened; arrays of shape (cell,)."""

    beta: np.ndarray
    sigma: np.ndarray
    index_log: np.ndarray
    own_log: np.ndarray
    signal: np.ndarray


def _cells(symbols: Symbols, paths: Paths) -> _Cells:
    return _Cells(
        beta=_flat(symbols.beta, paths),
        sigma=_flat(symbols.sigma, paths),
        index_log=_flat(paths.index_log_volatility[:, None], paths),
        own_log=paths.log_volatility.ravel(),
        signal=paths.signal.ravel(),
    )


class _Moments(NamedTuple):
    """Moments of the return over the horizon, given the regime's state; arrays of shape (cell,)."""

    mean: np.ndarray
    signal_mean: np.ndarray
    common_variance: np.ndarray
    sector_variance: np.ndarray
    own_variance: np.ndarray


def _view(moments: _Moments) -> np.ndarray:
    """The fields of a Forecast, stacked."""
    from scipy.special import ndtr

    deviation = np.sqrt(moments.common_variance + moments.sector_variance + moments.own_variance)
    return np.stack([moments.mean, moments.signal_mean, ndtr(moments.mean / deviation)])


def _flat(values: np.ndarray, paths: Paths) -> np.ndarray:
    return np.broadcast_to(values, paths.state.shape).ravel()


def _moments(spec: MarketSpec, outlook: _Outlook, cells: _Cells, state: np.ndarray) -> _Moments:
    b, phi = spec.strength, spec.persistence
    common, sector, own_variance, weights, noises, response = (np.zeros(len(state)) for _ in range(6))
    for k in range(len(outlook.noise), 0, -1):
        g, g2 = outlook.noise[k - 1][state], outlook.noise_squared[k - 1][state]
        level, square = (
            _expected_exp(cells.own_log, spec.volatility_persistence, spec.volatility_spread, k, power)
            for power in (1, 2)
        )
        index_square = _expected_exp(
            cells.index_log, spec.index_volatility_persistence, spec.index_volatility_spread, k, 2
        )
        weight = b * g * cells.sigma * level
        own_variance += (1 - b**2) * g2 * cells.sigma**2 * square
        common += g2 * (cells.beta * spec.index_volatility) ** 2 * index_square
        sector += g2 * spec.sector_volatility**2
        noises += g
        weights += weight * phi ** (k - 1)
        # What a shock to z one session later adds to the sum, built from the far end.
        response = weight + phi * response
        if k > 1:
            own_variance += (1 - phi**2) * response**2
    signal_mean = weights * cells.signal
    mean = outlook.drift[state] + cells.beta * spec.index_drift * noises + signal_mean
    return _Moments(mean, signal_mean, common, sector, own_variance)


def _expected_exp(now: np.ndarray, coefficient: float, spread: float, k: int, power: int) -> np.ndarray:
    """E[exp(power·x[t+k]) | x[t]] of the log volatility, an AR(1) of deviation `spread` around -spread²."""
    level = -(spread**2)
    fade = coefficient**k
    mean = level + fade * (now - level)
    return np.exp(power * mean + 0.5 * power**2 * spread**2 * (1 - fade**2))
