import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_windows
from trademl_pipeline.sequences import window_index
from trademl_pipeline_tests.leakage.panels import bars

FEATURES = bars(4, 30).select("symbol", "session", x="close")
LENGTH = 8
INDEX = window_index(FEATURES, LENGTH)


def test_the_windows_of_the_project_pass():
    report = audit_windows(INDEX, FEATURES, length=LENGTH)
    report.assert_clean()
    assert report.coverage["windows"]["windows"] == FEATURES.height


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.with_columns(n_valid=pl.lit(LENGTH)).drop("window_start"), "another symbol's rows"),
        (
            lambda i: i.with_columns(row=(pl.col("row") + 1).clip(upper_bound=FEATURES.height - 1)),
            "another row",
        ),
        (lambda i: i.with_columns(n_valid=pl.col("n_valid") * 2).drop("window_start"), "more than 8 rows"),
        (lambda i: i.with_columns(window_start="session"), "not the session of the first row"),
    ],
)
def test_windows_that_are_put_together_wrongly_are_refused(change, message):
    report = audit_windows(change(INDEX), FEATURES, length=LENGTH)
    assert any(message in v.detail for v in report.violations)


def test_windows_over_rows_out_of_order_are_refused():
    backwards = FEATURES.sort("symbol", "session", descending=[False, True])
    index = backwards.select("symbol", "session", row=pl.int_range(pl.len()), n_valid=pl.lit(1)).with_columns(
        n_valid=pl.min_horizontal(pl.int_range(pl.len()).over("symbol") + 1, LENGTH)
    )
    details = [v.detail for v in audit_windows(index, backwards, length=LENGTH).violations]
    assert any("not in the order of time" in d for d in details)


def test_an_index_that_points_outside_is_an_error():
    with pytest.raises(AuditInputError, match="outside the"):
        audit_windows(INDEX.with_columns(row=pl.col("row") + 5), FEATURES, length=LENGTH)
    with pytest.raises(AuditInputError, match="n_valid"):
        audit_windows(INDEX.drop("n_valid"), FEATURES, length=LENGTH)
