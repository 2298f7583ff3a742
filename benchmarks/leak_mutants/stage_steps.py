"""Mutants of the prediction step: what it does with the month that it decides, and by which way it reads."""

import subprocess
from dataclasses import dataclass

import polars as pl
from stepped import (
    FEATURES,
    KEY,
    LABELS,
    MONTH,
    MONTHS,
    LakeView,
    honest_score,
    lake,
    outcomes,
    outcomes_file,
    step_mutant,
)

GITHUB = "https://github.com/"
KAPOOR = "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048"
SCORE = pl.col("score")


def mixed(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(known.select(*KEY, "forward_return"), on=KEY, how="left", maintain_order="left")
    share = 12.5 * pl.col("forward_return").fill_null(0.0)
    return joined.with_columns(SCORE + share).drop("forward_return")


def with_labels_of_the_month(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    return mixed(honest_score(decisions, view), view.read(LABELS, months=(MONTH, MONTH)))


def with_labels_known_by_then(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    """The last outcome of the symbol that was known at the decision."""
    known = view.read(LABELS, months=(MONTHS[0], MONTH)).select("symbol", "knowledge_time", "forward_return")
    joined = (
        honest_score(decisions, view)
        .sort("decision_time")
        .join_asof(
            known.sort("knowledge_time").rename({"knowledge_time": "_known"}),
            left_on="decision_time",
            right_on="_known",
            by="symbol",
            check_sortedness=False,
        )
    )
    return joined.with_columns(SCORE + 12.5 * pl.col("forward_return").fill_null(0.0)).drop(
        "forward_return", "_known"
    )


def changed(*values: pl.Expr):
    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        return honest_score(decisions, view).sort(KEY).with_columns(*values)

    return predict


def chosen(keep: pl.Expr):
    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        return honest_score(decisions, view).filter(keep)

    return predict


def of_inputs(*values: pl.Expr):
    """A score of inputs that were changed within each symbol first."""

    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        prepared = decisions.sort(KEY).with_columns(v.over("symbol") for v in values)
        score = honest_score(prepared, view)["score"]
        return decisions.sort(KEY).with_columns(score=score)

    return predict


@dataclass
class Online:
    """A model that learns from the rows that it is asked about."""

    learns: bool
    rows: int = 0
    total: float = 0.0

    def __call__(self, decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        scored = honest_score(decisions, view)
        centre = self.total / self.rows if self.rows else 0.0
        if self.learns:
            self.rows += scored.height
            self.total += float(scored["score"].sum())
        return scored.with_columns(SCORE - centre)


def of_a_file(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    return mixed(honest_score(decisions, view), pl.read_parquet(outcomes_file()))


def by_a_process(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    told = subprocess.check_output(["cat", str(outcomes_file())])
    return mixed(honest_score(decisions, view), pl.read_parquet(told))


def lake_of_its_own(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    return mixed(honest_score(decisions, view), lake().read(LABELS))


def later_snapshot(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    return mixed(
        honest_score(decisions, view),
        view.read(LABELS, months=(MONTH, MONTH), snapshot=view.snapshot() + 1),
    )


def month_after(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    later = view.read(FEATURES, months=(MONTH, MONTHS[2])).group_by("symbol").agg(pl.col("momentum").mean())
    return honest_score(decisions, view).join(later, on="symbol", suffix="_later").drop("momentum_later")


LEFT: list[pl.DataFrame] = []


def left_in_memory(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    """Outcomes that an earlier step of the same process has read."""
    if not LEFT:
        raise AssertionError("nothing was left")
    return mixed(honest_score(decisions, view), LEFT[0])


LEFT.append(outcomes())
LAST = pl.col("session") == pl.col("session").max()
FROM_THE_END, OF_ITS_SESSION = (
    chosen(SCORE.filter(LAST).mean() >= SCORE),
    chosen(SCORE.mean().over("session") >= SCORE),
)

MUTANTS = [
    step_mutant(
        "prediction/mixed_outcomes",
        "scores with a share of the month's own outcomes, by a table that the step declares",
        f"{KAPOOR}: features that encode the answer",
        with_labels_of_the_month,
        with_labels_known_by_then,
        reads_labels=True,
    ),
    step_mutant(
        "prediction/month_mean",
        "scores centred by the mean of their month",
        f"{GITHUB}jinglescode/time-series-forecasting-pytorch/issues/19: normalized by the whole of the data",
        changed(SCORE - SCORE.mean()),
        changed(SCORE - SCORE.mean().over("session")),
    ),
    step_mutant(
        "prediction/chosen_at_the_end",
        "only decisions that look good from the end of the month are published",
        f"{KAPOOR}: sampling bias in the test distribution",
        FROM_THE_END,
        OF_ITS_SESSION,
        members=(FROM_THE_END, OF_ITS_SESSION),
    ),
    step_mutant(
        "prediction/smoothed_both_ways",
        "scores smoothed over the days before and after",
        f"{GITHUB}cerlymarco/tsmoothie/issues/2 and {GITHUB}hmmlearn/hmmlearn/issues/355",
        changed(SCORE.rolling_mean(3, center=True, min_samples=1).over("symbol")),
        changed(SCORE.rolling_mean(3, min_samples=1).over("symbol")),
    ),
    step_mutant(
        "prediction/inputs_of_the_next_session",
        "each decision made on the features of the session after it",
        f"{GITHUB}nakulnayyar/ML-KNearest-VXX/issues/1: inputs and returns a day out of step",
        of_inputs(pl.coalesce(pl.col("momentum").shift(-1), "momentum").alias("momentum")),
        of_inputs(pl.coalesce(pl.col("momentum").shift(1), "momentum").alias("momentum")),
    ),
    step_mutant(
        "prediction/imputed_backwards",
        "missing inputs filled with the next one of the month",
        f"{GITHUB}AI4Finance-Foundation/FinRL/issues/189",
        of_inputs(pl.col("value").backward_fill()),
        of_inputs(pl.col("value").forward_fill()),
    ),
    step_mutant(
        "prediction/learns_while_it_predicts",
        "a model that goes on learning from the rows that it is asked about",
        f"{GITHUB}zorzi-s/PolyWorldPretrainedNetwork/issues/3: statistics kept up while predicting",
        Online(learns=True),
        Online(learns=False),
    ),
    step_mutant(
        "prediction/one_member_only",
        "one member of the ensemble centred by its month, the ensemble not yet",
        f"{KAPOOR}: pre-processing on training and test set",
        honest_score,
        members=(changed(SCORE - SCORE.mean()), honest_score),
    ),
    step_mutant(
        "prediction/file_of_outcomes",
        "outcomes read from a file beside the data set",
        f"{GITHUB}SJTU-DMTai/MASTER/issues/25: a published pickle",
        of_a_file,
        kills="error",
    ),
    step_mutant(
        "prediction/process_of_its_own",
        "outcomes read by another program",
        f"{GITHUB}SJTU-DMTai/MASTER/issues/25: a published pickle",
        by_a_process,
        kills="error",
    ),
    step_mutant(
        "prediction/lake_of_its_own",
        "outcomes read past the view, by a handle on the store",
        f"{KAPOOR}: features that encode the answer",
        lake_of_its_own,
        kills="error",
    ),
    step_mutant(
        "prediction/undeclared_table",
        "outcomes read from a table that the step does not declare",
        f"{KAPOOR}: features that encode the answer",
        with_labels_of_the_month,
        kills="error",
    ),
    step_mutant(
        "prediction/later_snapshot",
        "tables as they were restated later",
        f"{GITHUB}pmorissette/bt/pull/544: restated values used as supplied",
        later_snapshot,
        reads_labels=True,
        kills="error",
    ),
    step_mutant(
        "prediction/month_after",
        "features of the month after the one that is predicted",
        f"{GITHUB}VivekPa/AIAlpha/issues/8: a loop that takes the next candles",
        month_after,
        kills="error",
    ),
    step_mutant(
        "prediction/left_in_memory",
        "outcomes that an earlier step left in the memory of the process",
        f"{GITHUB}freqtrade/freqtrade freqtrade/optimize/analysis/lookahead.py: removes old models first, "
        '"to be sure nothing is carried over from older backtests"',
        left_in_memory,
        survives="what is in the memory of the process is the same in each run: only `verify --cold` sees it",
    ),
]
