"""The inputs of a validation report, checked and joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.evaluation.metrics import IC_ALARM
from trademl_pipeline.evaluation.tries import Tries
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, sessions_a_year
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.tasks.protocol import Task
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.tasks.report_spec import ReportSpec


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
        task: what the models are asked, a key of `TASKS`; says which columns there are and which figures make sense.
        simulated: whether the market is simulated, with a planted signal.
        portfolio: the naive portfolio; None decides daily and holds for the horizon, by the task's own rule.
            Where a long/short holds longer than one session, one that holds for one is shown beside it.
        trials: models tried on these data so far, on record; deflates the Sharpe ratio.
        tries: looks at the outcomes of these rows, on record; they deflate the verdict. None: nobody counts them.
        trial_variance: variance of their annualised Sharpe ratios, if on record.
        min_symbols: fewest symbols of a session to rank.
        calendar: exchange calendar of the sessions: when the portfolio trades, and how many make a year.
        draws: bootstrap draws of each interval.
        ic_ceiling: a mean daily rank IC above it, whose interval lies above 0, is an alarm.
        direction_ceiling: so is directional accuracy this far above the majority's.
        sharpe_ceiling: and a Sharpe ratio whose interval lies above it.
        ev_ceiling: and, for breakouts, a correlation of expected and realised value above it: twice what the
            published design hopes for.
        confidence_threshold: minimal confidence of a technical signal that is kept.
        costs: of trading; None: those of `portfolio`.
    """

    study: str
    title: str
    horizon: int
    seed: int
    task: str = "direction"
    simulated: bool = False
    portfolio: LongShortConfig | None = None
    trials: int = 1
    tries: Tries | None = None
    trial_variance: float | None = None
    min_symbols: int = 5
    calendar: str = DEFAULT_CALENDAR
    draws: int = 2000
    ic_ceiling: float = IC_ALARM
    direction_ceiling: float = 0.08
    sharpe_ceiling: float = 5.0
    ev_ceiling: float = 0.7
    confidence_threshold: float = 0.6
    costs: Costs | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ReportError(f"config.task is {self.task!r}; it must be one of {', '.join(TASKS)}")

    @property
    def declared_task(self) -> Task:
        """The task itself."""
        return TASKS[self.task]

    @property
    def kind(self) -> ReportSpec:
        """Return what the task declares for its reports."""
        return self.declared_task.report

    @property
    def portfolio_config(self) -> LongShortConfig:
        """The portfolio that is judged; what a study that chooses its trades weighs is the task's to say."""
        config = self.portfolio or LongShortConfig(holding=self.horizon, weighting=self.kind.weighting)
        config = replace(config, calendar=self.calendar, costs=self.costs or config.costs)
        return replace(config, weighting=self.kind.weighting) if self.kind.unfiltered_portfolio else config

    @property
    def sessions_a_year(self) -> int:
        """Sessions by which figures of a session are made figures of a year."""
        return sessions_a_year(self.calendar)

    @property
    def bootstrap(self) -> Bootstrap:
        """Intervals of figures whose rows reach `horizon` sessions ahead."""
        return self.bootstrap_over(self.horizon)

    def bootstrap_over(self, horizon: int) -> Bootstrap:
        """Intervals of figures whose rows reach another number of sessions ahead."""
        return Bootstrap(seed=self.seed, horizon=horizon, draws=self.draws)

    @property
    def portfolio_bootstrap(self) -> Bootstrap:
        """Intervals of the portfolio's returns."""
        return Bootstrap(seed=self.seed, horizon=self.portfolio_config.holding, draws=self.draws)


@dataclass(frozen=True)
class ReportInputs:
    """Frames behind a report. Which columns a task brings is in its file, `tasks/<name>.py`.

    Attributes:
        predictions: symbol, session, score, fold and the task's own columns; decision_time, knowledge_time,
            model_run, snapshot and certificate where they are known.
        outcomes: symbol, session and the task's own columns; label_start and label_end where they are known.
        bars: raw bars from the first prediction to the last outcome; earlier ones warm up baselines.
        audits: rows of the lake's `audits` table, or None.
        importances: fold, feature, importance (share of a fold's total), or None.
        folds: one row a trained fold, `fold` (month key) and any of train_start, train_end, rows, symbols,
            sessions, best_iteration, snapshot, model_run, parameters, train_seconds, train_loss,
            validation_loss, train_accuracy, validation_accuracy, or None.
        oracle: the best forecast of a simulated market, see `oracle.score_oracle`.
        estimator_predictions: symbol, session, fold, member, score and the task's columns: what each model of an
            ensemble and each baseline says by itself, or None.
        training: fold, member and any of parameters, train_seconds: what each estimator cost, or None.
        attention: symbol, session, step, weight: where a model looked; step 0 is the window's oldest session.
        sequences: symbol, session, decision_time, knowledge_time and, where given, window_start: the windows
            behind the predictions, or None.
        cross_validation: symbol, split and any of rows, auc, accuracy, majority, correlation: gapped
            cross-validation of each symbol within training data, or None.
        metadata: what else a reader should know, name -> value, shown as given; a path is a file beside the report.
    """

    predictions: pl.DataFrame
    outcomes: pl.DataFrame
    bars: pl.DataFrame
    audits: pl.DataFrame | None = None
    importances: pl.DataFrame | None = None
    folds: pl.DataFrame | None = None
    oracle: pl.DataFrame | None = None
    estimator_predictions: pl.DataFrame | None = None
    training: pl.DataFrame | None = None
    attention: pl.DataFrame | None = None
    sequences: pl.DataFrame | None = None
    cross_validation: pl.DataFrame | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


