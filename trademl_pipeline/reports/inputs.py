"""What a validation report is made from, checked and joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.training.intervals import Bootstrap
from trademl_pipeline.training.metrics import IC_ALARM


class ReportError(ValueError):
    """A report cannot be made from these inputs; the message says which and why."""


@dataclass(frozen=True)
class ReportConfig:
    """How results are measured and judged; fixed before the results are seen.

    Attributes:
        study: key of the study.
        title: one line for people.
        horizon: sessions that an outcome reaches ahead.
        seed: seed of the intervals.
        simulated: whether the market is simulated, with a planted signal.
        portfolio: the naive long/short book; None decides daily and holds for the horizon. Where it holds
            longer than one session, a book that holds for one is shown beside it.
        trials: models tried on these data so far, on record; deflates the Sharpe ratio.
        trial_variance: variance of their annualised Sharpe ratios, if on record.
        min_symbols: fewest symbols of a session to rank.
        draws: bootstrap draws of each interval.
        ic_ceiling: a mean daily rank IC above it is an alarm.
        direction_ceiling: so is directional accuracy this far above the majority's.
        sharpe_ceiling: and a Sharpe ratio whose interval lies above it.
    """

    study: str
    title: str
    horizon: int
    seed: int
    simulated: bool = False
    portfolio: LongShortConfig | None = None
    trials: int = 1
    trial_variance: float | None = None
    min_symbols: int = 5
    draws: int = 2000
    ic_ceiling: float = IC_ALARM
    direction_ceiling: float = 0.08
    sharpe_ceiling: float = 5.0

    @property
    def book(self) -> LongShortConfig:
        """The book that is judged."""
        return self.portfolio or LongShortConfig(holding=self.horizon)

    @property
    def bootstrap(self) -> Bootstrap:
        """Intervals of figures whose rows reach `horizon` sessions ahead."""
        return Bootstrap(seed=self.seed, horizon=self.horizon, draws=self.draws)

    @property
    def book_bootstrap(self) -> Bootstrap:
        """Intervals of the book's returns."""
        return Bootstrap(seed=self.seed, horizon=self.book.holding, draws=self.draws)


@dataclass(frozen=True)
class ReportInputs:
    """Frames behind a report.

    Attributes:
        predictions: symbol, session, score, p_sell, p_hold, p_buy, fold; decision_time, model_run and
            snapshot where they are known.
        outcomes: symbol, session, forward_return (log, over the horizon), target (0 Sell, 1 Hold, 2 Buy).
        bars: raw bars from the first prediction to the last outcome.
        audits: rows of the lake's `audits` table, or None.
        importances: fold, feature, importance (share of a fold's total), or None.
        folds: one row a trained fold, `fold` (month key) and any of train_start, train_end, rows, symbols,
            sessions, best_iteration, snapshot, model_run, or None.
        oracle: symbol, session, expected_return and, where given, p_up: the best forecast of a simulated
            market.
        metadata: what else a reader should know, name -> value, shown as given.
    """

    predictions: pl.DataFrame
    outcomes: pl.DataFrame
    bars: pl.DataFrame
    audits: pl.DataFrame | None = None
    importances: pl.DataFrame | None = None
    folds: pl.DataFrame | None = None
    oracle: pl.DataFrame | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


_NEEDED = {
    "predictions": ("symbol", "session", "score", "p_sell", "p_hold", "p_buy", "fold"),
    "outcomes": ("symbol", "session", "forward_return", "target"),
    "bars": ("symbol", "session", "open", "close", "volume"),
    "audits": ("table_name", "month", "probe", "passed", "detail", "coverage", "recorded_at"),
    "importances": ("fold", "feature", "importance"),
    "folds": ("fold",),
    "oracle": ("symbol", "session", "expected_return"),
}


def check(inputs: ReportInputs) -> None:
    """Refuse missing columns, missing rows and repeated keys.

    Raises:
        ReportError: naming the frame.
    """
    for name, columns in _NEEDED.items():
        frame = getattr(inputs, name)
        if frame is None:
            continue
        missing = [c for c in columns if c not in frame.columns]
        if missing:
            raise ReportError(f"{name} lack the columns {missing}; they have {frame.columns}")
    for name in ("predictions", "outcomes", "bars"):
        frame = getattr(inputs, name)
        if frame.is_empty():
            raise ReportError(f"{name} are empty; there is nothing to report on")
        if frame.select(pl.struct("symbol", "session").is_duplicated().any()).item():
            raise ReportError(f"{name} repeat (symbol, session) keys")


def scored_rows(inputs: ReportInputs) -> pl.DataFrame:
    """Predictions that have an outcome, with it, sorted by session and symbol.

    Raises:
        ReportError: if no prediction has an outcome.
    """
    outcomes = inputs.outcomes.select("symbol", "session", "forward_return", "target").drop_nulls()
    rows = inputs.predictions.join(outcomes, on=["symbol", "session"]).sort("session", "symbol")
    if rows.is_empty():
        raise ReportError(
            f"none of {inputs.predictions.height} predictions has an outcome yet; predictions run to "
            f"{inputs.predictions['session'].max()}, outcomes to {inputs.outcomes['session'].max()}"
        )
    return rows
