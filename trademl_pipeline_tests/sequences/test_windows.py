import numpy as np
import polars as pl
import pytest

from trademl_pipeline.sequences.windows import windows_for, windows_of_arrays
from trademl_pipeline.training.inner_split import FitError

DAYS = (np.datetime64("2020-01-01") + np.arange(6)).astype("datetime64[D]")


def features():
    rows = {"symbol": ["A"] * 6 + ["B"] * 4, "session": np.concatenate([DAYS, DAYS[2:]])}
    frame = pl.DataFrame(rows).with_columns(f=pl.int_range(10).cast(pl.Float64), g=pl.lit(1.0))
    return frame.with_columns(g=pl.when(pl.col("f") == 4).then(None).otherwise(pl.col("g")))


def decisions():
    return pl.DataFrame(
        {
            "symbol": ["B", "A", "A"],
            "session": DAYS[[3, 4, 0]],
            "target": [2, 0, 1],
            "gain": [0.5, None, 0.1],
            "pair": [[1.0, None], [2.0, 3.0], [4.0, 5.0]],
            "position": [1.0, 0.0, -1.0],
            "held": [3, 0, 2],
        }
    )


def test_windows_end_at_their_decision_within_their_symbol_in_the_order_of_the_keys():
    windows = windows_for(
        decisions(), features(), ["g", "f"], 3, ["target", "gain", "pair"], {"state": ["position", "held"]}
    )
    x, mask = windows.batch(np.arange(3))
    assert mask.tolist() == [[False, True, True], [True, True, True], [False, False, True]]
    assert x[0, :, 1].tolist() == [0.0, 6.0, 7.0]
    assert x[1, :, 1].tolist() == [2.0, 3.0, 4.0]
    assert np.isnan(x[1, 2, 0])
    assert windows.targets["target"].tolist() == [2, 0, 1]
    assert windows.targets["target"].dtype.kind == "i"
    np.testing.assert_array_equal(windows.targets["gain"], [0.5, np.nan, 0.1])
    np.testing.assert_array_equal(windows.targets["pair"], [[1, np.nan], [2, 3], [4, 5]])
    assert windows.inputs["state"].tolist() == [[1, 3], [0, 0], [-1, 2]]


def test_a_decision_without_features_is_named():
    with pytest.raises(FitError, match=r"1 of 3 decisions have no feature row, e\.g\. B 2020-01-04"):
        windows_for(decisions(), features().filter(pl.col("f") != 7), ["f"], 3)


def test_taking_windows_takes_their_keys_along():
    windows = windows_for(decisions(), features(), ["f"], 3)
    some = windows.take(np.array([True, False, True]))
    assert some.keys["symbol"].to_list() == ["B", "A"]
    assert len(some) == 2


def test_windows_out_of_arrays_are_the_ones_that_went_in():
    windows = windows_for(decisions(), features(), ["f", "g"], 3)
    x, mask = windows.batch(np.arange(3))
    x[~mask] = np.nan
    again = windows_of_arrays(x, np.array(["B", "A", "A"]))
    assert again.n_valid.tolist() == windows.n_valid.tolist()
    assert again.keys["symbol"].to_list() == ["B", "A", "A"]
    for got, want in zip(again.batch(np.arange(3)), windows.batch(np.arange(3)), strict=True):
        np.testing.assert_array_equal(got, want)
    with pytest.raises(FitError, match="window 1 has 0 real steps"):
        windows_of_arrays(np.where(np.arange(2)[:, None, None] == 1, np.nan, x[:2]))
    with pytest.raises(FitError, match="must be"):
        windows_of_arrays(x[0])
