"""Targets permuted within each session teach a study nothing: from bars to scores no other way leads to them.

Every study as it is declared (features, labels, windows, its voting estimators, selection, ensemble, calibration), at a
small preset, on one fold of a simulated market. The control is the same fold with the targets that came, on a market
with a strong signal. Breakouts cannot be foretold there: their control has the class written into a feature, which is
what a leak would be, and is read by the study's trees, since its network takes longer to learn anything than a test
may last.
"""

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.metrics import Bootstrap, Score, rank_ic, rank_ic_by_session
from trademl_pipeline.features import compute
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.labels.breakout import STRATEGIC_VALUES
from trademl_pipeline.pipeline.predict import predicted
from trademl_pipeline.sequences.windows import Windows, windows_for
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingContext, TrainingPreset
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.observation_windows import observation_windows
from trademl_pipeline.training.study import TrainingConfig, fit_study

pytestmark = pytest.mark.slow

FIRST, LAST = date(2011, 1, 3), date(2014, 12, 31)
TRAIN = (date(2012, 6, 1), date(2013, 12, 31))
TEST = (date(2014, 1, 10), date(2014, 6, 30))
FOLD = "2014-01-01"
# Observations of patterns are few: many symbols make enough of them on one day to permute and to rank.
SYMBOLS = {"sessions": 30, "pattern_observations": 300}
# Epochs of the networks and training rows; as little as the others need teaches the shared backbone nothing.
EFFORT = {"pattern_confidence": (8, 3_000)}
DEFAULT_PRESET = (2, 1_000)
# The feature that carries the class in the control of the breakouts, and the estimator that reads it.
CARRIER, READER = "rsi_14", "lightgbm"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def bars_of(decisions: str) -> pl.DataFrame:
    """A market with a signal several times the usual one, and frequent consolidations."""
    spec = MarketSpec(strength=0.6, start_probability=1 / 30)
    return SimulatedMarket(seed=5, n_symbols=SYMBOLS[decisions], spec=spec, end=LAST).fetch(None, FIRST, LAST)


def labels_of(study: StudySpec) -> pl.DataFrame:
    """All labels of the market, with the outcome that the study's score is to rank."""
    target = TARGETS[study.target]
    needed = [c for c in study.task.labels if c not in target.nullable]
    labels = target.compute(bars_of(study.decisions), None).drop_nulls(needed)
    if study.target == "breakout":
        outcome = pl.Series(np.array(STRATEGIC_VALUES, dtype=np.float64)[labels["target"].to_numpy()])
    else:
        outcome = labels[
            f"return_{study.evaluation_horizon}" if study.evaluation_horizon else "forward_return"
        ]
    return labels.with_columns(outcome.alias("outcome")).sort("session", "symbol")


def permuted(labels: pl.DataFrame, study: StudySpec) -> pl.DataFrame:
    """The labels' values, all of a row together, permuted among the symbols of each session."""
    values = [*TARGETS[study.target].values, "outcome"]
    order = pl.Series("order", np.random.default_rng(1).random(labels.height))
    return labels.with_columns(order).with_columns(pl.col(values).sort_by("order").over("session"))


def quick(study: StudySpec, estimator: str | None = None) -> TrainingConfig:
    """The study's plan at a small preset with its base learners alone, or with one estimator alone."""
    epochs, rows = EFFORT.get(study.name, DEFAULT_PRESET)

    def small(spec: EstimatorSpec) -> EstimatorSpec:
        preset = TrainingPreset(spec.presets["small"].network_preset, epochs, rows)
        return replace(spec, space={}, benchmark=False, presets={"small": preset})

    chosen = (
        study.training.base_learners
        if estimator is None
        else [m for m in study.training.estimators if m.name == estimator]
    )
    # Trees by themselves say frequencies as they are.
    calibrate = study.training.calibrate and any(m.is_network for m in chosen)
    return replace(study.training, estimators=tuple(map(small, chosen)), calibrate=calibrate)


def windows_of(study: StudySpec, keys: pl.DataFrame, features: pl.DataFrame) -> Windows:
    if study.decisions == "pattern_observations":
        return observation_windows(
            keys, features, study.feature_names, bars_of(study.decisions), study.window
        )
    return windows_for(keys, features, study.feature_names, study.window)


def daily_ic(
    study: StudySpec, labels: pl.DataFrame, features: pl.DataFrame, estimator: str | None = None
) -> Score:
    """Mean daily rank IC of one fold's scores with the outcomes, and its interval."""
    keys = labels.with_columns(knowledge_time=pl.col("label_end").cast(pl.Datetime("us", "UTC")))
    train = keys.filter(pl.col("session").is_between(*TRAIN), pl.col("label_end") < TEST[0])
    test = keys.filter(pl.col("session").is_between(*TEST))
    setting = TrainingContext(
        study.feature_names, "small", study.validation_sessions, study.folds.embargo, study.seed
    )
    ledger = FitLedger(FOLD)
    fitted = fit_study(quick(study, estimator), windows_of(study, train, features), setting, ledger=ledger)
    scores, _ = predicted(study, fitted, windows_of(study, test, features), FOLD)
    rows = scores.select("symbol", "session", "score").hstack(test.select("outcome")).drop_nulls()
    # Permutations of two sessions have nothing to do with each other, however far their labels reach.
    return rank_ic(rank_ic_by_session(rows, outcome="outcome"), Bootstrap(seed=0))


def assert_chance(ic: Score) -> None:
    """The interval covers 0, taken twice as wide: one in twenty 95 % intervals of mere chance does not."""
    assert ic.sessions >= 100
    assert ic.value is not None
    assert ic.low is not None
    assert ic.high is not None
    assert 2 * ic.low - ic.value <= 0 <= 2 * ic.high - ic.value


@pytest.mark.parametrize("study", list(STUDIES.values()), ids=list(STUDIES))
def test_permuted_targets_teach_a_study_nothing(study: StudySpec) -> None:
    labels = labels_of(study)
    features = compute(bars_of(study.decisions), study.feature_set)
    shuffled = permuted(labels, study)
    assert shuffled["outcome"].eq(labels["outcome"]).mean() < 0.35  # pyright: ignore[reportOperatorIssue]
    chance = daily_ic(study, shuffled, features)
    assert_chance(chance)

    reader = None
    if study.target == "breakout":
        reader = READER
        told = labels.select("symbol", "session", (pl.col("outcome") + 50).alias("told"))
        features = features.join(told, on=["symbol", "session"], how="left", maintain_order="left")
        features = features.with_columns(pl.coalesce("told", CARRIER).alias(CARRIER)).drop("told")
        chance = daily_ic(study, shuffled, features, reader)
        assert_chance(chance)
    control = daily_ic(study, labels, features, reader)
    assert control.low is not None
    assert chance.high is not None
    assert control.low > chance.high
