"""The figures beside a month of features: missing values, distributions and drift."""

import base64
import xml.etree.ElementTree as xml
from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.market.calendar import month_key, month_sessions, offset_month
from trademl_pipeline.pipeline.feature_figures import BACK, SHIFTED_COLOUR, FeatureFigures
from trademl_pipeline.tables import feature_table

MONTH = "2014-06-01"
NAMES = FEATURE_SETS["indicators"]
SCHEMA = feature_table("indicators", NAMES)


def month_of(month: str, seed: int = 0) -> pl.DataFrame:
    """Twenty names with values of the same distribution in every month."""
    rng = np.random.default_rng([seed, int(month[:4]), int(month[5:7])])
    keys = pl.DataFrame({"symbol": [f"S{i:02d}" for i in range(20)]}).join(
        pl.DataFrame({"session": month_sessions(month)}), how="cross"
    )
    return keys.with_columns(pl.Series(name, rng.normal(size=keys.height)) for name in NAMES)


class Months:
    """A store that holds every month, and counts what is read."""

    def __init__(self, first: date = date(2000, 1, 1)) -> None:
        self.first, self.read_months = month_key(first), []

    def read(self, schema, months, columns):
        self.read_months += months
        held = [month_of(m).select(columns) for m in months if m >= self.first]
        return pl.concat(held) if held else schema.empty().select(columns)


def figures(frame: pl.DataFrame, store: Months | None = None, month: str = MONTH) -> dict:
    return FeatureFigures(SCHEMA, NAMES)(store or Months(), {}, frame, month)  # pyright: ignore[reportArgumentType]


def picture(metadata: dict) -> xml.Element:
    text = metadata["distributions"].text
    assert text.startswith("![distributions](data:image/svg+xml;base64,")
    return xml.fromstring(base64.b64decode(text.split("base64,")[1][:-1]))


def test_a_month_like_those_before_has_no_shifted_column() -> None:
    made = figures(month_of(MONTH))
    assert made["columns_shifted"] == 0
    assert made["null_share"] == 0.0
    texts = [e.text for e in picture(made).iter() if e.tag.endswith("text")]
    assert set(texts[1:]) == set(NAMES)


def test_a_shifted_column_leads_the_table_and_is_marked() -> None:
    made = figures(month_of(MONTH).with_columns(pl.col("rsi_14") + 2.0))
    assert made["columns_shifted"] == 1
    rows = made["worst_drift"].text.splitlines()
    assert rows[4].startswith("| `rsi_14` |")
    assert "| +2." in rows[4]
    drawn = xml.tostring(picture(made), encoding="unicode")
    assert SHIFTED_COLOUR in drawn
    assert SHIFTED_COLOUR not in xml.tostring(picture(figures(month_of(MONTH))), encoding="unicode")


def test_columns_of_the_calendar_and_of_references_alone_are_not_judged() -> None:
    moved = ["month_sin", "day_of_week_cos", "index_momentum_20"]
    assert set(moved) <= set(NAMES)
    made = figures(month_of(MONTH).with_columns(pl.col(moved) + 5.0))
    assert made["columns_shifted"] == 0
    assert not any(name in made["worst_drift"].text for name in moved)


def test_missing_values_are_told_column_by_column() -> None:
    none = pl.lit(None, dtype=pl.Float64)
    frame = month_of(MONTH).with_columns(
        none.alias("gap"), pl.when(pl.col("symbol") < "S10").then("rsi_7").alias("rsi_7")
    )
    made = figures(frame)
    assert made["columns_without_values"] == 1
    assert made["null_share"] == pytest.approx(1.5 / len(NAMES))
    lines = {line.split("`")[1]: line for line in made["columns"].text.splitlines()[2:]}
    assert lines["gap"].startswith("| `gap` | 100.0% |  |")
    assert lines["rsi_7"].startswith("| `rsi_7` | 50.0% |")
    assert "`gap`" not in made["worst_drift"].text


def test_the_first_month_of_a_history_has_no_drift() -> None:
    made = figures(month_of(MONTH), Months(first=date(2014, 6, 1)))
    assert "worst_drift" not in made
    assert "columns" in made


def test_a_range_reads_no_month_that_it_has_just_made() -> None:
    store, show = Months(), FeatureFigures(SCHEMA, NAMES)
    months = [offset_month(MONTH, n) for n in range(14)]
    for month in months:
        show(store, {}, month_of(month), month)  # pyright: ignore[reportArgumentType]
    assert not set(store.read_months) & set(months)
    assert len(store.read_months) == len(set(store.read_months))
    alone = figures(month_of(months[-1]), month=months[-1])
    again = show(store, {}, month_of(months[-1]), months[-1])  # pyright: ignore[reportArgumentType]
    assert again["worst_drift"].text == alone["worst_drift"].text
    assert max(BACK) < 12
