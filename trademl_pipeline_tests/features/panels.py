"""Bars for the tests of features, labels and sequences: random walks with all that can go wrong on purpose."""

from datetime import date

import numpy as np
import polars as pl

from trademl_pipeline.features import FEATURES
from trademl_pipeline.features.engine import inputs
from trademl_pipeline.features.operators import SPLIT
from trademl_pipeline.features.prepare import PANEL_COLUMNS
from trademl_pipeline.features.registry import DECLARED

PRICES = ("open", "high", "low", "close")


def weekdays(n: int, start: date = date(2015, 1, 5)) -> np.ndarray:
    """n weekdays from start on."""
    days = np.arange(np.datetime64(start), np.datetime64(start) + 2 * n + 10)
    return days[np.is_busday(days)][:n]


def random_bars(
    symbols: int = 3,
    sessions: int = 400,
    seed: int = 0,
    *,
    tick: float | None = None,
    gap: float = 0.0,
    zero_volume: float = 0.0,
) -> pl.DataFrame:
    """Sorted bars of random walks with changing volatility; lengths differ by symbol.

    tick: prices are whole ticks. gap: share of sessions left out. zero_volume: share of sessions without trade.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(symbols):
        n = sessions - 7 * k
        sigma = 0.02 * np.exp(np.cumsum(rng.normal(0, 0.05, n)) * 0.5)
        close = 30 * (k + 1) * np.exp(np.cumsum(rng.normal(0, 1, n) * sigma))
        opening = np.r_[close[0], close[:-1]] * np.exp(rng.normal(0, 0.3, n) * sigma)
        high = np.maximum(opening, close) * np.exp(np.abs(rng.normal(0, 0.4, n)) * sigma)
        low = np.minimum(opening, close) * np.exp(-np.abs(rng.normal(0, 0.4, n)) * sigma)
        prices = [opening, high, low, close]
        if tick is not None:
            prices = [np.maximum(np.round(p / tick), 1) * tick for p in prices]
        volume = np.round(np.exp(rng.normal(13, 0.5, n)))
        volume[rng.random(n) < zero_volume] = 0.0
        frame = pl.DataFrame(
            {
                "symbol": [f"S{k:03d}"] * n,
                "session": weekdays(sessions)[-n:],
                **dict(zip(PRICES, prices, strict=True)),
                "volume": volume,
            }
        )
        frames.append(frame.filter(pl.Series(rng.random(n) >= gap)))
    return pl.concat(frames)


def sleeping_bars(symbol: str, sessions: int, asleep: int, restless: int | None = None) -> pl.DataFrame:
    """A market that goes to sleep after `asleep` sessions and never wakes: its ranges shrink forever.

    restless: every so many sessions the volume and the range are large for a day.
    """
    rng = np.random.default_rng(0)
    t = np.arange(sessions)
    size = 0.02 * np.exp(-np.clip(t - asleep, 0, None) / 60) + 1e-9
    close = 50 * np.exp(0.5 * size * rng.choice([-1, 1], sessions))
    stir = (t % restless == 0) if restless else np.zeros(sessions, dtype=bool)
    reach = np.where(stir, 1.5, 1.0) * size * rng.uniform(0.24, 0.26, sessions)
    return pl.DataFrame(
        {
            "symbol": [symbol] * sessions,
            "session": weekdays(sessions),
            "open": close,
            "high": close * (1 + reach),
            "low": close * (1 - reach),
            "close": close,
            "volume": np.where(stir, 3000.0, np.round(rng.uniform(900, 1100, sessions))),
        }
    )


def reference_bars(sessions: int = 400, seed: int = 1, names: tuple[str, ...] = ()) -> pl.DataFrame:
    """Closes of SPY, two sector funds, VIX and VIX3M over the same weekdays."""
    rng = np.random.default_rng(seed)
    frames = []
    for name in names or ("SPY", "XLK", "XLF", "^VIX", "^VIX3M"):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, sessions)))
        frames.append(
            pl.DataFrame({"symbol": [name] * sessions, "session": weekdays(sessions), "close": close})
        )
    return pl.concat(frames)


def sectors(bars: pl.DataFrame) -> pl.DataFrame:
    """Every second symbol in XLK, the others in XLF."""
    names = bars["symbol"].unique().sort()
    return pl.DataFrame({"symbol": names, "sector": ["XLK" if k % 2 else "XLF" for k in range(len(names))]})


def scaled(bars: pl.DataFrame, ratio: float) -> pl.DataFrame:
    """The bars as a vendor gives them after a later split of `ratio` to 1."""
    return bars.with_columns(*(pl.col(c) / ratio for c in PRICES), pl.col("volume") * ratio)


def decided_by_rounding() -> set[str]:
    """Features made of +DI, -DI or DX, in which the last bit decides between equal moves."""
    return {n for n in FEATURES if SPLIT in inputs(n, DECLARED, PANEL_COLUMNS)}


def largest_difference(
    a: pl.DataFrame, b: pl.DataFrame, scale: pl.DataFrame | None = None
) -> dict[str, float]:
    """By feature the largest |a - b| over max(|a|, the feature's median size); infinite where one is null alone."""
    assert a.select("symbol", "session").equals(b.select("symbol", "session"))
    out = {}
    for name in a.columns[2:]:
        x, y = a[name].to_numpy(), b[name].to_numpy()
        of = (scale if scale is not None else a)[name].drop_nulls().abs()
        size = of.median() or (of.mean() if len(of) else 1.0) or 1.0
        with np.errstate(invalid="ignore"):
            error = np.abs(x - y) / np.maximum(np.abs(x), size)
        error = np.where(np.isnan(x) & np.isnan(y), 0.0, np.where(np.isnan(x) != np.isnan(y), np.inf, error))
        out[name] = float(error.max(initial=0.0))
    return out
