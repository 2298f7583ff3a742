"""Two auditors as public tools have them, on the same input.

`truncation_only` follows freqtrade's lookahead-analysis (freqtrade/optimize/analysis/lookahead.py): some
moments are drawn, all later rows are deleted, and the values of the rows that are left are compared with
those of the full run. Rows that appear or vanish are not compared, and clocks are not known.

`perturbation_only` follows the temporal perturbation test, as in https://pypi.org/project/temporal-leaks/:
the numbers after some moments are replaced by noise, keys stay, and earlier values are compared.
"""

import numpy as np
import polars as pl
from mutant import Mutant

CUTS = 20
TIMES = ("session", "event_time", "knowledge_time")


def truncation_only(mutant: Mutant, leaky: bool, seed: int = 0) -> bool:
    """Whether truncation alone refuses the extractor."""
    return _refused(mutant, leaky, seed, _cut)


def perturbation_only(mutant: Mutant, leaky: bool, seed: int = 0) -> bool:
    """Whether perturbation alone refuses the extractor."""
    return _refused(mutant, leaky, seed, _noise)


def _refused(mutant: Mutant, leaky: bool, seed: int, change) -> bool:
    assert mutant.extract is not None
    assert mutant.bars is not None
    extract = mutant.extract[0 if leaky else 1]
    bars = mutant.bars()
    rng = np.random.default_rng(seed)
    days = bars["session"].unique().sort()
    full = _values(extract(bars, **mutant.sources))
    for t in sorted(rng.choice(len(days) - 1, size=min(CUTS, len(days) - 1), replace=False)):
        day = days[int(t)]
        sources = {n: change(f, day, rng) for n, f in mutant.sources.items()}
        other = _values(extract(change(bars, day, rng), **sources))
        if _differs(full, other, day):
            return True
    return False


def _values(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(c).cast(pl.Float64) for c in frame.columns if c not in ("symbol", "session")
    )


def _differs(full: pl.DataFrame, other: pl.DataFrame, day) -> bool:
    both = full.filter(pl.col("session") <= day).join(other, on=["symbol", "session"], suffix="_other")
    shared = [c for c in full.columns if c not in ("symbol", "session") and f"{c}_other" in both.columns]
    for column in shared:
        a, b = both[column].fill_null(np.nan).to_numpy(), both[f"{column}_other"].fill_null(np.nan).to_numpy()
        if not np.allclose(a, b, rtol=1e-7, atol=1e-10, equal_nan=True):
            return True
    return False


def _cut(frame: pl.DataFrame, day, rng: np.random.Generator) -> pl.DataFrame:
    return frame.filter(_time(frame) <= day)


def _noise(frame: pl.DataFrame, day, rng: np.random.Generator) -> pl.DataFrame:
    later = _time(frame) > day
    noise = pl.Series(np.exp(0.1 * rng.standard_normal(frame.height)))
    numbers = [c for c, t in frame.schema.items() if t.is_float()]
    return frame.with_columns(pl.when(later).then(pl.col(c) * noise).otherwise(pl.col(c)) for c in numbers)


def _time(frame: pl.DataFrame) -> pl.Expr:
    return pl.col(next(c for c in TIMES if c in frame.columns)).cast(pl.Date)
