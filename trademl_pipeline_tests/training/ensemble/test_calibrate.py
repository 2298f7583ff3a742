import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.training.ensemble.calibrate import base_rates, fit_calibration


def planted(n: int, sharpness: float, costs: np.ndarray, seed: int):
    """True probabilities, the classes drawn from them, and what an overconfident model with costs says."""
    rng = np.random.default_rng(seed)
    y_true = rng.dirichlet(np.array([4.0, 2.0, 0.3]), n)
    target = (y_true.cumsum(1) < rng.random((n, 1))).sum(1)
    said = y_true**sharpness * costs
    return y_true, target, said / said.sum(1, keepdims=True)


def log_loss(p, target):
    return -np.log(np.maximum(p[np.arange(len(target)), target], 1e-12)).mean()


@pytest.mark.slow
def test_costs_and_overconfidence_are_undone():
    y_true, target, said = planted(20_000, 2.0, np.array([1.0, 2.0, 50.0]), 0)
    fitted = fit_calibration(said, target, base_rates(target, 3))
    assert fitted.temperature == pytest.approx(2.0, rel=0.1)
    mapped = fitted.apply(said)
    assert log_loss(mapped, target) < log_loss(y_true, target) + 0.005
    assert log_loss(said, target) > log_loss(y_true, target) + 0.15


def test_a_class_that_no_row_is_of_keeps_its_base_rate():
    _, target, said = planted(2_000, 1.0, np.ones(3), 1)
    few = np.flatnonzero(target != 2)[:100]
    base = base_rates(target, 3)
    fitted = fit_calibration(said[few], target[few], base)
    assert fitted.apply(said[few])[:, 2].mean() == pytest.approx(base[2], rel=0.05)


@pytest.mark.slow
@given(st.integers(0, 50), st.integers(1, 40))
def test_probabilities_stay_probabilities(seed, n):
    _, target, said = planted(n, 3.0, np.array([1.0, 1.0, 20.0]), seed)
    mapped = fit_calibration(said, target, base_rates(target, 3)).apply(said)
    assert np.allclose(mapped.sum(1), 1.0)
    assert (mapped > 0).all()
    order = np.argsort(said[:, 0] / said[:, 1])
    assert (np.diff(np.log(mapped[order, 0] / mapped[order, 1])) >= -1e-9).all()