_KEY = ("symbol", "session")
_NEEDED = {
    "bars": (*_KEY, "open", "close", "volume"),
    "audits": ("table_name", "month", "probe", "passed", "detail", "coverage", "recorded_at"),
    "importances": ("fold", "feature", "importance"),
    "folds": ("fold",),
    "oracle": _KEY,
    "training": ("fold", "member"),
    "attention": (*_KEY, "step", "weight"),
    "sequences": (*_KEY, "decision_time", "knowledge_time"),
    "cross_validation": ("symbol", "split"),
}
_KEYS = {
    "predictions": _KEY,
    "outcomes": _KEY,
    "bars": _KEY,
    "estimator_predictions": (*_KEY, "member"),
    "training": ("fold", "member"),
    "attention": (*_KEY, "step"),
    "sequences": _KEY,
    "cross_validation": ("symbol", "split"),
}


def check(inputs: ReportInputs, task: Task) -> None:
    """Refuse missing columns, missing rows and repeated keys.

    Raises:
        ReportError: naming the frame.
    """
    needed = {
        "predictions": (*_KEY, "score", *task.predicted, "fold"),
        "outcomes": (*_KEY, *task.report.outcomes),
        "estimator_predictions": (*_KEY, "fold", "member", "score", *task.estimator_columns),
        **_NEEDED,
    }
    for name, columns in needed.items():
        frame = getattr(inputs, name)
        if frame is None:
            continue
        missing = [c for c in columns if c not in frame.columns]
        if missing:
            raise ReportError(
                f"{name} lack the columns {missing} that the task {task.name!r} needs; they have {frame.columns}"
            )
    for name, key in _KEYS.items():
        frame = getattr(inputs, name)
        if frame is None:
            continue
        if frame.is_empty() and name in ("predictions", "outcomes", "bars"):
            raise ReportError(f"{name} are empty; there is nothing to report on")
        if frame.select(pl.struct(*key).is_duplicated().any()).item():
            raise ReportError(f"{name} repeat ({', '.join(key)}) keys")


def scored_rows(inputs: ReportInputs, spec: ReportSpec) -> pl.DataFrame:
    """Predictions that have an outcome, with it, sorted by session and symbol.

    Outcomes that are named as the prediction of them come with the prefix `came_`; the outcome that the score
    ranks is `forward_return`.

    Raises:
        ReportError: if no prediction has an outcome.
    """
    rows = with_outcomes(inputs.predictions, inputs.outcomes, spec)
    if rows.is_empty():
        raise ReportError(
            f"none of {inputs.predictions.height} predictions has an outcome yet; predictions run to "
            f"{inputs.predictions['session'].max()}, outcomes to {inputs.outcomes['session'].max()}"
        )
    return rows


def matured_rows(rows: pl.DataFrame, bars: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """Rows whose first-passage label had time to run its full length by the last of the bars.

    Of younger ones only those are known that were decided early, most of them failures: scored with the others
    they would show skill to whoever expects failures.

    Args:
        rows: scored predictions.
        bars: as far as they are known.
        horizon: sessions of a full first-passage label.
    """
    sessions = bars["session"].unique().sort()
    if len(sessions) <= horizon:
        return rows.clear()
    return rows.filter(pl.col("session") <= sessions[-1 - horizon])


def with_outcomes(predictions: pl.DataFrame, outcomes: pl.DataFrame, spec: ReportSpec) -> pl.DataFrame:
    """Predictions, or those of estimators, joined with outcomes; see `scored_rows`."""
    decided = [spec.outcome] + ["target"] * ("target" in spec.outcomes)
    extra = [c for c in ("label_start", "label_end", *spec.optional_outcomes) if c in outcomes.columns]
    outcome = (
        outcomes.drop_nulls(decided)
        .with_columns(forward_return=pl.col(spec.outcome))
        .select(*_KEY, *dict.fromkeys([*spec.outcomes, "forward_return", *extra]))
    )
    clash = [c for c in outcome.columns if c in predictions.columns and c not in _KEY]
    return predictions.join(
        outcome.rename({c: f"came_{c}" for c in clash}), on=list(_KEY), maintain_order="left"
    ).sort("session", "symbol")
