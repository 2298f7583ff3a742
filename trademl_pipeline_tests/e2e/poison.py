"""A small direction study alone, into which leaks are planted while files say so.

`poison`: the feature `gap` reads tomorrow in the month that the link points to (a step may not open a file). `peek`:
predictions have a quarter of a standard deviation of what came of them in them, read from the lake by a handle of their
own, or from a Parquet file where there is one.
"""

import os
from pathlib import Path
from typing import Any

import polars as pl

import trademl_pipeline.features.panel as panel
from trademl_pipeline import studies
from trademl_pipeline.features import compute
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.pipeline.predict import PredictionStep
from trademl_pipeline_tests.small import small_direction

HOME = Path(os.environ["TRADEML_HOME"])
POISON, PEEK = HOME / "poison", HOME / "peek"
LABELS = HOME / "alternative_data.parquet"
KEY = ["symbol", "session"]
honest = PredictionStep.run


def leaky(bars: pl.DataFrame, name: str, **more: Any) -> pl.DataFrame:
    values = compute(bars, name, **more)
    if not POISON.is_symlink() or name != "indicators":
        return values
    tomorrow = pl.col("gap").shift(-1).over("symbol")
    poisoned = month_expr() == os.readlink(POISON)
    return values.with_columns(pl.when(poisoned).then(tomorrow).otherwise("gap").alias("gap"))


def peeking(step: PredictionStep, *arguments: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame, by_estimator = honest(step, *arguments, **named)
    if not os.path.exists(PEEK):
        return frame, by_estimator
    if os.path.exists(LABELS):
        labels = pl.read_parquet(LABELS)
    else:
        labels = Lake(LakeConfig.local(HOME / "lake")).read(step.study.labels)
    returns = frame.join(labels, on=KEY, how="left", maintain_order="left")["forward_return"]
    return frame.with_columns(pl.col("score") + 0.25 * (returns / returns.std()).fill_null(0)), by_estimator


def plant() -> None:
    """Put the leaks and the small study in their places in this process."""
    panel.compute = leaky
    PredictionStep.run = peeking
    studies.STUDIES.clear()
    studies.STUDIES["direction"] = small_direction(min_train=80, rounds=20)
