"""One row a fold: what it was trained on, how it did, and which certificate its predictions carry."""

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.reports.gate_results import GateResults
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs

_COLUMNS = {
    "train_start": pl.Date,
    "train_end": pl.Date,
    "rows": pl.Int64,
    "snapshot": pl.Int64,
    "model_run": pl.String,
}


def fold_table(
    inputs: ReportInputs, rows: pl.DataFrame, daily: pl.DataFrame, gate: GateResults, config: ReportConfig
) -> pl.DataFrame:
    """The folds, in order of months.

    Args:
        inputs: folds as trained, or the predictions' own snapshot and run where none are given.
        rows: scored predictions.
        daily: session, ic, n.
        gate: which months were refused.
        config: how to draw the intervals.

    Returns:
        fold, what was trained on, scored (rows), test_sessions, accuracy and majority (of direction, or of
        the class where the score calls no direction), ic, low, high, refused.
    """
    scored = rows.group_by("fold").agg(
        pl.len().cast(pl.Int64).alias("scored"),
        pl.col("session").n_unique().cast(pl.Int64).alias("test_sessions"),
        *_accuracy(config),
    )
    of_session = rows.select("session", "fold").unique("session")
    ranked = [
        (fold, score.value, score.low, score.high)
        for (fold,), fold_daily in daily.join(of_session, on="session")
        .sort("session")
        .group_by("fold", maintain_order=True)
        for score in [metrics.rank_ic(fold_daily, config.bootstrap)]
    ]
    figures = dict.fromkeys(("ic", "low", "high"), pl.Float64)
    ic = pl.DataFrame(ranked, schema={"fold": pl.String, **figures}, orient="row")
    trained = inputs.folds if inputs.folds is not None else pl.DataFrame(schema={"fold": pl.String})
    months = pl.concat([trained["fold"], scored["fold"]]).unique().sort()
    refused = {month for _, month in gate.latest_refusals}
    table = (
        pl.DataFrame({"fold": months})
        .join(trained, on="fold", how="left", maintain_order="left")
        .join(scored, on="fold", how="left", maintain_order="left")
        .join(ic, on="fold", how="left", maintain_order="left")
        .with_columns(refused=pl.col("fold").is_in(list(refused)))
    )
    known = inputs.predictions.group_by("fold").agg(
        pl.col(c).first() for c in ("snapshot", "model_run") if c in inputs.predictions.columns
    )
    for column, dtype in _COLUMNS.items():
        if column not in table.columns and column in known.columns:
            table = table.join(known.select("fold", column), on="fold", how="left", maintain_order="left")
        elif column not in table.columns:
            table = table.with_columns(pl.lit(None, dtype).alias(column))
    return table


def _accuracy(config: ReportConfig) -> list[pl.Expr]:
    if config.kind.directional:
        up = pl.col("forward_return") > 0
        decided = (pl.col("score") != 0) & (pl.col("forward_return") != 0)
        share = up.filter(pl.col("forward_return") != 0).mean()
        return [
            ((pl.col("score") > 0) == up).filter(decided).mean().alias("accuracy"),
            pl.max_horizontal(share, 1 - share).alias("majority"),
        ]
    columns, target = config.kind.views[0].columns, pl.col(config.kind.views[0].target)
    called = pl.concat_list(columns).list.arg_max().cast(pl.Int64)
    shares = target.cast(pl.Int64).value_counts(normalize=True).struct.field("proportion").max()
    return [(called == target).mean().alias("accuracy"), shares.alias("majority")]


def certificates(predictions: pl.DataFrame) -> pl.DataFrame:
    """Which certificate the predictions of each fold carry.

    Args:
        predictions: fold and, where known, certificate (digest; null or "" for none).

    Returns:
        fold, certificate (null where predictions carry none), predictions (number), in order of folds; without
        rows where the predictions have no such column.
    """
    schema = {"fold": pl.String, "certificate": pl.String, "predictions": pl.Int64}
    if "certificate" not in predictions.columns:
        return pl.DataFrame(schema=schema)
    digest = pl.col("certificate").replace("", None)
    return (
        predictions.with_columns(digest)
        .group_by("fold", "certificate")
        .agg(pl.len().cast(pl.Int64).alias("predictions"))
        .sort("fold", "certificate", nulls_last=True)
    )


def training_cost(inputs: ReportInputs) -> dict[str, float | None]:
    """Return the cost of training: by estimator where that is known, else by fold.

    Returns:
        train_seconds (over all folds and estimators) and parameters (of the largest fold, all estimators together);
        None where it is not known.
    """
    frame = inputs.training if inputs.training is not None else inputs.folds
    cost: dict[str, float | None] = {"train_seconds": None, "parameters": None}
    if frame is None or frame.is_empty():
        return cost
    by_fold = frame.group_by("fold").agg(pl.col(c).sum() for c in cost if c in frame.columns)
    for column, how in (("train_seconds", pl.Series.sum), ("parameters", pl.Series.max)):
        if column in by_fold.columns and frame[column].count():
            cost[column] = float(how(by_fold[column]))  # pyright: ignore[reportArgumentType]
    return cost
