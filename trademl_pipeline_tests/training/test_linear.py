"""The linear baseline: what it regresses in which units, and that it reads back as it was."""

import numpy as np
import pytest

from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.linear import LinearModel, fit_linear

COLUMNS, VOLATILITY_SCALED = ("mean_1", "volatility_1"), {"mean_1": "volatility_1"}


def market(sessions: int = 120, symbols: int = 40, seed: int = 0):
    """Returns of which feature 0 tells a little, in units of a volatility that feature 1 tells; feature 2 is the same
    for all symbols of a session, and so is most of the noise."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(sessions), symbols)
    x = rng.normal(size=(len(day), 3))
    x[:, 2] = rng.normal(size=sessions)[day]
    volatility = 0.01 * np.exp(0.8 * x[:, 1])
    common = 0.03 * rng.normal(size=sessions)[day]
    returns = volatility * (0.2 * x[:, 0] + rng.normal(size=len(day))) + common
    return x, np.column_stack([returns, np.abs(volatility)]), day, volatility


def test_the_markets_moves_do_not_reach_the_weights():
    x, y, day, _ = market()
    apart = fit_linear(
        x, y, COLUMNS, day, log_scale=("volatility_1",), volatility_scaled=VOLATILITY_SCALED, penalty=1.0
    )
    plain = fit_linear(x, y, COLUMNS, day, log_scale=("volatility_1",), penalty=1.0)
    # Within a session feature 2 does not vary: nothing may be learned from it.
    assert abs(apart.weights[0, 2]) < 1e-9
    assert abs(plain.weights[0, 2]) > 1e-4
    # 0.2 deviations of the return for each unit of the feature, in units of the features' robust scale.
    slope = apart.weights[0, 0] / apart.scale[0]
    assert slope == pytest.approx(0.2, abs=0.06)


def test_a_return_is_forecast_in_units_of_its_own_volatility():
    x, y, day, volatility = market()
    model = fit_linear(
        x, y, COLUMNS, day, log_scale=("volatility_1",), volatility_scaled=VOLATILITY_SCALED, penalty=1.0
    )
    values = model.predict(x)
    assert np.corrcoef(np.log(values[:, 1]), np.log(volatility))[0, 1] > 0.99
    in_units = values[:, 0] / values[:, 1]
    # Linear in the features, whatever the volatility is.
    design = np.column_stack([x, np.ones(len(x))])
    left = in_units - design @ np.linalg.lstsq(design, in_units, rcond=None)[0]
    assert np.abs(left).max() < 1e-9 * np.abs(in_units).max() or np.abs(x).max() > 5


def test_classes_are_shares_that_follow_their_signal():
    x, y, day, volatility = market()
    outcome = np.digitize(y[:, 0] / volatility, [-0.5, 0.5])
    model = fit_linear(x, np.eye(3)[outcome], ("sell", "hold", "buy"), day, shares=True)
    p = model.predict(x)
    assert np.allclose(p.sum(axis=1), 1)
    assert p.min() > 0
    assert np.allclose(p.mean(axis=0), np.bincount(outcome) / len(outcome), atol=0.01)
    assert np.corrcoef(p[:, 2] - p[:, 0], x[:, 0])[0, 1] > 0.9
    assert np.array_equal(LinearModel.from_text(model.to_text()).predict(x), p)


def test_it_reads_back_as_it_was_written():
    x, y, day, _ = market(sessions=20)
    model = fit_linear(x, y, COLUMNS, day, log_scale=("volatility_1",), volatility_scaled=VOLATILITY_SCALED)
    again = LinearModel.from_text(model.to_text())
    assert np.array_equal(again.predict(x), model.predict(x))
    assert again.volatility_scaled == VOLATILITY_SCALED


def test_a_column_without_labels_is_refused():
    x, y, day, _ = market(sessions=5)
    y[:, 0] = np.nan
    with pytest.raises(FitError, match="no training row has a value of mean_1"):
        fit_linear(x, y, COLUMNS, day, log_scale=("volatility_1",), volatility_scaled=VOLATILITY_SCALED)
