from datetime import date

import polars as pl
import pytest

from trademl_pipeline.folds import WalkForward
from trademl_pipeline.market.calendar import month_sessions, sessions
from trademl_pipeline.training.dataset import decisions, last_matured_session, training_rows

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


def test_a_stride_trains_on_every_session_by_turns():
    plan = WalkForward(min_train=60, embargo=5)
    fold = plan.fold("2015-06-01", SESSIONS[0])
    everyone = panel(tuple(f"S{i:02d}" for i in range(40)))
    ends = everyone.select("symbol", "session").join(
        labels().filter(pl.col("symbol") == "A").drop("symbol"), on="session"
    )
    every = training_rows(everyone, ends, plan, fold)[0]
    some = training_rows(everyone, ends, plan, fold, stride=5)[0]
    assert some.height == pytest.approx(every.height / 5, rel=0.05)
    assert set(some["session"]) == set(every["session"])
    assert some.join(every, on=["symbol", "session"], how="anti").is_empty()


def test_training_rows_end_before_the_embargo_and_know_their_labels_time():
    plan = WalkForward(min_train=60, embargo=5)
    fold = plan.fold("2015-06-01", SESSIONS[0])
    train, test = training_rows(panel(), labels(), plan, fold)
    assert train["label_end"].max() <= fold.train_end
    assert (train["knowledge_time"].dt.date() == train["label_end"]).all()
    assert set(test["session"]) == set(month_sessions("2015-06-01"))
    assert test["label_end"].null_count() == test.height


def test_decisions_are_every_symbol_at_every_session():
    found = decisions(pl.Series(["B", "A", "A"]), "2015-06-01", "XNYS")
    assert found.height == 2 * len(month_sessions("2015-06-01"))
    assert found["symbol"].unique().sort().to_list() == ["A", "B"]


def test_races_that_were_decided_early_do_not_train_before_the_slow_ones():
    plan = WalkForward(min_train=60, embargo=5)
    fold = plan.fold("2015-06-01", SESSIONS[0])
    quick = labels(horizon=1)
    rows = training_rows(panel(), quick, plan, fold, horizon=20)[0]
    assert (rows["label_end"] > rows["session"]).all()
    assert rows["session"].max() == last_matured_session(fold.train_end, 20, plan.calendar)
    assert rows["label_end"].max() == fold.train_end


def test_around_the_clock_weekends_are_decided_on_and_purged_like_other_days():
    days = sessions(date(2015, 1, 2), date(2015, 6, 30), "24/7")
    rows = pl.DataFrame({"symbol": "A", "session": days}, schema={"symbol": pl.String, "session": pl.Date})
    clock = pl.col("session").cast(pl.Datetime("us", "UTC")).alias("knowledge_time")
    windows = rows.with_columns(pl.lit(3, pl.Int32).alias("n_valid"), clock)
    decided_at_once = rows.with_columns(
        (pl.col("session") + pl.duration(days=1)).alias("label_end"),
        pl.lit(1, pl.Int8).alias("target"),
        clock,
    )
    plan = WalkForward(calendar="24/7", min_train=60, embargo=5)
    train, test = training_rows(windows, decided_at_once, plan, plan.fold("2015-06-01", days[0]), horizon=20)
    assert set(test["session"]) == set(month_sessions("2015-06-01", "24/7"))
    # 2015-05-26 is five days before the fold's first decision; a label of twenty days ends no later.
    assert train["session"].max() == date(2015, 5, 6)
    assert train["label_end"].max() == date(2015, 5, 26)
    assert {6, 7} <= set(train["session"].dt.weekday())
