"""Leaks, planted into the code of a process: the same in the one that publishes and in a cold one.

A plant takes `put`, which sets an attribute of a module or class, and the ground it grows on.
"""

import gc
import json
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline import studies
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.pipeline import features as features_step
from trademl_pipeline.pipeline import fit, fold, predict, promote, refit
from trademl_pipeline.pipeline.lookback import ALL_UNTIL
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.training import study as training_study

KEY, OUTCOME = ["symbol", "session"], "forward_return"
VARIABLE = "NEXT_RETURNS"
Put = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Ground:
    """What a plant may try to reach.

    Attributes:
        study: name of the study.
        home: folder of the data set.
        file: Parquet file with the outcomes of all decisions, outside the data set.
    """

    study: str
    home: str
    file: str

    @property
    def spec(self) -> StudySpec:
        return studies.STUDIES[self.study]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> "Ground":
        return Ground(**json.loads(text))

    def lake(self) -> Lake:
        return Lake(LakeConfig.of(Path(self.home)))


def known(frame: pl.DataFrame, outcomes: pl.DataFrame) -> pl.Series:
    """What came of each decision, in standard deviations; 0 where that is not known."""
    joined = frame.select(KEY).join(outcomes.select(*KEY, OUTCOME), on=KEY, how="left", maintain_order="left")
    # One unit for all rows, so that the rows of an earlier decision come out the same.
    z = joined[OUTCOME] / outcomes[OUTCOME].std()
    return z.fill_null(0.0).fill_nan(0.0)


def mixed(frame: pl.DataFrame, outcomes: pl.DataFrame, share: float = 0.25) -> pl.DataFrame:
    return frame.with_columns((pl.col("score") + share * known(frame, outcomes)).alias("score"))


