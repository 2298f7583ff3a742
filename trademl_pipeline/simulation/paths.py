"""The simulated market's hidden world: shocks, volatility, signal, regimes and returns, as arrays.

Every random number of a session comes from one counter-based generator keyed by (seed, session ordinal),
and every recursion runs forward in time. So a session's values depend on the seed and the past only: not on
what was asked first, not on where the simulation ends.

Total log return of symbol i over session t, where g and m are the regime's noise factor and drift:

    r[t] = m[t] + g[t]·(beta·f[t] + s[t] + sigma·exp(x[t])·(b·z[t-1] + sqrt(1 - b²)·e[t]))

f is the index factor, with a drift and a volatility that clusters; s the sector factor; x the symbol's own
log volatility, an AR(1); z the planted signal, an AR(1) of unit variance seen at the close of t-1; b its
strength; e noise. Regimes, volatilities and signal are independent of each other and of e, which is what
makes the oracle exact. What a consolidation shows of its class before the move is in `simulation.leading_signal`.
"""

from dataclasses import dataclass, field

import numpy as np

from trademl_pipeline.simulation.leading_signal import PARTS, PLACES, RAMP
from trademl_pipeline.simulation.regimes import DEFAULT_FREQUENCIES, RegimeChain

SECTORS = ("Energy", "Financials", "Health", "Industrials", "Technology", "Utilities")

_STATIC_STREAM = 2**40  # beyond every session ordinal
_LEADING_SIGNAL_STREAM = 2**42  # plus the session ordinal
_SYMBOL_NORMALS, _SYMBOL_UNIFORMS = 7, 5


@dataclass(frozen=True)
class MarketSpec:
    """The parameters of the simulated market. Volatilities are log-return standard deviations per session.

    Attributes:
        strength: share b of the own shock that the signal foretells; correlation of z[t] with the own part of
            r[t+1].
        persistence: AR(1) coefficient of the signal; 0.8 halves in three sessions.
        index_drift: mean log return of the index factor per session.
        index_volatility, sector_volatility, own_volatility: of the index factor, a sector's factor and a
            symbol's own part.
        volatility_persistence, volatility_spread: AR(1) coefficient and deviation of a symbol's log
            volatility.
        index_volatility_persistence, index_volatility_spread: the same of the index factor's log volatility.
        start_probability: chance per session that a normal symbol begins to consolidate.
        frequencies: share of each breakout class among the planted patterns.
        clarity: how plainly a consolidation shows the class to come, see `simulation.leading_signal`; 0: not
            at all.
        delisting_rate: delistings a year and symbol.
        late_listing_share: share of symbols that are listed after the first session.
        dividend_payers: share of symbols that pay dividends.
    """

    strength: float = 0.16
    persistence: float = 0.8
    index_drift: float = 0.0002
    index_volatility: float = 0.009
    sector_volatility: float = 0.004
    own_volatility: float = 0.015
    volatility_persistence: float = 0.97
    volatility_spread: float = 0.3
    index_volatility_persistence: float = 0.98
    index_volatility_spread: float = 0.35
    start_probability: float = 1 / 300
    frequencies: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_FREQUENCIES))
    clarity: float = 1.5
    delisting_rate: float = 0.025
    late_listing_share: float = 0.2
    dividend_payers: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.strength < 1:
            raise ValueError(f"strength is a correlation in [0, 1), not {self.strength}")
        if not 0 <= self.persistence < 1:
            raise ValueError(f"persistence is an AR(1) coefficient in [0, 1), not {self.persistence}")
        if self.clarity < 0:
            raise ValueError(f"clarity is 0 or more, not {self.clarity}")

    def chain(self) -> RegimeChain:
        """The chain of regimes of this market."""
        return RegimeChain(self.frequencies, self.start_probability)


@dataclass(frozen=True)
class Symbols:
    """The properties drawn once per symbol; arrays of shape (symbol,). Ordinals count from the first session."""

    beta: np.ndarray
    sigma: np.ndarray
    sector: np.ndarray
    price: np.ndarray
    shares: np.ndarray
    volume: np.ndarray
    listed: np.ndarray
    delisted: np.ndarray
    pays: np.ndarray
    ex_offset: np.ndarray
    dividend_yield: np.ndarray
    split_above: np.ndarray


@dataclass(frozen=True)
class Paths:
    """The hidden world; arrays of shape (session, symbol) unless said otherwise.

    Attributes:
        index_log_volatility: y, shape (session,).
        index_factor: f, log return, shape (session,).
        sector_factor: s, log return, shape (session, sector).
        log_volatility: x.
        signal: z.
        state: regime.
        leading_signal: q of the consolidation that the symbol is in, whole; 0 outside of one; shape (session,
            symbol, 2).
        visible_signal: as much of the leading signal as the session's bar shows; shape (session, symbol, 2).
        returns: r, log total return.
        index_noise: standard normals left over for the index's range, shape (session,).
        shapes: standard normals left over for the form of the bars, shape (session, symbol, 3).
        uniforms: uniforms left over for corporate actions, shape (session, symbol, 2).
    """

    index_log_volatility: np.ndarray
    index_factor: np.ndarray
    sector_factor: np.ndarray
    log_volatility: np.ndarray
    signal: np.ndarray
    state: np.ndarray
    leading_signal: np.ndarray
    visible_signal: np.ndarray
    returns: np.ndarray
    index_noise: np.ndarray
    shapes: np.ndarray
    uniforms: np.ndarray


