"""All figures of a report, computed once; the pages only show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.portfolio.long_short import LongShort, LongShortConfig, long_short
from trademl_pipeline.portfolio.performance import Performance, performance
from trademl_pipeline.reports.gate_results import GateResults, gate_results
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs, check, scored_rows
from trademl_pipeline.reports.oracle import Oracle, score_oracle
from trademl_pipeline.reports.verdict import Verdict, judge
from trademl_pipeline.training import metrics
from trademl_pipeline.training.metrics import Score

REQUIRED_FOLD_COLUMNS = {
    "train_start": pl.Date,
    "train_end": pl.Date,
    "rows": pl.Int64,
    "snapshot": pl.Int64,
    "model_run": pl.String,
}


@dataclass(frozen=True)
class QuickBook:
    """The book held for one session, shown beside the judged one."""

    book: LongShort
    gross: Performance
    net: Performance


@dataclass(frozen=True)
class Evaluation:
    """The figures.

    Attributes:
        config: how they were measured.
        first, last: first and last scored session.
        months: month keys that have scored predictions.
        predictions: number of predictions; `scored` of them have an outcome.
        sessions, symbols: of the scored rows.
        directional_accuracy, directional_excess, class_accuracy, brier, calibration: see `training.metrics`.
        rank_ic, icir: None where no session has enough symbols.
        ic_daily: session, ic, n, cumulative.
        ic_monthly: month, ic, low, high, sessions.
        reliability: see `metrics.reliability`.
        confusion: (came, called) counts of Sell, Hold, Buy.
        importance: feature, mean, low, high (over folds), folds; largest first.
        book, gross, net: the naive long/short that is judged.
        quick: the same book held for one session, where the judged one is held longer.
        gate: what the gate recorded.
        folds: one row a fold: what it was trained on, and how it did.
        oracle: None on real data.
        metadata: as given.
    """

    config: ReportConfig
    first: date
    last: date
    months: list[str]
    predictions: int
    scored: int
    sessions: int
    symbols: int
    directional_accuracy: Score
    directional_excess: Score
    class_accuracy: Score
    brier: Score
    calibration: Score
    rank_ic: Score | None
    icir: Score | None
    ic_daily: pl.DataFrame
    ic_monthly: pl.DataFrame
    reliability: pl.DataFrame
    confusion: np.ndarray
    importance: pl.DataFrame
    book: LongShort
    gross: Performance
    net: Performance
    quick: "QuickBook | None"
    gate: GateResults
    folds: pl.DataFrame
    oracle: Oracle | None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The judgement of these figures."""
        return judge(self)


def evaluate(inputs: ReportInputs, config: ReportConfig) -> Evaluation:
    """Measure everything a report shows.

    Raises:
        ReportError: if inputs are empty, lack columns or keys, or no prediction has an outcome.
    """
    check(inputs)
    rows = scored_rows(inputs)
    boot = config.bootstrap
    daily = metrics.rank_ic_by_session(rows, min_symbols=config.min_symbols)
    ranked = not daily.is_empty()
    book, gross, net = _book(inputs, config.book, config)
    quick = _book(inputs, replace(config.book, holding=1), config) if config.book.holding > 1 else None
    direction = metrics.directional_accuracy(rows, boot)
    excess = metrics.directional_excess(rows, boot)
    ic = metrics.rank_ic(daily, boot) if ranked else None
    monthly = _monthly(daily, config)
    gate = gate_results(inputs.audits)
    return Evaluation(
        config=config,
        first=rows["session"][0],
        last=rows["session"][-1],
        months=rows.select(month_expr())["month"].unique().sort().to_list(),
        predictions=inputs.predictions.height,
        scored=rows.height,
        sessions=rows["session"].n_unique(),
        symbols=rows["symbol"].n_unique(),
        directional_accuracy=direction,
        directional_excess=excess,
        class_accuracy=metrics.class_accuracy(rows, boot),
        brier=metrics.brier(rows, boot),
        calibration=metrics.expected_calibration_error(rows, boot),
        rank_ic=ic,
        icir=metrics.icir(daily, boot) if ranked else None,
        ic_daily=daily.with_columns(cumulative=pl.col("ic").cum_sum()),
        ic_monthly=monthly,
        reliability=metrics.reliability(rows),
        confusion=_confusion(rows),
        importance=_importance(inputs.importances),
        book=book,
        gross=gross,
        net=net,
        quick=QuickBook(*quick) if quick else None,
        gate=gate,
        folds=_folds(inputs, rows, monthly, gate),
        oracle=score_oracle(inputs.oracle, rows, daily, direction, ic, config),
        metadata=dict(inputs.metadata),
    )


