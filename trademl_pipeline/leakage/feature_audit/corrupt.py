"""Synthetic futures and synthetic splits.

A corruption changes values and keeps keys. Synthetic bars are still bars, with the high on top, so that an
extractor that checks its input is not refused for the wrong reason; but level, shape and volume of each are
new, so that a ratio within one bar moves too. Several styles are needed: a peek that fires on a crash only is
not seen by noise, and one that drops outliers is not seen by a crash.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.roles import DIVIDENDS, PRICES, VOLUMES

# factor of a row's prices from (its close, the last close known, its distance from the cut-off in rows, a
# normal draw)
Style = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

STYLES: dict[str, Style] = {
    "crash": lambda close, anchor, step, z: np.full(len(step), 0.4),
    "jump": lambda close, anchor, step, z: np.full(len(step), 2.5),
    "saw": lambda close, anchor, step, z: np.where(step % 2 == 0, 1.6, 0.6),
    "noise": lambda close, anchor, step, z: np.exp(0.1 * z),
    "whisper": lambda close, anchor, step, z: np.exp(0.005 * z),
    "mirror": lambda close, anchor, step, z: (anchor / close) ** 2,
    "flat": lambda close, anchor, step, z: anchor / close,
    "drift_up": lambda close, anchor, step, z: np.exp(0.02 * np.minimum(step + 1, 100)),
    "drift_down": lambda close, anchor, step, z: np.exp(-0.02 * np.minimum(step + 1, 100)),
}
MISSING = "missing"

# Powers of two are exact in binary floating point, so a scale-free feature is reproduced to the last bit.
SPLIT_RATIO = 8.0


def corrupt_future(
    bars: pl.DataFrame,
    future: np.ndarray,
    symbols: np.ndarray,
    rng: np.random.Generator,
    *,
    missing: bool = False,
    prices: Collection[str] = (),
    turn: int | None = None,
) -> pl.DataFrame:
    """Bars with the values of some rows corrupted, each symbol in a style drawn for it.

    Args:
        bars: sorted by (symbol, session).
        future: (rows,) bool, the rows to corrupt.
        symbols: (rows,) symbol code of each row.
        rng: drawn from for styles and factors.
        missing: also blank out the future of some symbols; for bars that hold nulls already.
        prices: columns that are prices, beside those that are named so.
        turn: number of the call among several, over which the styles take turns, so that few calls have them all;
            None: drawn for each symbol.
    """
    rows = np.flatnonzero(future)
    if not len(rows):
        return bars
    names = [*STYLES, MISSING] if missing else list(STYLES)
    if turn is None:
        style = rng.integers(0, len(names), size=int(symbols.max()) + 1)[symbols[rows]]
    else:
        place = np.unique(symbols[rows], return_inverse=True)[1]
        # One more after each round, so that a symbol whose turn comes at a fixed distance has other styles then.
        style = (turn + turn // len(names) + place) % len(names)
    factor = _factors(bars, future, rows, symbols, style, rng, prices)
    blank = style == len(STYLES)
    numeric = [c for c, t in bars.schema.items() if t.is_numeric() or t == pl.Boolean]
    return _replaced(bars, numeric, rows, factor, blank, rng, prices)


def corrupt_source(frame: pl.DataFrame, future: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """A source with the numbers of its future rows drawn anew and scaled; keys, names and times are kept."""
    rows = np.flatnonzero(future)
    if not len(rows):
        return frame
    numeric = [
        c
        for c, t in frame.schema.items()
        if (t.is_numeric() or t == pl.Boolean) and c not in ("symbol", "session")
    ]
    factor = np.exp(0.3 * rng.standard_normal(len(rows)))
    return _replaced(frame, numeric, rows, factor, np.zeros(len(rows), dtype=bool), rng)


def impulse(
    bars: pl.DataFrame, rows: np.ndarray, factor: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """Bars with the values of a few rows replaced, prices by a factor, so that what reads these rows moves.

    Args:
        bars: any bars.
        rows: (n,) positions of the rows.
        factor: (n,) factor of the prices of each.
        rng: drawn from for all that is no price.
    """
    numeric = [c for c, t in bars.schema.items() if t.is_numeric() or t == pl.Boolean]
    return _replaced(bars, numeric, rows, factor, np.zeros(len(rows), dtype=bool), rng)


def _replaced(
    frame: pl.DataFrame,
    columns: list[str],
    rows: np.ndarray,
    factor: np.ndarray,
    blank: np.ndarray,
    rng: np.random.Generator,
    prices: Collection[str] = (),
) -> pl.DataFrame:
    """The frame with new values in some rows of some columns; every other cell is untouched."""
    corrupted: dict[str, np.ndarray] = {}
    for column in columns:
        series = frame[column]
        name = "price" if column in prices else column.lower()
        # Series by series and call by call this is most of what a synthetic future costs.
        numbers = series.to_numpy()[rows] if _is_plain(series) else _numbers(series.gather(rows))
        corrupted[column] = _corrupted(name, series.dtype, numbers, factor, rng)
    _reshape(corrupted, rng)
    updates: list[pl.Series] = []
    for column, numbers in corrupted.items():
        series = frame[column]
        values = np.where(blank, np.nan, numbers)
        if _is_plain(series):
            every = series.to_numpy().copy()
            every[rows] = values
            updates.append(pl.Series(column, every))
            continue
        gaps = series.gather(rows).null_count() > 0
        put = pl.Series(values, nan_to_null=gaps or not series.dtype.is_float())
        if series.dtype.is_integer():
            put = put.round(0)
        # A scaled integer may leave the range of its type; it is then missing, which is a corruption too.
        updates.append(series.clone().scatter(rows, put.cast(series.dtype, strict=False)))
    return frame.with_columns(updates)


def _is_plain(series: pl.Series) -> bool:
    """Return whether a column is an array of float64, and nothing is missing in it."""
    return series.dtype == pl.Float64 and not series.null_count()


def _numbers(series: pl.Series) -> np.ndarray:
    return series.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _reshape(corrupted: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Give bars a new shape in place: open and close apart, high and low around both."""
    by_name = {c.lower(): c for c in corrupted}
    for prefix in ("", "adj_"):
        body = [by_name[f"{prefix}{p}"] for p in ("open", "close") if f"{prefix}{p}" in by_name]
        if not body:
            continue
        size = len(corrupted[body[0]])
        if len(body) == 2:
            corrupted[body[0]] = corrupted[body[0]] * np.exp(0.02 * rng.standard_normal(size))
        top = np.maximum.reduce([corrupted[c] for c in body])
        bottom = np.minimum.reduce([corrupted[c] for c in body])
        high = top * (1 + np.abs(0.02 * rng.standard_normal(size)))
        low = bottom * (1 - np.minimum(np.abs(0.02 * rng.standard_normal(size)), 0.5))
        for name, values in (("high", high), ("low", low), ("vwap", low + rng.random(size) * (high - low))):
            if prefix + name in by_name:
                corrupted[by_name[prefix + name]] = values


