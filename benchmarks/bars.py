"""Daily bars for the benchmarks of features, labels and sequences: real ones where they are, else random walks."""

from pathlib import Path

import numpy as np
import polars as pl

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "us_equities_daily.parquet"
COLUMNS = ["symbol", "session", "open", "high", "low", "close", "volume"]


def random_walks(rows: int, sessions: int = 2500, seed: int = 7) -> pl.DataFrame:
    """Bars of as many symbols as the rows fill, each of `sessions` sessions."""
    rng = np.random.default_rng(seed)
    symbols = max(1, rows // sessions)
    shape = (symbols, sessions)
    sigma = 0.02 * np.exp(0.02 * np.cumsum(rng.normal(size=shape), axis=1))
    close = 50 * np.exp(np.cumsum(sigma * rng.normal(size=shape), axis=1))
    opening = np.concatenate([close[:, :1], close[:, :-1]], axis=1) * np.exp(
        0.3 * sigma * rng.normal(size=shape)
    )
    high = np.maximum(opening, close) * np.exp(0.4 * sigma * np.abs(rng.normal(size=shape)))
    low = np.minimum(opening, close) * np.exp(-0.4 * sigma * np.abs(rng.normal(size=shape)))
    days = np.arange(np.datetime64("2005-01-03"), np.datetime64("2005-01-03") + 2 * sessions)
    days = days[np.is_busday(days)][:sessions]
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"S{k:05d}" for k in range(symbols)], sessions),
            "session": np.tile(days, symbols),
            **{
                name: values.ravel()
                for name, values in zip(
                    ("open", "high", "low", "close"), (opening, high, low, close), strict=True
                )
            },
            "volume": np.round(np.exp(rng.normal(13, 0.6, symbols * sessions))),
        }
    )


def load(rows: int = 0, data: Path | None = None) -> pl.DataFrame:
    """Sorted bars of whole symbols, about `rows` rows of them, drawn evenly; 0 takes all.

    data: Parquet file with symbol, date or session, open, high, low, close, volume; None takes the shared real data,
    and random walks where that is absent.
    """
    path = data or REAL
    if not path.exists():
        return random_walks(rows or 2_680_000)
    bars = pl.read_parquet(path)
    if "session" not in bars.columns:
        bars = bars.rename({"date": "session"})
    bars = bars.select(COLUMNS).with_columns(pl.col("volume").cast(pl.Float64)).sort("symbol", "session")
    if rows and rows < bars.height:
        names = bars["symbol"].unique().sort()
        bars = bars.filter(pl.col("symbol").is_in(names.gather_every(round(bars.height / rows)).implode()))
    return bars


def arrays(bars: pl.DataFrame) -> tuple[list[np.ndarray], np.ndarray]:
    """Open, high, low, close and volume as arrays, and the borders of the symbols' rows."""
    columns = [np.ascontiguousarray(bars[c].cast(pl.Float64).to_numpy()) for c in COLUMNS[2:]]
    lengths = bars.group_by("symbol", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    return columns, np.concatenate([[0], np.cumsum(lengths)])
