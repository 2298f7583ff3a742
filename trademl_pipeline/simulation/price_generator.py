"""From hidden returns to bars as traded: prices with splits and dividends, ranges, volumes.

The planted signal z[t] shows twice in the bar of session t, each time monotone and nearly without noise:

    close location (close − low)/(high − low) = 0.05 + 0.9·Φ(0.8·z[t] + 0.1·noise)
    log volume = level + regime + VOLUME_WEIGHT·z[t] + 0.05·noise

A consolidation's leading signal scales volume and range on top, see `simulation.leading_signal`.

Prices are as traded: on the ex-date of a 2:1 split the quote halves and the volume doubles, and
split_factor is 2; on the ex-date of a dividend the quote falls by it. On every session split_factor·(close
+ dividend) / previous close is exp(r[t]) up to the rounding of prices to `TICK_DECIMALS`. No session has both a
split and a dividend.
"""

from dataclasses import dataclass

import numpy as np

from trademl_pipeline.simulation.leading_signal import bar_factors
from trademl_pipeline.simulation.paths import MarketSpec, Paths, Symbols

TICK_DECIMALS = 4
VOLUME_WEIGHT = 0.6
DIVIDEND_PERIOD = 63
_REVERSE_BELOW, _REVERSE_FACTOR = 3.0, 0.1
_SPLIT_CHANCE = 0.1
_SPLITS = np.array([2.0, 2.0, 3.0, 1.5, 4.0])


@dataclass(frozen=True)
class Prices:
    """The bars of all sessions and symbols, listed or not; arrays of shape (session, symbol)."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    split_factor: np.ndarray
    dividend: np.ndarray


def bar_shape(
    spec: MarketSpec,
    beta: np.ndarray,
    sigma: np.ndarray,
    index_log_volatility: np.ndarray,
    log_volatility: np.ndarray,
    noise: np.ndarray,
    signal: np.ndarray,
    shapes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the close's place in the session's range, in [0, 1], and the range over the close.

    Args:
        spec, beta, sigma, index_log_volatility, log_volatility, signal: as of `simulation.paths`.
        noise: the regime's noise factor, times what the leading signal does to ranges.
        shapes: standard normals, shape (..., 2) or more.
    """
    from scipy.special import ndtr

    location = 0.05 + 0.9 * ndtr(0.8 * signal + 0.1 * shapes[..., 0])
    deviation = noise * np.sqrt(
        (beta * spec.index_volatility * np.exp(index_log_volatility)) ** 2
        + spec.sector_volatility**2
        + (sigma * np.exp(log_volatility)) ** 2
    )
    return location, np.minimum(1.6 * deviation * np.exp(0.2 * shapes[..., 1]), 0.35)


def generate_prices(spec: MarketSpec, symbols: Symbols, paths: Paths) -> Prices:
    """The bars that show these paths."""
    close, split, dividend = _closes(symbols, paths)
    chain = spec.chain()
    swelling, tightening = bar_factors(paths.visible_signal)
    location, width = bar_shape(
        spec,
        symbols.beta,
        symbols.sigma,
        paths.index_log_volatility[:, None],
        paths.log_volatility,
        chain.noise[paths.state] * tightening,
        paths.signal,
        paths.shapes,
    )
    # The day's move shows in where it opened, as far as the range allows; what is left is the overnight gap.
    opened = np.clip(location - 0.7 * paths.returns / width, 0.02, 0.98)
    low = close * (1 - location * width)
    high, open_ = low + close * width, low + opened * close * width
    low, high, open_ = (np.round(values, TICK_DECIMALS) for values in (low, high, open_))

    quiet = chain.volume[paths.state] * swelling
    shares = symbols.volume * np.cumprod(split, axis=0)
    volume = shares * quiet * np.exp(VOLUME_WEIGHT * paths.signal + 0.05 * paths.shapes[:, :, 2])
    return Prices(open_, high, low, close, np.round(volume), split, dividend)


def _closes(symbols: Symbols, paths: Paths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Closes as traded, split factors and dividends; a split or dividend depends on earlier closes only."""
    growth = np.exp(paths.returns)
    count, n = growth.shape
    close, split, dividend = np.empty((count, n)), np.ones((count, n)), np.zeros((count, n))
    due = symbols.pays & ((np.arange(count)[:, None] - symbols.ex_offset) % DIVIDEND_PERIOD == 0)
    chance, kind = paths.uniforms[:, :, 0], paths.uniforms[:, :, 1]
    price = np.round(symbols.price, TICK_DECIMALS)
    for t in range(count):
        high_price = (price > symbols.split_above) & (chance[t] < _SPLIT_CHANCE)
        forward = _SPLITS[(kind[t] * len(_SPLITS)).astype(np.int64)]
        factor = np.where(high_price, forward, np.where(price < _REVERSE_BELOW, _REVERSE_FACTOR, 1.0))
        split[t] = np.where(due[t], 1.0, factor)
        cash = np.round(price * symbols.dividend_yield * DIVIDEND_PERIOD / 252, 2)
        dividend[t] = np.where(due[t], cash, 0.0)
        price = np.round(price * growth[t] / split[t] - dividend[t], TICK_DECIMALS)
        close[t] = price
    return close, split, dividend


def write_index(
    spec: MarketSpec, symbols: Symbols, paths: Paths, prices: Prices, listed: np.ndarray
) -> dict[str, np.ndarray]:
    """Return open, high, low, close and volume of the index, each of shape (session,).

    Weighted by capital at the previous close, dividends reinvested, 1000 at the start. Members of a session
    are the symbols listed on it and on the one before; where there is none, the level stays. Volume is the
    members' dollar volume over the level.

    Args:
        spec: of the market.
        symbols: drawn once per symbol; their number of shares weights them.
        paths: the hidden world; the index's volatility makes its range.
        prices: the symbols' bars.
        listed: (session, symbol) mask of symbols that trade.
    """
    capital = prices.close * symbols.shares * np.cumprod(prices.split_factor, axis=0)
    weight = np.where(listed[1:] & listed[:-1], capital[:-1], 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = weight / np.where(total > 0, total, 1.0)

    def growth(price: np.ndarray) -> np.ndarray:
        gross = prices.split_factor[1:] * (price[1:] + prices.dividend[1:]) / prices.close[:-1]
        return np.where(total[:, 0] > 0, (weight * gross).sum(axis=1), 1.0)

    close = 1000 * np.concatenate([[1.0], np.cumprod(growth(prices.close))])
    opened = np.concatenate([[1000.0], close[:-1] * growth(prices.open)])
    reach = 0.4 * spec.index_volatility * np.exp(paths.index_log_volatility + 0.2 * paths.index_noise)
    dollars = np.where(listed, prices.volume * prices.close, 0.0).sum(axis=1)
    return {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + reach),
        "low": np.minimum(opened, close) * (1 - reach),
        "close": close,
        "volume": np.round(dollars / close),
    }
