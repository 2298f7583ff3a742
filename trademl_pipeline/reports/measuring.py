"""Measure everything a report shows, once, and have it judged."""

from dataclasses import replace

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.reports.classes import class_scores
from trademl_pipeline.reports.drift import drift
from trademl_pipeline.reports.evaluation import Evaluation, Measurements
from trademl_pipeline.reports.fold_table import certificates, fold_table, training_cost
from trademl_pipeline.reports.gate_results import gate_results
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs, check, matured_rows, scored_rows
from trademl_pipeline.reports.judging import judge
from trademl_pipeline.reports.oracle import score_oracle
from trademl_pipeline.reports.periods import consistency
from trademl_pipeline.reports.portfolios import (
    benchmark_of,
    evaluated_portfolio,
    excess_over_benchmark,
    with_portfolios,
)
from trademl_pipeline.reports.tasks.examples import examples
from trademl_pipeline.reports.tasks.pages import assess
from trademl_pipeline.tasks.measures import has_calls


def evaluate(inputs: ReportInputs, config: ReportConfig) -> Evaluation:
    """Measure everything a report shows.

    Raises:
        ReportError: if inputs are empty, lack columns or keys, or no prediction has an outcome.
    """
    kind = config.kind
    config = replace(config, horizon=kind.horizon or config.horizon)
    check(inputs, config.declared_task)
    rows = scored_rows(inputs, kind)
    known, immature = rows.height, False
    if kind.first_passage:
        matured = matured_rows(rows, inputs.bars, config.horizon)
        rows, immature = (rows, True) if matured.is_empty() else (matured, False)
    boot = config.bootstrap
    daily = metrics.rank_ic_by_session(rows, min_symbols=config.min_symbols)
    ranked = not daily.is_empty()
    called = kind.directional and has_calls(rows)
    direction = metrics.directional_accuracy(rows, boot) if called else None
    ic = metrics.rank_ic(daily, boot) if ranked else None
    portfolio, benchmark = evaluated_portfolio(inputs, config), benchmark_of(inputs, config)
    gate = with_portfolios(gate_results(inputs.audits), [portfolio, benchmark])
    classes = (class_scores(rows, view, boot) for view in kind.views)
    measured = Measurements(
        config=config,
        first=rows["session"][0],
        last=rows["session"][-1],
        months=rows.select(month_expr())["month"].unique().sort().to_list(),
        predictions=inputs.predictions.height,
        scored=rows.height,
        dropped=known - rows.height,
        immature=immature,
        sessions=rows["session"].n_unique(),
        symbols=rows["symbol"].n_unique(),
        directional_accuracy=direction,
        directional_excess=metrics.directional_excess(rows, boot) if called else None,
        rank_ic=ic,
        icir=metrics.icir(daily, boot) if ranked else None,
        ic_daily=daily.with_columns(cumulative=pl.col("ic").cum_sum()),
        ic_monthly=_monthly(daily, config),
        classes=tuple(c for c in classes if c is not None),
        importance=_importance(inputs.importances),
        portfolio=portfolio,
        benchmark_portfolio=benchmark,
        excess=excess_over_benchmark(portfolio, benchmark, config),
        gate=gate,
        certificates=certificates(inputs.predictions),
        cost=training_cost(inputs),
        folds=fold_table(inputs, rows, daily, gate, config),
        oracle=score_oracle(inputs.oracle, rows, daily, direction, ic, config),
        task=assess(rows, inputs, config),
        consistency=consistency(rows, config),
        drift=drift(inputs.predictions),
        examples=examples(rows, inputs, config),
        metadata=dict(inputs.metadata),
    )
    return Evaluation(**vars(measured), verdict=judge(measured))


def _monthly(daily: pl.DataFrame, config: ReportConfig) -> pl.DataFrame:
    scores = [
        (month, metrics.rank_ic(month_ics, config.bootstrap))
        for (month,), month_ics in daily.with_columns(month_expr()).group_by("month", maintain_order=True)
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


def _importance(importances: pl.DataFrame | None) -> pl.DataFrame:
    if importances is None or importances.is_empty():
        figures = dict.fromkeys(("mean", "low", "high"), pl.Float64)
        return pl.DataFrame(schema={"feature": pl.String, **figures, "folds": pl.Int64})
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
