from itertools import pairwise

import numpy as np
import pytest

from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.trials import Trial, TrialLedger
from trademl_pipeline.training.tuning import Choice, Range, TuneConfig, tune
from trademl_pipeline_tests.training.planted import panel

SPACE = {
    "x": Range(-4.0, 4.0),
    "depth": Range(1, 6),
    "kind": Choice(("good", "bad")),
    "rate": Range(1e-4, 1.0, log=True),
}
CONFIG = TuneConfig(trials=25, folds=3, validation_sessions=10, embargo=1, seed=3)


@pytest.fixture
def keys():
    return panel(3, 80, 1, seed=0)[1]


def hill(params, train, validation):
    return -((params["x"] - 1.5) ** 2) - 0.1 * abs(params["depth"] - 3) - (params["kind"] == "bad") * 3.0


def search(keys, path, score=hill, config=CONFIG, **options):
    ledger = FitLedger("2020-06-01")
    return tune(
        "hill", keys, score, SPACE, config, ledger=ledger, trials=TrialLedger(path), **options
    ), ledger


def test_finds_the_top_and_records_every_trial(keys, tmp_path):
    tuned, ledger = search(keys, tmp_path / "trials.jsonl")
    assert tuned.params["kind"] == "good"
    assert tuned.params["x"] == pytest.approx(1.5, abs=0.7)
    assert isinstance(tuned.params["depth"], int)
    trials = TrialLedger(tmp_path / "trials.jsonl")
    assert trials.count("hill") == 25
    assert trials.to_frame()["score"].max() == pytest.approx(tuned.score)
    assert ledger.to_frame()["kind"].to_list() == ["tuning"]


def test_same_seed_same_search(keys, tmp_path):
    assert search(keys, tmp_path / "a")[0].params == search(keys, tmp_path / "b")[0].params


def test_poor_trials_are_pruned_before_the_last_inner_fold(keys, tmp_path):
    calls = []

    def score(params, train, validation):
        calls.append(1)
        return hill(params, train, validation)

    search(keys, tmp_path / "trials.jsonl", score)
    states = TrialLedger(tmp_path / "trials.jsonl").to_frame()["state"]
    assert (states == "pruned").sum() > 3
    assert len(calls) < 25 * 3


@pytest.mark.slow
def test_an_interrupted_search_goes_on_where_it_stopped(keys, tmp_path):
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    count = 0

    def dies(params, train, validation):
        nonlocal count
        count += 1
        if count > 20:
            raise KeyboardInterrupt
        return hill(params, train, validation)

    with pytest.raises(KeyboardInterrupt):
        search(keys, tmp_path / "t", dies, storage=storage)
    done = TrialLedger(tmp_path / "t").count("hill")
    assert 0 < done < 25
    tuned, _ = search(keys, tmp_path / "t", storage=storage)
    assert TrialLedger(tmp_path / "t").count("hill") == 25
    assert tuned.params["kind"] == "good"


def test_two_objectives_give_a_front_of_score_against_seconds(keys, tmp_path):
    def slow_is_better(params, train, validation):
        sum(range(int(2e4 * params["depth"])))
        return float(params["depth"])

    config = TuneConfig(trials=20, folds=2, validation_sessions=10, embargo=1, with_time=True)
    tuned, _ = search(keys, tmp_path / "t", slow_is_better, config)
    assert tuned.params["depth"] == 6
    scores, seconds = [f[1] for f in tuned.front], [f[2] for f in tuned.front]
    assert scores == sorted(scores, reverse=True)
    assert all(a >= b for a, b in pairwise(seconds))


def test_a_configuration_that_cannot_be_fitted_fails_its_trial_only(keys, tmp_path):
    def picky(params, train, validation):
        if params["kind"] == "bad":
            raise FitError("too deep for these rows")
        return hill(params, train, validation)

    tuned, _ = search(keys, tmp_path / "t", picky)
    states = TrialLedger(tmp_path / "t").to_frame()
    assert (states["state"] == "failed").any()
    assert tuned.params["kind"] == "good"

    def hopeless(params, train, validation):
        raise FitError("no rows at all")

    with pytest.raises(FitError, match="no trial of hill completed; the last said: no rows at all"):
        search(keys, tmp_path / "u", hopeless)


def test_only_inner_rows_are_handed_out_and_in_time_order(keys, tmp_path):
    sessions = keys["session"].to_numpy()

    def look(params, train, validation):
        assert sessions[train].max() < sessions[validation].min()
        assert not np.intersect1d(train, validation).size
        return 0.0

    search(keys, tmp_path / "t", look, TuneConfig(trials=2, folds=3, validation_sessions=10, embargo=1))


def test_trials_survive_in_the_file_and_add_up_over_searches(tmp_path):
    ledger = TrialLedger(tmp_path / "deep" / "trials.jsonl")
    assert ledger.to_frame().is_empty()
    for number in range(3):
        ledger.add(Trial("s", "2020-01-01", number, "complete", 0.1 * number, 1.0, {"a": number}))
    ledger.add(Trial("other", "2020-01-01", 0, "failed", None, 1.0, {}, "why"))
    again = TrialLedger(ledger.path)
    assert again.count("s") == 3
    assert again.to_frame()["params"].to_list()[2] == '{"a": 2}'
