"""Auditors as public tools and papers have them, and one such tool, on the same input.

`truncation_only` follows freqtrade's lookahead-analysis (freqtrade/optimize/analysis/lookahead.py): some
moments are drawn, all later rows are deleted, and the values of the rows that are left are compared with
those of the full run. Rows that appear or vanish are not compared, and clocks are not known.

`perturbation_only` follows the temporal perturbation test, as in https://pypi.org/project/temporal-leaks/:
the numbers after some moments are replaced by noise, keys stay, and earlier values are compared.

`time_split` is the check of most pipelines, that training rows lie before test rows, as scikit-learn's TimeSeriesSplit
without a gap has it. `target_correlation` refuses a column that goes with the target as scanners of tables do (H2O and
deepchecks warn from 0.8 to 0.95). `shuffled_target` is the permutation test of Ojala & Garriga (JMLR 11, 2010): on
prices that walk at random a model on honest features does no better than on targets in any other order.

`leakprobe` is the package of that name (MIT licence, https://pypi.org/project/leakprobe/), where it is installed.
"""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from mutant import Mutant

CUTS = 20
HIGH_CORRELATION = 0.8
PERMUTATIONS = 40
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


def time_split(mutant: Mutant, leaky: bool) -> bool | None:
    """Whether training rows that do not lie before the test rows refuse the split."""
    if mutant.split is None:
        return None
    train, test = mutant.split(leaky)
    last, first = train["session"].to_numpy().max(), test["session"].to_numpy().min()
    return bool(last >= first)


def target_correlation(mutant: Mutant, leaky: bool) -> bool | None:
    """Whether a column that goes with the next return refuses the extractor."""
    x, y, _ = _learnable(mutant, leaky)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = [abs(float(np.corrcoef(_ranks(c), _ranks(y))[0, 1])) for c in x.T]
    return max((f for f in found if np.isfinite(f)), default=0.0) > HIGH_CORRELATION


def shuffled_target(mutant: Mutant, leaky: bool, seed: int = 0) -> bool | None:
    """Whether a ridge on the columns does better out of sample than on all shuffled targets."""
    x, y, days = _learnable(mutant, leaky)
    if len(y) < 60:
        return False
    train = days < np.quantile(days, 0.6)
    x = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-12)
    gram = x[train].T @ x[train] + np.eye(x.shape[1])

    def score(target: np.ndarray) -> float:
        weights = np.linalg.solve(gram, x[train].T @ target[train])
        guess = x[~train] @ weights
        return float(np.corrcoef(_ranks(guess), _ranks(target[~train]))[0, 1]) if guess.std() > 0 else 0.0

    rng = np.random.default_rng(seed)
    return score(y) > max(score(rng.permutation(y)) for _ in range(PERMUTATIONS))


def leakprobe(mutant: Mutant, leaky: bool) -> bool | None:
    """Whether leakprobe finds a column that reads rows after a cut-off; None where it is not installed."""
    if importlib.util.find_spec("leakprobe") is None:
        return None
    import pandas as pd
    from leakprobe import check  # pyright: ignore[reportMissingImports]
    from leakprobe.report import FUTURE, LEAK  # pyright: ignore[reportMissingImports]

    extract, bars = _extractor(mutant, leaky)
    clocks: dict[str, str] = {}
    sources: dict[str, Any] = {}
    for name, frame in {"bars": bars, **mutant.sources}.items():
        clock = next(c for c in TIMES if c in frame.columns)
        table = frame.to_pandas()
        stamp = pd.to_datetime(table[clock])
        table["_clock"] = stamp if stamp.dt.tz is None else stamp.dt.tz_convert(None)
        clocks[name], sources[name] = "_clock", table
    days = sources["bars"]["_clock"].drop_duplicates().sort_values()
    cut = days.iloc[2 * len(days) // 3]

    def compute(tables: Any) -> Any:
        given = {
            n: pl.from_pandas(t.drop(columns="_clock")).with_columns(
                pl.col(c).cast(frame.schema[c]) for c in frame.columns
            )
            for (n, t), frame in zip(tables.items(), [bars, *mutant.sources.values()], strict=True)
        }
        values = _values(extract(given.pop("bars"), **given)).sort("symbol", "session").to_pandas()
        values = values[pd.to_datetime(values["session"]) <= cut]
        return values.set_index(["symbol", "session"]).astype(float).round(9)

    columns = compute(sources).columns
    declared = {str(c): list(sources) for c in columns}
    report = check(compute, sources, clocks, declared, cutoff=cut, tolerance=1e-7)
    return any(finding.kind in (LEAK, FUTURE) for finding in report.findings)


# Auditors beside the gate: what they are called, and what they say of a mutant. None: they cannot take it.
OF_EXTRACTORS: dict[str, Callable[[Mutant, bool], bool | None]] = {
    "truncation": truncation_only,
    "perturbation": perturbation_only,
    "correlation": target_correlation,
    "shuffled": shuffled_target,
    "leakprobe": leakprobe,
}
NOT_RUN = {
    "freqtrade lookahead-analysis": "GPL-3.0; truncation stands for it",
    "vectorbt": "Apache-2.0 with Commons Clause",
    "deepchecks": "AGPL-3.0; correlation stands for its check of features and label",
    "temporal-leaks 0.1.0": "MIT, but its wheel has no code; perturbation stands for it",
    "backtest-audit 1.0.0": "MIT, but it reads source text of pandas, which mutants are not",
    "featureleak 0.1.0": "MIT, a scanner of one table: correlation stands for it",
}


def verdicts(mutant: Mutant, leaky: bool) -> dict[str, bool | None]:
    """What each auditor says; None where it cannot take the mutant, or raises on it."""
    found: dict[str, bool | None] = {"time_split": time_split(mutant, leaky)}
    for name, auditor in OF_EXTRACTORS.items():
        takes = mutant.extract is not None and all(
            any(c in f.columns for c in TIMES) for f in mutant.sources.values()
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found[name] = auditor(mutant, leaky) if takes else None
        # Some mutants can only be run once, or not on short frames: a tool that raises has not taken them.
        except Exception:
            found[name] = None
    return found


def _extractor(mutant: Mutant, leaky: bool) -> tuple[Callable[..., pl.DataFrame], pl.DataFrame]:
    assert mutant.extract is not None
    assert mutant.bars is not None
    return mutant.extract[0 if leaky else 1], mutant.bars()


def _learnable(mutant: Mutant, leaky: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, next return and day of each row that has both."""
    extract, bars = _extractor(mutant, leaky)
    values = _values(extract(bars, **mutant.sources))
    close = pl.col("close")
    returns = bars.sort("symbol", "session").select(
        "symbol", "session", (close.shift(-1) / close - 1).over("symbol").alias("_next")
    )
    joined = values.join(returns, on=["symbol", "session"]).filter(pl.col("_next").is_finite())
    columns = [c for c in values.columns if c not in ("symbol", "session")]
    x = joined.select(pl.col(columns).fill_nan(None).fill_null(0.0)).to_numpy()
    return x, joined["_next"].to_numpy(), joined["session"].cast(pl.Int32).to_numpy()


def _ranks(x: np.ndarray) -> np.ndarray:
    return pl.Series(x).rank().to_numpy()