def _book(
    inputs: ReportInputs, portfolio: LongShortConfig, config: ReportConfig
) -> tuple[LongShort, Performance, Performance]:
    book = long_short(inputs.predictions, inputs.bars, portfolio)
    gross, net = (
        performance(
            book.equity,
            config.book_bootstrap,
            column=column,
            trials=config.trials,
            trial_variance=config.trial_variance,
        )
        for column in ("gross_return", "net_return")
    )
    return book, gross, net


def _monthly(daily: pl.DataFrame, config: ReportConfig) -> pl.DataFrame:
    scores = [
        (month, metrics.rank_ic(own, config.bootstrap))
        for (month,), own in daily.with_columns(month_expr()).group_by("month", maintain_order=True)
    ]
    return pl.DataFrame(
        [(month, s.value, s.low, s.high, s.sessions) for month, s in scores],
        schema={
            "month": pl.String,
            "ic": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "sessions": pl.Int64,
        },
        orient="row",
    )


def _confusion(rows: pl.DataFrame) -> np.ndarray:
    called = rows.select(metrics.PROBABILITIES).to_numpy().argmax(axis=1)
    came = rows["target"].cast(pl.Int64).to_numpy()
    size = len(metrics.PROBABILITIES)
    return np.bincount(came * size + called, minlength=size * size).reshape(size, size)


def _importance(importances: pl.DataFrame | None) -> pl.DataFrame:
    if importances is None or importances.is_empty():
        schema = {
            "feature": pl.String,
            "mean": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "folds": pl.Int64,
        }
        return pl.DataFrame(schema=schema)
    return (
        importances.group_by("feature")
        .agg(
            pl.col("importance").mean().alias("mean"),
            pl.col("importance").min().alias("low"),
            pl.col("importance").max().alias("high"),
            pl.len().cast(pl.Int64).alias("folds"),
        )
        .sort("mean", "feature", descending=[True, False])
    )


def _folds(
    inputs: ReportInputs, rows: pl.DataFrame, monthly: pl.DataFrame, gate: GateResults
) -> pl.DataFrame:
    up = pl.col("forward_return") > 0
    decided = (pl.col("score") != 0) & (pl.col("forward_return") != 0)
    scored = rows.group_by("fold").agg(
        pl.len().cast(pl.Int64).alias("scored"),
        pl.col("session").n_unique().cast(pl.Int64).alias("test_sessions"),
        ((pl.col("score") > 0) == up).filter(decided).mean().alias("accuracy"),
        up.filter(pl.col("forward_return") != 0).mean().alias("up"),
    )
    trained = inputs.folds if inputs.folds is not None else pl.DataFrame(schema={"fold": pl.String})
    months = pl.concat([trained["fold"], scored["fold"]]).unique().sort()
    refused = {month for _, month in gate.standing}
    table = (
        pl.DataFrame({"fold": months})
        .join(trained, on="fold", how="left", maintain_order="left")
        .join(scored, on="fold", how="left", maintain_order="left")
        .join(
            monthly.rename({"month": "fold"}).drop("sessions"), on="fold", how="left", maintain_order="left"
        )
        .with_columns(
            majority=pl.max_horizontal("up", 1 - pl.col("up")),
            refused=pl.col("fold").is_in(list(refused)),
        )
        .drop("up")
    )
    known = inputs.predictions.group_by("fold").agg(
        pl.col(c).first() for c in ("snapshot", "model_run") if c in inputs.predictions.columns
    )
    for column, dtype in REQUIRED_FOLD_COLUMNS.items():
        if column not in table.columns and column in known.columns:
            table = table.join(known.select("fold", column), on="fold", how="left", maintain_order="left")
        elif column not in table.columns:
            table = table.with_columns(pl.lit(None, dtype).alias(column))
    return table
