"""Series to compare the simulated market's symbols with: a market fund, sector funds, and implied volatility.

The fund's log return over session t is the index factor f[t]; a sector fund's is f[t] + s[t], the sector's own
factor. They pay nothing and never split, so a symbol's beta to the fund is the beta that it was drawn with. The
volatility indices are the standard deviation that the state y[t] of the index factor foretells over the next 21
and 63 sessions, in percent a year. With y an AR(1) of coefficient a, mean m and standard deviation s,

    VIX[t] = 100·sqrt(252·v²·mean over j = 1..h of E[exp(2·y[t+j])])
    E[exp(2·y[t+j])] = exp(2·(m + a^j·(y[t] - m)) + 2·s²·(1 - a^(2j)))

All of it is known at the close of t, and none of it depends on how many symbols the market has.
"""

import numpy as np

from trademl_pipeline.simulation.paths import SECTORS, MarketSpec, Paths

SECTOR_FUND = {
    "Energy": "XLE",
    "Financials": "XLF",
    "Health": "XLV",
    "Industrials": "XLI",
    "Technology": "XLK",
    "Utilities": "XLU",
}
MARKET_START, SECTOR_START = 200.0, 50.0
VIX_HORIZONS = {"^VIX": 21, "^VIX3M": 63}
# Share of a session's move that is there at the open.
_OVERNIGHT = 0.3


def write_references(spec: MarketSpec, paths: Paths) -> dict[str, dict[str, np.ndarray]]:
    """By symbol: open, high, low, close and volume, each of shape (session,); NaN where there is no volume."""
    market = paths.index_factor
    reach = 0.4 * spec.index_volatility * np.exp(paths.index_log_volatility + 0.2 * paths.index_noise)
    written = {"SPY": _fund(market, reach, MARKET_START, 8e7, paths.index_noise)}
    for k, sector in enumerate(SECTORS):
        moves = market + paths.sector_factor[:, k]
        written[SECTOR_FUND[sector]] = _fund(moves, 1.2 * reach, SECTOR_START, 1e7, paths.index_noise)
    for symbol, horizon in VIX_HORIZONS.items():
        written[symbol] = _implied(spec, paths.index_log_volatility, horizon)
    return written


def _fund(
    moves: np.ndarray, reach: np.ndarray, start: float, volume: float, noise: np.ndarray
) -> dict[str, np.ndarray]:
    """Bars of a fund with these log returns, which trades more where its range is wide."""
    close = start * np.exp(np.cumsum(moves))
    opened = close * np.exp((_OVERNIGHT - 1) * moves)
    return {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + reach),
        "low": np.minimum(opened, close) * (1 - reach),
        "close": close,
        "volume": np.round(volume * np.exp(0.3 * noise)),
    }


def _implied(spec: MarketSpec, log_volatility: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
    """The expected volatility over the next `horizon` sessions as bars that open at the close before."""
    spread, keep = spec.index_volatility_spread, spec.index_volatility_persistence
    mean, ahead = -(spread**2), keep ** np.arange(1, horizon + 1)
    state = (log_volatility - mean)[:, None]
    variance = np.exp(2 * (mean + ahead * state) + 2 * spread**2 * (1 - ahead**2)).mean(axis=1)
    close = 100 * spec.index_volatility * np.sqrt(252 * variance)
    opened = np.concatenate([close[:1], close[:-1]])
    return {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.full_like(close, np.nan),
    }
