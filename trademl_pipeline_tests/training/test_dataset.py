from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.folds import WalkForward
from trademl_pipeline.market.calendar import month_sessions, sessions
from trademl_pipeline.training.dataset import DatasetError, decisions, flat_rows, training_rows

SESSIONS = sessions(date(2015, 1, 2), date(2015, 6, 30))


def panel(symbols=("A", "B")) -> pl.DataFrame:
    frame = pl.DataFrame({"symbol": list(symbols)}).join(pl.DataFrame({"session": SESSIONS}), how="cross")
    return frame.with_columns(
        pl.int_range(pl.len()).cast(pl.Float64).alias("f"),
        pl.col("session").rank("dense").over("symbol").clip(upper_bound=3).cast(pl.Int32).alias("n_valid"),
        pl.col("session").cast(pl.Datetime("us", "UTC")).alias("knowledge_time"),
    )


def labels(horizon: int = 5) -> pl.DataFrame:
    rows = panel().select("symbol", "session")
    ends = dict(zip(SESSIONS[:-horizon], SESSIONS[horizon:], strict=True))
    return rows.filter(pl.col("session").is_in(list(ends))).with_columns(
        pl.col("session").alias("label_start"),
        pl.col("session").replace_strict(ends).alias("label_end"),
        pl.lit(1, pl.Int8).alias("target"),
        pl.col("session").replace_strict(ends).cast(pl.Datetime("us", "UTC")).alias("knowledge_time"),
    )


def test_lags_stop_at_the_symbols_first_row():
    frame = panel()
    rows = flat_rows(frame.select("symbol", "session", "n_valid"), frame, ["f"], (0, 2))
    assert rows.names == ("f", "f@2")
    first_of_b = len(SESSIONS)
    assert np.isnan(rows.x[first_of_b, 1])
    assert np.isnan(rows.x[first_of_b + 1, 1])
    assert rows.x[first_of_b + 2, 1] == first_of_b


def test_a_decision_without_features_is_an_error_that_names_the_month():
    frame = panel()
    with pytest.raises(DatasetError, match="2015-06"):
        flat_rows(frame.select("symbol", "session", "n_valid"), frame.head(-1), ["f"], (0,))


def test_training_rows_end_before_the_embargo_and_know_their_labels_time():
    plan = WalkForward(min_train=60, embargo=5)
    fold = plan.fold("2015-06-01", SESSIONS[0])
    train, test = training_rows(panel(), labels(), plan, fold)
    assert train["label_end"].max() <= fold.train_end
    assert (train["knowledge_time"].dt.date() == train["label_end"]).all()
    assert set(test["session"]) == set(month_sessions("2015-06-01"))
    assert test["label_end"].null_count() == test.height


def test_decisions_are_every_symbol_at_every_session():
    found = decisions(pl.Series(["B", "A", "A"]), "2015-06-01")
    assert found.height == 2 * len(month_sessions("2015-06-01"))
    assert found["symbol"].unique().sort().to_list() == ["A", "B"]
