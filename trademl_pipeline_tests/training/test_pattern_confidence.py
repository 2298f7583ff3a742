"""The confidence of a technical signal: a half where nothing is known, above where the patterns speak for it."""

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.tasks import TASKS
from trademl_pipeline.tasks.pattern import PATTERNS

CONTEXT = pl.DataFrame({"return_7": [0.03, -0.02]})


def published(**chances: float) -> pl.DataFrame:
    values = dict.fromkeys(PATTERNS, 0.5) | {"momentum_persistence": 6 / 32} | chances
    return TASKS["pattern"].to_predictions(np.array([[values[name] for name in PATTERNS]] * 2), CONTEXT)


def test_knowing_no_more_than_a_coin_is_a_confidence_of_a_half():
    coins = np.random.default_rng(1).random((200_000, 5)) < 0.5
    assert (coins.mean(axis=1) > 0.6).mean() == pytest.approx(6 / 32, abs=0.004)
    frame = published()
    assert frame["confidence"].to_list() == pytest.approx([0.5, 0.5])
    assert frame["score"].to_list() == pytest.approx([0.0, 0.0])


def test_the_score_follows_the_signal_where_it_persists_and_turns_where_it_ends():
    persists = published(momentum_persistence=0.4)
    assert persists["confidence"].min() > 0.5
    assert persists["score"].sign().to_list() == [1.0, -1.0]
    turns = published(trend_exhaustion=0.7)
    assert turns["confidence"].max() < 0.5
    assert turns["score"].sign().to_list() == [-1.0, 1.0]
    sure = published(momentum_persistence=1.0, trend_exhaustion=0.0, volume_divergence=0.0)
    assert sure["confidence"].to_list() == pytest.approx([1.0, 1.0])
