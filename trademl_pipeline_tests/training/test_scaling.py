import numpy as np
import pytest
import torch

from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.scaling import fit_robust_scaling
from trademl_pipeline_tests.training.planted import direction_problem


class Same(torch.nn.Module):
    def forward(self, x, mask):
        return {"x": x}


def test_median_and_interquartile_range_ignore_outliers_and_gaps():
    rng = np.random.default_rng(0)
    column = rng.normal(5, 2, 10_000)
    column[:100] = 1e9
    column[100:200] = np.nan
    scaling = fit_robust_scaling(np.column_stack([column, rng.normal(size=10_000)]))
    assert scaling.centre[0] == pytest.approx(5, abs=0.1)
    assert scaling.scale[0] == pytest.approx(2, rel=0.05)
    assert scaling.unused == ()


def test_a_rare_event_column_is_scaled_by_its_deviation_and_a_constant_one_is_told():
    rare = np.zeros(1000)
    rare[:50] = 1
    scaling = fit_robust_scaling(np.column_stack([rare, np.full(1000, 3.0), np.full(1000, np.nan)]))
    assert scaling.scale[0] == pytest.approx(rare.std())
    assert scaling.unused == (1, 2)
    assert scaling.centre.tolist() == [0.0, 3.0, 0.0]


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(FitError, match="no rows"):
        fit_robust_scaling(np.zeros((0, 2)))
    with pytest.raises(FitError, match="feature 1 holds infinite values"):
        fit_robust_scaling(np.array([[0.0, np.inf], [1.0, 0.0]]))


def test_prepared_scales_clips_and_fills_inside_the_model():
    model = Prepared(Same(), np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    x = torch.tensor([[[9.0, 9.0], [3.0, float("nan")], [1.0, 1e6]]])
    mask = torch.tensor([[False, True, True]])
    torch.testing.assert_close(model(x, mask)["x"], torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 10.0]]]))


def test_rows_read_are_those_that_some_window_holds():
    windows, _ = direction_problem(symbols=2, sessions=10, length=4)
    some = windows.take(np.array([5, 13]))
    assert some.rows_read().tolist() == [2, 3, 4, 5, 10, 11, 12, 13]
