import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.market.calendar import sessions
from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.portfolio.performance import performance

DAYS = sessions(date(2018, 1, 2), date(2020, 12, 31))
BOOT = Bootstrap(seed=0)


def book(returns, turnover=0.5, positions=10):
    r = np.asarray(returns, dtype=float)
    return pl.DataFrame(
        {"session": DAYS[: len(r)], "until": DAYS[1 : len(r) + 1], "net_return": r}
    ).with_columns(turnover=pl.lit(turnover), cost=pl.lit(turnover * 0.002), positions=pl.lit(positions))


def test_figures_by_hand():
    got = performance(book([0.1, -0.2, 0.05, 0.0]), BOOT)
    assert got.total_return == pytest.approx(1.1 * 0.8 * 1.05 - 1)
    assert got.annual_return.value == pytest.approx(252 * -0.0125)
    assert got.hit_rate.value == 0.5
    assert got.max_drawdown.value == pytest.approx(-0.2)
    assert (got.drawdown_start, got.drawdown_end) == (DAYS[1], DAYS[2])
    assert got.turnover.value == pytest.approx(0.5)
    assert got.annual_cost == pytest.approx(0.001 * 252)
    assert got.sharpe.low is None


def test_fall_from_the_start_counts_as_drawdown():
    got = performance(book([-0.1, -0.1, 0.5]), BOOT)
    assert got.max_drawdown.value == pytest.approx(0.81 - 1)
    assert (got.drawdown_start, got.drawdown_end) == (DAYS[0], DAYS[2])
    assert performance(book([0.1, 0.1]), BOOT).drawdown_start is None


def test_flat_sessions_do_not_count_as_misses():
    frame = book([0.01, 0.0, 0.01]).with_columns(positions=pl.Series([5, 0, 5]))
    assert performance(frame, BOOT).hit_rate.value == 1.0


def test_intervals_hold_a_worthless_book_at_zero_and_a_good_one_above():
    rng = np.random.default_rng(0)
    chance = performance(book(rng.standard_normal(600) * 0.01), BOOT)
    good = performance(book(rng.standard_normal(600) * 0.01 + 0.002), BOOT)
    assert chance.sharpe.low < 0 < chance.sharpe.high
    assert good.sharpe.low > 0
    assert good.max_drawdown.low < good.max_drawdown.value <= 0
    assert good.max_drawdown.high <= 0


def test_trials_deflate():
    r = np.random.default_rng(0).standard_normal(500) * 0.01 + 0.001
    one, many = (performance(book(r), BOOT, trials=n) for n in (1, 100))
    assert one.deflated_sharpe == pytest.approx(one.probabilistic_sharpe)
    assert many.deflated_sharpe < one.deflated_sharpe


def test_flat_book_has_no_sharpe_ratio():
    got = performance(book(np.zeros(20), positions=0), BOOT)
    assert got.sharpe.value is None
    assert got.hit_rate.value is None
    assert got.max_drawdown.value == 0.0


def test_empty_book_is_refused_and_the_rest_survives_json():
    with pytest.raises(PortfolioError, match="no session"):
        performance(book([]), BOOT)
    plain = performance(book([0.01, -0.01] * 20), BOOT).to_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_a_year_may_have_more_sessions():
    returns = np.random.default_rng(3).standard_normal(200) * 0.01 + 0.001
    stocks, crypto = performance(book(returns), BOOT), performance(book(returns), BOOT, year=365)
    for figure in ("sharpe", "annual_return"):
        ratio = getattr(crypto, figure).value / getattr(stocks, figure).value
        assert ratio == pytest.approx((365 / 252) ** (0.5 if figure == "sharpe" else 1.0))
    assert crypto.annual_volatility / stocks.annual_volatility == pytest.approx((365 / 252) ** 0.5)
    assert crypto.probabilistic_sharpe == stocks.probabilistic_sharpe
    assert crypto.deflated_sharpe == stocks.deflated_sharpe
