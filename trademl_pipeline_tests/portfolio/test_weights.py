from datetime import date

import polars as pl
import pytest

from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.portfolio.weights import target_weights

DAY, NEXT = date(2020, 1, 6), date(2020, 1, 7)


def scores(*values, session=DAY):
    return pl.DataFrame(
        {"symbol": [f"S{i}" for i in range(len(values))], "session": [session] * len(values), "score": values}
    )


def weights(*values, **settings):
    return target_weights(scores(*map(float, values)), **settings)["weight"].to_list()


def test_quantile_is_long_the_top_and_short_the_bottom():
    assert weights(3, 1, 2, 5, 4, quantile=0.4) == pytest.approx([0, -0.25, -0.25, 0.25, 0.25])


def test_quantile_holds_at_least_one_symbol_a_side():
    assert weights(3, 1, 2, 5, 4, quantile=0.1) == pytest.approx([0, -0.5, 0, 0.5, 0])


def test_rank_weights_are_neutral_and_sum_to_gross():
    got = weights(1, 2, 3, 4, 50, weighting="rank", gross=2.0)
    assert got == pytest.approx([-2 / 3, -1 / 3, 0, 1 / 3, 2 / 3])
    assert sum(got) == pytest.approx(0)
    assert sum(map(abs, got)) == pytest.approx(2.0)


def test_tied_scores_have_equal_rank_weights():
    got = weights(1, 1, 2, 3, 3, weighting="rank")
    assert got[0] == got[1]
    assert got[3] == got[4]


def test_sign_weights_may_be_one_sided():
    assert weights(0.1, 0.2, -0.3, 0.0, 5, weighting="sign") == pytest.approx([0.2, 0.2, -0.2, 0, 0.2])


def test_sessions_that_cannot_be_ranked_want_nothing():
    assert weights(1, 2, 3, 4) == [0, 0, 0, 0]
    assert weights(2, 2, 2, 2, 2, 2) == [0] * 6
    assert weights(2, 2, 2, 2, 2, weighting="rank") == [0] * 5


def test_sessions_do_not_touch_one_another():
    both = pl.concat([scores(1.0, 2, 3, 4, 5), scores(50.0, 40, 30, 20, 10, session=NEXT)])
    got = target_weights(both)
    assert got.filter(pl.col("session") == DAY)["weight"].to_list() == weights(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        (scores(1.0, None), {}, "null or not finite, the first for S1"),
        (scores(1.0, float("nan")), {}, "1 scores"),
        (pl.concat([scores(1.0), scores(2.0)]), {}, "repeat 2 keys"),
        (scores(1.0).drop("score"), {}, "lack the columns"),
        (scores(1.0), {"quantile": 0.7}, "quantile"),
        (scores(1.0), {"gross": 0.0}, "gross"),
        (scores(1.0), {"weighting": "best"}, "'best'"),
    ],
)
def test_wrong_inputs_are_named(frame, settings, message):
    with pytest.raises(PortfolioError, match=message):
        target_weights(frame, **settings)
