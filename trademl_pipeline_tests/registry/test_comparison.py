from datetime import date, timedelta

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.registry.comparison import paired, row_scores
from trademl_pipeline.registry.promotion import PromotionRule, decide

SESSIONS = [date(2020, 1, 1) + timedelta(days=i) for i in range(60)]


def outcomes(symbols: int = 20, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=len(SESSIONS) * symbols)
    return pl.DataFrame(
        {
            "session": [day for day in SESSIONS for _ in range(symbols)],
            "forward_return": returns,
            "target": np.digitize(returns, [-0.5, 0.5]),
        }
    )


def test_a_class_model_is_scored_by_what_it_gave_the_class_that_came():
    rows = outcomes().head(3).with_columns(target=pl.Series([0, 2, 1]))
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
    assert np.allclose(row_scores("direction", p, rows, pl.DataFrame()), np.log([0.5, 0.8, 0.5]))


def test_numbers_on_another_scale_score_the_same():
    rows = outcomes()
    values = np.column_stack(
        [rows["forward_return"].to_numpy(), np.ones(len(rows)), *np.ones((2, len(rows)))]
    )
    scaled = values * [100.0, 1.0, 1.0, 1.0]
    plain = row_scores("forecast", values, rows, pl.DataFrame())
    assert np.allclose(plain, row_scores("forecast", scaled, rows, pl.DataFrame()))
    assert plain.mean() > 0.2


def test_the_better_model_wins_and_an_equal_one_does_not():
    rows = outcomes()
    rng = np.random.default_rng(1)
    signal = rows["forward_return"].to_numpy() + rng.normal(size=len(rows))
    ones = np.ones((len(rows), 3))
    good = row_scores("forecast", np.column_stack([signal, ones]), rows, pl.DataFrame())
    blind = row_scores("forecast", np.column_stack([rng.normal(size=len(rows)), ones]), rows, pl.DataFrame())
    rule = PromotionRule("score times outcome", min_sessions=40, require_interval=True)
    assert decide(rule, paired(rows["session"], blind, good), Bootstrap(seed=1)).promote
    assert not decide(rule, paired(rows["session"], good, blind), Bootstrap(seed=1)).promote
    assert not decide(rule, paired(rows["session"], good, good), Bootstrap(seed=1)).promote
