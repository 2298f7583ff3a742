"""Does a column know more of the next return than is plausible? (probe "plausibility")

No other probe sees a value that was made with tomorrow's price before the audit began: a column of a vendor, a file of
yesterday's research, bars that were stamped a day late. What gives it away is that it is too good. So the rank
correlation of each column with the return to the next session is compared with a ceiling. It refuses nothing, since a
rare honest column may be that good: it is a warning.

The ceiling stands on what honest features reach. Over the features of the four sets, on five simulated markets and on 8
and 60 real stocks over five years, the highest correlation of whole samples was 0.139 in the simulated markets, whose
signals are planted, and 0.053 in the real one. The next return with three times as much noise reaches 0.17 to 0.27. In
44,000 correlations, of a month or of years, no honest feature was two standard errors beyond the ceiling and five from
zero. So much noise hides in a month of few symbols, and shows over years or many symbols.
"""

from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.report import BLIND_SPOTS, AuditReport
from trademl_pipeline.leakage.suspicion import SUSPICIOUS, Suspicion
from trademl_pipeline.leakage.tables import KEY

PLAUSIBILITY = "plausibility"
CEILING = 0.14
# Standard errors from the ceiling, and from zero: an audit looks at hundreds of columns over dozens of months.
BEYOND_CEILING, BEYOND_CHANCE = 2.0, 5.0
MIN_SESSIONS = 15
MIN_SYMBOLS = 5
CLOSES = ("close", "adj_close", "price")

# Symbols whose returns correlate this much are one company, or one fund, listed twice. Of larger panels the first
# symbols by name are compared.
SAME_RETURNS = 0.99
COMPARED_SYMBOLS = 2000
DUPLICATE_BLIND_SPOTS = (
    "what near_duplicates names: rows that nearly repeat each other count as many, so that errors come out too small",
)


def audit_plausibility(
    features: pl.DataFrame, bars: pl.DataFrame, *, ceiling: float = CEILING
) -> AuditReport:
    """Compare each column's rank correlation with the next return to a ceiling; nothing is refused.

    Args:
        features: symbol, session and numeric columns, known at their session's close.
        bars: symbol, session and a close, from the first session to one after the last.
        ceiling: of a correlation; see the module's text.

    Returns:
        A report without violations, whose `suspicions` are the columns beyond the ceiling. Without a close among the
        bars the probe is not run.
    """
    close = next((c for c in bars.columns if c.lower() in CLOSES), None)
    if close is None:
        skipped = f"no close among {', '.join(bars.columns)}"
        return AuditReport(coverage={PLAUSIBILITY: {"skipped": skipped}})
    first = features["session"].min()
    returns = (
        bars.filter(pl.col("session") >= first)
        .select(*KEY, pl.col(close).cast(pl.Float64).alias("_close"))
        .sort(KEY)
        .select(*KEY, (pl.col("_close").shift(-1) / pl.col("_close") - 1).over("symbol").alias("_outcome"))
        .filter(pl.col("_outcome").is_finite())
    )
    joined = features.join(returns, on=KEY)
    columns = [c for c in features.columns if c not in KEY and features.schema[c].is_numeric()]
    ranked = _correlations(joined, columns, "session", MIN_SYMBOLS)
    # Columns of too few symbols to be ranked are looked at over the sessions of each symbol instead.
    few = [c for c in columns if ranked[c].height < MIN_SESSIONS]
    followed = _correlations(joined, few, "symbol", MIN_SESSIONS)
    suspicions = [s for c in columns if (s := _suspicion(c, ranked[c], followed.get(c), ceiling)) is not None]
    coverage: dict[str, Any] = {
        "columns": len(columns),
        "sessions": joined["session"].n_unique(),
        "ceiling": ceiling,
    }
    pairs = near_duplicates(returns)
    if pairs:
        coverage |= {
            "near_duplicates": [f"{a} = {b}" for a, b in pairs],
            BLIND_SPOTS: list(DUPLICATE_BLIND_SPOTS),
        }
    if suspicions:
        coverage[SUSPICIOUS] = [suspicion.to_plain() for suspicion in suspicions]
    return AuditReport(coverage={PLAUSIBILITY: coverage})


