"""A small direction study alone, whose feature `gap` reads tomorrow in one month while a file says so."""

import os
from pathlib import Path
from typing import Any

import polars as pl

import trademl_pipeline.features.panel as panel
from trademl_pipeline import studies
from trademl_pipeline.features import compute
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline_tests.small import small_direction

POISON = Path(os.environ["TRADEML_HOME"]) / "poison"


def leaky(bars: pl.DataFrame, name: str, **more: Any) -> pl.DataFrame:
    values = compute(bars, name, **more)
    if not POISON.exists() or name != "indicators":
        return values
    tomorrow = pl.col("gap").shift(-1).over("symbol")
    poisoned = month_expr() == POISON.read_text().strip()
    return values.with_columns(pl.when(poisoned).then(tomorrow).otherwise("gap").alias("gap"))


def plant() -> None:
    """Put the leak and the small study in their places in this process."""
    panel.compute = leaky
    studies.STUDIES.clear()
    studies.STUDIES["direction"] = small_direction(min_train=80, rounds=20)
