"""The gate on the project's own features: none of them may be refused."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.features import FEATURE_SETS, compute, warmup
from trademl_pipeline.leakage import audit_features
from trademl_pipeline_tests.leakage.panels import bars

START, END = date(2012, 1, 3), date(2015, 12, 31)
# Whole and gappy histories, days without volume, and a name that stops.
SYMBOLS = ["AAPL", "MSFT", "DIT", "CARV", "CZFC", "EAB", "PLPM"]


def read(path: Path) -> pl.DataFrame:
    columns = ["open", "high", "low", "close"]
    return (
        pl.scan_parquet(path)
        .filter(pl.col("date").is_between(START, END))
        .select("symbol", pl.col("date").alias("session"), *columns, pl.col("volume").cast(pl.Float64))
        .collect()
        .sort("symbol", "session")
    )


def test_these_are_all_the_features_there_are():
    assert sum(len(names) for names in FEATURE_SETS.values()) == 167


@pytest.mark.slow
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_no_feature_of_the_project_is_refused_on_random_walks(name):
    panel = bars(4, 700, gaps=False)
    report = audit_features(lambda b: compute(b, name), panel, warmup=warmup(name), cutoffs=3)
    report.assert_clean()
    assert report.suspicions == ()
    assert report.coverage["truncation"]["columns"] == len(FEATURE_SETS[name])


@pytest.mark.real_data
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_no_feature_of_the_project_is_refused_on_real_bars(name, real_data):
    panel = read(real_data / "us_equities_daily.parquet").filter(pl.col("symbol").is_in(SYMBOLS))
    reference = read(real_data / "etf_index_daily.parquet")
    assert panel["symbol"].n_unique() == len(SYMBOLS)

    def extract(frame: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
        return compute(frame, name, reference=reference)

    report = audit_features(
        extract, panel, sources={"reference": reference}, warmup=warmup(name), cutoffs=5, seed=1
    )
    report.assert_clean()
    assert report.suspicions == ()
    assert len(report.tested) == 5