def near_duplicates(returns: pl.DataFrame) -> list[tuple[str, str]]:
    """Return pairs of symbols that move as one, such as two listings of a company.

    Args:
        returns: symbol, session and `_outcome`, the return of each row.
    """
    names = returns["symbol"].unique().sort()[:COMPARED_SYMBOLS]
    sessions = returns["session"].unique().sort()
    if len(sessions) < MIN_SESSIONS or len(names) < 2:
        return []
    rows = returns.filter(pl.col("symbol").is_in(names.to_list()))
    moves = np.full((len(names), len(sessions)), np.nan)
    at = names.search_sorted(rows["symbol"]).to_numpy(), sessions.search_sorted(rows["session"]).to_numpy()
    moves[at] = rows["_outcome"].to_numpy()
    present = np.isfinite(moves)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.where(present, moves, 0.0)
        centred = np.where(
            present, centred - centred.sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True), 0.0
        )
        scaled = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        together = np.triu(np.nan_to_num(scaled @ scaled.T), 1)
    first, second = np.nonzero(together > SAME_RETURNS)
    enough = present[first] & present[second]
    return [
        (str(names[int(a)]), str(names[int(b)]))
        for a, b, n in zip(first, second, enough.sum(axis=1), strict=True)
        if n >= MIN_SESSIONS
    ]


def _correlations(
    joined: pl.DataFrame, columns: list[str], by: str, min_rows: int
) -> dict[str, pl.DataFrame]:
    """Rank correlation (`ic`) of each column with the outcome and its rows (`n`), session by session or by symbol."""
    known = {c: pl.col(c).cast(pl.Float64).is_finite().fill_null(False) for c in columns}
    wide = joined.group_by(by).agg(
        *(
            pl.corr(pl.col(c).filter(k).rank(), pl.col("_outcome").filter(k).rank()).alias(f"ic {c}")
            for c, k in known.items()
        ),
        *(k.sum().cast(pl.Int64).alias(f"n {c}") for c, k in known.items()),
    )
    return {
        c: wide.select(ic=f"ic {c}", n=f"n {c}").filter(pl.col("ic").is_finite() & (pl.col("n") >= min_rows))
        for c in columns
    }


def _suspicion(
    column: str, ranked: pl.DataFrame, followed: pl.DataFrame | None, ceiling: float
) -> Suspicion | None:
    """Return the suspicion against a column; None where its correlation is plausible or cannot be told from chance.

    Args:
        column: its name.
        ranked: its correlations among the symbols of each session.
        followed: its correlations over the sessions of each symbol, where too few sessions could be ranked.
        ceiling: of a plausible correlation.
    """
    among_symbols = followed is None
    measured = ranked if followed is None else followed
    if measured.is_empty():
        return None
    ic, sizes = measured["ic"].to_numpy(), measured["n"].to_numpy()
    if among_symbols:
        # A rank correlation of n independent pairs has variance 1 / (n - 1).
        chance = float(np.sqrt(np.sum(1.0 / np.maximum(sizes - 1, 1))) / len(ic))
        error, sessions = max(chance, float(np.std(ic, ddof=1) / np.sqrt(len(ic)))), len(ic)
    else:
        # Symbols count as one, since they move together.
        sessions = int(sizes.mean())
        error = float(1.0 / np.sqrt(sessions - 1))
    mean = float(ic.mean())
    if abs(mean) <= BEYOND_CHANCE * error or abs(mean) - BEYOND_CEILING * error <= ceiling:
        return None
    return Suspicion(column, round(mean, 5), round(error, 5), sessions, int(sizes.sum()), ceiling)