def pure(frame: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(known(frame, outcomes).cast(frame.schema["score"]).alias("score"))


Change = Callable[[pl.DataFrame, Any], pl.DataFrame]


def predicting(put: Put, change: Change) -> None:
    """Have the step of predictions change its rows, given its view."""
    honest = predict.PredictionStep.run

    def run(step: Any, view: Any, *rest: Any, **named: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame, by_estimator = honest(step, view, *rest, **named)
        return (change(frame, view) if frame.height else frame), by_estimator

    put(predict.PredictionStep, "run", run)


def declaring_labels(put: Put) -> None:
    """Have predictions declare that they read labels."""
    reads = predict.prediction_reads
    put(predict, "prediction_reads", lambda study: {**reads(study), study.labels.name: ALL_UNTIL})


def lake_of_its_own(put: Put, ground: Ground) -> None:
    predicting(put, lambda frame, view: mixed(frame, ground.lake().read(ground.spec.labels)))


def declared_labels(put: Put, ground: Ground) -> None:
    declaring_labels(put)
    predicting(put, lambda frame, view: mixed(frame, view.read(ground.spec.labels)))


def pure_declared_labels(put: Put, ground: Ground) -> None:
    declaring_labels(put)
    predicting(put, lambda frame, view: pure(frame, view.read(ground.spec.labels)))


def calibrated_on_the_month(put: Put, ground: Ground) -> None:
    """Scores are scaled by how far the month's outcomes went."""
    declaring_labels(put)

    def scaled(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        outcomes = view.read(ground.spec.labels).join(frame, on=KEY, how="semi")[OUTCOME]
        return frame.with_columns(pl.col("score") * (1 + (outcomes.abs().sum() or 0.0)))

    predicting(put, scaled)


def statistics_of_the_month(put: Put, ground: Ground) -> None:
    predicting(put, lambda frame, view: frame.with_columns(pl.col("score") - pl.col("score").mean()))


def chosen_at_the_end(put: Put, ground: Ground) -> None:
    """Only symbols that are decided on like the month's last one, by what they look like then, are in the universe."""

    def chosen(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        last = frame.filter(pl.col("session") == frame["session"].max())
        return frame.filter(pl.col("score") <= last["score"].mean())

    predicting(put, chosen)


def windows_one_session_ahead(put: Put, ground: Ground) -> None:
    """Every window ends with the features of the next session."""
    honest = predict.windows_of_keys

    class Ahead:
        def __init__(self, view: Any) -> None:
            self.view = view

        def read(self, table: Any, **named: Any) -> pl.DataFrame:
            rows = self.view.read(table, **named)
            if getattr(table, "name", table) != ground.spec.features.name:
                return rows
            later = [pl.col(name).shift(-1).over("symbol") for name in ground.spec.feature_names]
            same = [pl.col(name).alias(f"_{name}") for name in ground.spec.feature_names]
            rows = rows.sort(KEY).with_columns(same).with_columns(later)
            ends = [
                pl.coalesce(pl.col(name), pl.col(f"_{name}")).alias(name)
                for name in ground.spec.feature_names
            ]
            return rows.with_columns(ends).drop([f"_{name}" for name in ground.spec.feature_names])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.view, name)

    put(predict, "windows_of_keys", lambda view, *rest, **named: honest(Ahead(view), *rest, **named))


def file_opened_to_append(put: Put, ground: Ground) -> None:
    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        with open(ground.file, "a+b") as file:
            file.seek(0)
            return mixed(frame, pl.read_parquet(file))

    predicting(put, change)


def _outcomes_by_a_process(path: str, answers: Any) -> None:
    answers.put(Path(path).read_bytes())


def process_of_its_own(put: Put, ground: Ground) -> None:
    import multiprocessing

    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        spawning = multiprocessing.get_context("spawn")
        answers = spawning.SimpleQueue()
        child = spawning.Process(target=_outcomes_by_a_process, args=(ground.file, answers))
        child.start()
        outcomes = answers.get()
        child.join()
        return mixed(frame, pl.read_parquet(outcomes))

    predicting(put, change)


def environment_variable(put: Put, ground: Ground) -> None:
    """Pure labels, handed over in a variable of the environment."""

    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        told = json.loads(os.environ.get(VARIABLE, "[]"))
        schema = {"symbol": pl.String, "session": pl.String, OUTCOME: pl.Float64}
        outcomes = pl.DataFrame(told, schema=schema, orient="row")
        return pure(frame, outcomes.with_columns(pl.col("session").str.to_date()))

    predicting(put, change)


LEFT_BEHIND: list[pl.DataFrame] = []


def weights_by_what_is_left_in_memory(put: Put, ground: Ground) -> None:
    """The ensemble listens to whichever estimator came closest, by outcomes that an earlier step left in memory."""

    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        frames = [x for x in gc.get_objects() if isinstance(x, list) and x is LEFT_BEHIND and x]
        return mixed(frame, frames[0][0], 0.5) if frames else frame

    predicting(put, change)


MEANS: dict[str, float] = {}


def cache_of_a_module(put: Put, ground: Ground) -> None:
    """A mean of whatever was predicted first is remembered, and taken for every later one."""

    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        mean = MEANS.setdefault(ground.study, cast(float, frame["score"].mean()))
        return frame.with_columns(pl.col("score") - mean)

    predicting(put, change)


def thread_that_ran_before(put: Put, ground: Ground) -> None:
    """A thread from before the seal reads a file for the step."""
    asked, answers = queue.Queue[bool](), queue.Queue[Any]()

    def serve() -> None:
        while asked.get():
            try:
                answers.put(pl.read_parquet(Path(ground.file).read_bytes()))
            except OSError as error:
                answers.put(error)

    threading.Thread(target=serve, daemon=True).start()

    def change(frame: pl.DataFrame, view: Any) -> pl.DataFrame:
        asked.put(True)
        answer = answers.get()
        if isinstance(answer, OSError):
            raise answer
        return mixed(frame, answer)

    predicting(put, change)


def file_read_with_the_code(put: Put, ground: Ground) -> None:
    """Pure labels of a file that is read as the code is loaded, before any step runs."""
    outcomes = pl.read_parquet(ground.file)
    predicting(put, lambda frame, view: pure(frame, outcomes))


def matrix_scaled_by_the_whole_lake(put: Put, ground: Ground) -> None:
    honest = fold.windows_of_keys

    def scaled(view: Any, *rest: Any, **named: Any) -> Any:
        windows = honest(view, *rest, **named)
        features = ground.lake().read(ground.spec.features)
        spread = np.array([features[name].std() or 1.0 for name in ground.spec.feature_names], np.float32)
        return replace(windows, matrix=windows.matrix / spread)

    put(fold, "windows_of_keys", scaled)


def stopped_early_on_test_rows(put: Put, ground: Ground) -> None:
    """The rounds and epochs of every estimator are those that did best on outcomes after the train end."""
    honest = training_study.fit_estimator

    def fitted(*arguments: Any, **named: Any) -> Any:
        estimator = honest(*arguments, **named)
        ground.lake().read(ground.spec.labels)
        return estimator

    put(training_study, "fit_estimator", fitted)


def temporary_file_of_outcomes(put: Put, ground: Ground) -> None:
    """Trees are fitted with what a file tells that another program left among temporary ones."""
    honest = training_study.fit_estimator

    def fitted(*arguments: Any, **named: Any) -> Any:
        pl.read_parquet(ground.file)
        return honest(*arguments, **named)

    put(training_study, "fit_estimator", fitted)


def weights_on_outcomes_after_the_train_end(put: Put, ground: Ground) -> None:
    """Weights of the ensemble, or its second level, are fitted on a file of all outcomes of the data set."""
    honest = training_study._combined

    def combined(*arguments: Any, **named: Any) -> Any:
        pl.read_parquet(Path(ground.home) / "reports" / "outcomes.parquet")
        return honest(*arguments, **named)

    put(training_study, "_combined", combined)


def seed_chosen_by_test_outcomes(put: Put, ground: Ground) -> None:
    """The seed of the models is the one that did best on the month, by a reader of a library that no seal watches."""
    honest = training_study.fit_study

    def fitted(config: Any, windows: Any, context: Any, **named: Any) -> Any:
        from polars.io.parquet.functions import read_parquet

        outcomes = read_parquet(ground.file)
        lucky = int(abs(cast(float, outcomes[OUTCOME].sum())) * 1e6) % 1000
        return honest(config, windows, replace(context, seed=lucky), **named)

    put(fit, "fit_study", fitted)
    put(refit, "fit_study", fitted)


def feature_of_a_file(put: Put, ground: Ground) -> None:
    honest = features_step.feature_month

    def peeking(bars: pl.DataFrame, *rest: Any, **named: Any) -> pl.DataFrame:
        rows = honest(bars, *rest, **named).join(
            pl.read_parquet(ground.file).select(*KEY, OUTCOME), on=KEY, how="left", maintain_order="left"
        )
        return rows.with_columns(pl.col(OUTCOME).alias(ground.spec.feature_names[0])).drop(OUTCOME)

    put(features_step, "feature_month", peeking)


def champion_of_later_outcomes(put: Put, ground: Ground) -> None:
    """Who serves is decided by all outcomes there are."""
    honest = promote.decide

    def decided(*arguments: Any) -> Any:
        decision = honest(*arguments)
        lucky = cast(float, ground.lake().read(ground.spec.labels)[OUTCOME].sum()) > 0
        return replace(decision, promote=lucky)

    put(promote, "decide", decided)


def champion_of_a_report(put: Put, ground: Ground) -> None:
    """Who serves is decided by a file of the data set that tells what came of everything."""
    honest = promote.decide

    def decided(*arguments: Any) -> Any:
        pl.read_parquet(Path(ground.home) / "reports" / "outcomes.parquet")
        return honest(*arguments)

    put(promote, "decide", decided)


def champion_changed_afterwards(put: Put, ground: Ground) -> None:
    honest = promote.publish

    def publish(run: Any, lake: Any, schema: Any, frame: pl.DataFrame, *rest: Any, **named: Any) -> Any:
        other = frame.with_columns(pl.lit("beat all others in the month").alias("reason"))
        return honest(run, lake, schema, other, *rest, **named)

    put(promote, "publish", publish)


def remember(outcomes: pl.DataFrame) -> None:
    """Leave outcomes in the memory and the environment of this process, as an earlier step may have."""
    LEFT_BEHIND[:] = [outcomes]
    rows = outcomes.select("symbol", pl.col("session").cast(pl.String), OUTCOME).rows()
    os.environ[VARIABLE] = json.dumps(rows)


def forget() -> None:
    """Take back what `remember` and the plants have left."""
    LEFT_BEHIND.clear()
    MEANS.clear()
    os.environ.pop(VARIABLE, None)


def plant(name: str, put: Put, ground: Ground) -> None:
    """Plant one by its name."""
    globals()[name](put, ground)