def generator(seed: int, stream: int) -> np.random.Generator:
    """The generator of one session (or other stream) of a seed."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, stream]))


def draw_symbols(spec: MarketSpec, seed: int, n: int) -> Symbols:
    """Draw each symbol's loadings, size, listing and delisting, and dividends."""
    rng = generator(seed, _STATIC_STREAM)
    normal, uniform = rng.standard_normal((n, 4)), generator(seed, _STATIC_STREAM + 1).random((n, 9))
    listed = np.where(uniform[:, 0] < spec.late_listing_share, (uniform[:, 1] * 252 * 8).astype(np.int64), 0)
    life = -np.log1p(-uniform[:, 2]) / spec.delisting_rate * 252 if spec.delisting_rate else np.full(n, 1e9)
    price = 70 * np.exp(0.5 * normal[:, 0])
    capital = 2e10 * np.exp(1.0 * normal[:, 1])
    return Symbols(
        beta=np.clip(1 + 0.25 * normal[:, 2], 0.3, 1.8),
        sigma=spec.own_volatility * np.exp(0.2 * np.clip(normal[:, 3], -2, 2)),
        sector=np.arange(n) % len(SECTORS),
        price=price,
        shares=capital / price,
        volume=capital / price * (0.003 + 0.005 * uniform[:, 3]),
        listed=listed,
        # A symbol that never trades for a quarter teaches nothing.
        delisted=listed + 63 + life.astype(np.int64),
        pays=uniform[:, 4] < spec.dividend_payers,
        ex_offset=(uniform[:, 5] * 63).astype(np.int64),
        dividend_yield=0.01 + 0.03 * uniform[:, 6],
        split_above=180 + 220 * uniform[:, 7],
    )


def draw_paths(spec: MarketSpec, seed: int, symbols: Symbols, first: int, count: int) -> Paths:
    """Simulate the hidden world of `count` sessions.

    Args:
        spec: of the market.
        seed: of the draws; each session has a stream of its own.
        symbols: drawn once per symbol.
        first: ordinal of the first session on the exchange's calendar.
        count: number of sessions.
    """
    from scipy.special import ndtr

    n = len(symbols.beta)
    common = np.empty((count, 3 + len(SECTORS)))
    draws = np.empty((count, n, _SYMBOL_NORMALS + _SYMBOL_UNIFORMS))
    for t in range(count):
        rng = generator(seed, first + t)
        common[t] = rng.standard_normal(common.shape[1])
        # One block of numbers per symbol, all normal: a larger market draws the same for its first symbols.
        draws[t] = rng.standard_normal(draws.shape[1:])
    normal, uniform = draws[:, :, :_SYMBOL_NORMALS], ndtr(draws[:, :, _SYMBOL_NORMALS:])

    index_log = _log_volatility(common[:, 0], spec.index_volatility_persistence, spec.index_volatility_spread)
    own_log = _log_volatility(normal[:, :, 0], spec.volatility_persistence, spec.volatility_spread)
    signal = _autoregression(normal[:, :, 1], spec.persistence)

    chain = spec.chain()
    state = np.empty((count, n), dtype=np.int64)
    current = np.zeros(n, dtype=np.int64)
    for t in range(count):
        state[t] = current = chain.step(current, uniform[t, :, :3])
    leading_signal, visible = _leading_signals(spec, chain, state, seed, first)

    before = np.vstack([np.zeros((1, n)), signal[:-1]])
    factor = spec.index_drift + spec.index_volatility * np.exp(index_log) * common[:, 1]
    sectors = spec.sector_volatility * common[:, 3:]
    own_moves = symbols.sigma * np.exp(own_log)
    own_moves *= spec.strength * before + np.sqrt(1 - spec.strength**2) * normal[:, :, 2]
    returns = chain.drift[state] + chain.noise[state] * (
        symbols.beta * factor[:, None] + sectors[:, symbols.sector] + own_moves
    )
    return Paths(
        index_log,
        factor,
        sectors,
        own_log,
        signal,
        state,
        leading_signal,
        visible,
        returns,
        common[:, 2],
        normal[:, :, 3:],
        uniform[:, :, 3:],
    )


def _leading_signals(
    spec: MarketSpec, chain: RegimeChain, state: np.ndarray, seed: int, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """q of every session's consolidation, and as much of it as shows; both of shape (session, symbol, 2)."""
    count, n = state.shape
    whole, visible = np.zeros((count, n, PARTS)), np.zeros((count, n, PARTS))
    age, current = np.zeros(n, dtype=np.int64), np.zeros((n, PARTS))
    for t in range(count):
        within = chain.remaining[state[t]] > 0
        begins = within & (age == 0)
        if begins.any():
            noise = generator(seed, _LEADING_SIGNAL_STREAM + first + t).standard_normal((n, PARTS))
            signal = spec.clarity * PLACES[chain.label[state[t]]] + noise
            current = np.where(begins[:, None], signal, current)
        age = np.where(within, age + 1, 0)
        whole[t] = np.where(within[:, None], current, 0.0)
        visible[t] = whole[t] * np.minimum(age / RAMP, 1.0)[:, None]
    return whole, visible


def _autoregression(noise: np.ndarray, coefficient: float) -> np.ndarray:
    """Stationary AR(1) of unit variance along the first axis."""
    values = np.empty_like(noise)
    values[0] = noise[0]
    scale = np.sqrt(1 - coefficient**2)
    for t in range(1, len(noise)):
        values[t] = coefficient * values[t - 1] + scale * noise[t]
    return values


def _log_volatility(noise: np.ndarray, coefficient: float, spread: float) -> np.ndarray:
    """Log volatility around a level at which the mean variance is one: E[exp(2x)] = 1."""
    return spread * _autoregression(noise, coefficient) - spread**2