def _factors(
    bars: pl.DataFrame,
    future: np.ndarray,
    rows: np.ndarray,
    symbols: np.ndarray,
    style: np.ndarray,
    rng: np.random.Generator,
    prices: Collection[str],
) -> np.ndarray:
    """(len(rows),) price factor of each corrupted row."""
    row_symbols = symbols[rows]
    n = int(symbols.max()) + 1
    first = np.full(n, -1)
    first[row_symbols[::-1]] = np.arange(len(rows))[::-1]
    step = np.arange(len(rows)) - first[row_symbols]
    price = next((c for c in bars.columns if c.lower() in ("close", "adj_close", "price")), None)
    price = price or next((c for c in bars.columns if c in prices), None)
    close = anchor = np.ones(len(rows))
    if price is not None:
        every = bars[price].cast(pl.Float64).fill_null(np.nan).to_numpy()
        close = every[rows]
        past = np.flatnonzero(~future)
        last = np.full(n, -1)
        last[symbols[past]] = past
        at = np.where(last[row_symbols] >= 0, last[row_symbols], rows[first[row_symbols]])
        anchor = every[at]
    z = rng.standard_normal(len(rows))
    factor = np.ones(len(rows))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for number, make in enumerate(STYLES.values()):
            mine = style == number
            factor[mine] = make(close[mine], anchor[mine], step[mine], z[mine])
    return np.where(np.isfinite(factor) & (factor > 0), np.clip(factor, 1e-6, 1e6), 1.0)


def _corrupted(
    name: str, dtype: pl.DataType, values: np.ndarray, factor: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    n = len(values)
    if name in PRICES:
        return values * factor
    if name in VOLUMES:
        return values * 10.0 ** rng.uniform(-1.5, 1.5, n)
    if name == "split_factor":
        return np.where(rng.random(n) < 0.2, rng.choice([0.5, 2.0, 3.0], n), values)
    if name == "dividend":
        return np.where(rng.random(n) < 0.2, rng.uniform(0.1, 2.0, n), values)
    if dtype == pl.Boolean:
        return np.where(rng.random(n) < 0.5, 1.0 - values, values)
    # Of a column whose meaning is not known, only values it has had are surely valid; floats are moved as
    # well, since a constant column would come back as it was.
    permuted = rng.permutation(values)
    return permuted * np.exp(0.2 * rng.standard_normal(n)) if dtype.is_float() else permuted


def split_adjusted(
    bars: pl.DataFrame, power: np.ndarray, powers: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """Restate bars as a vendor would after a split of 2**power to 1: prices and dividends divided, volumes multiplied.

    Args:
        bars: any bars.
        power: (rows,) integer exponent of each row's split ratio.
        powers: column -> 1 where the ratio multiplies it, -1 where it divides it; None: by the names of columns.
    """
    if powers is None:
        named = [c for c, t in bars.schema.items() if t.is_numeric()]
        powers = {c: -1 for c in named if c.lower() in PRICES | DIVIDENDS}
        powers |= {c: 1 for c in named if c.lower() in VOLUMES}
    ratio = np.exp2(power.astype(np.float64))
    updates: list[pl.Expr] = []
    for column, sign in powers.items():
        moved = pl.col(column).cast(pl.Float64) * pl.Series(ratio if sign > 0 else 1.0 / ratio)
        if bars.schema[column].is_integer() and sign > 0:
            moved = moved.round(0).cast(bars.schema[column])
        updates.append(moved.alias(column))
    return bars.with_columns(updates)


def ulp_noise(bars: pl.DataFrame, prices: Collection[str] = ()) -> pl.DataFrame:
    """Bars whose prices took a rounding error of one last bit here and there; equal prices stay equal.

    A cell that moves under this is decided by rounding, not by data, and is no evidence of anything.
    """
    rounded = [c for c, t in bars.schema.items() if (c in prices or c.lower() in PRICES) and t.is_float()]
    return bars.with_columns((pl.col(c) * (1 / 7) * 7.0).alias(c) for c in rounded)
