"""Feature selection in fold."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.selection import (
    SelectionError,
    SelectionPlan,
    correlation_matrix,
    fit_projection,
    select_features,
)

NAMES = [f"f{k:02d}" for k in range(60)]


def rows(n: int = 800, seed: int = 0, missing: float = 0.05) -> pl.DataFrame:
    """60 features in 30 pairs of near doubles; f00 and f02 (and their doubles) make the target."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 30))
    x = np.empty((n, 60))
    x[:, 0::2], x[:, 1::2] = base, base + 0.1 * rng.normal(size=(n, 30))
    score = 2 * base[:, 0] + base[:, 1] + 0.5 * rng.normal(size=n)
    x[rng.random(x.shape) < missing] = np.nan
    days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2015-01-01") + n)
    frame = pl.DataFrame(x, schema=NAMES, nan_to_null=True)
    target = np.digitize(score, [-1, 1]).astype(np.int8)
    return frame.with_columns(
        pl.lit("A").alias("symbol"),
        pl.Series("session", days),
        pl.Series("label_end", days + 5),
        pl.Series("target", target),
        pl.Series("score", score),
    )


def test_doubles_go_and_sixty_become_thirty_five_to_forty() -> None:
    ledger = FitLedger("2020-01-01")
    chosen = select_features(rows(), NAMES, "target", ledger=ledger, plan=SelectionPlan(rounds=10))
    assert 35 <= len(chosen.names) <= 40
    assert list(chosen.names) == sorted(chosen.names)
    assert set(chosen.names) | set(chosen.dropped) == set(NAMES)
    assert not set(chosen.names) & set(chosen.dropped)
    assert {"f00", "f01"} & set(chosen.names)
    strongest = max(chosen.importance, key=chosen.importance.__getitem__)
    assert strongest in {"f00", "f01"}
    assert sum(chosen.importance.values()) == pytest.approx(1.0)


def test_correlation_alone_keeps_one_of_each_pair() -> None:
    plan = SelectionPlan(min_features=1, max_features=60, rounds=10)
    chosen = select_features(rows(), NAMES, "target", ledger=FitLedger("2020-01-01"), plan=plan)
    assert len(chosen.names) == 30
    assert {int(n[1:]) // 2 for n in chosen.names} == set(range(30))
    for name, reason in chosen.dropped.items():
        twin = reason.split()[2]
        assert int(twin[1:]) // 2 == int(name[1:]) // 2
        assert chosen.importance[twin] >= chosen.importance[name]


def test_the_least_important_go_when_nothing_correlates() -> None:
    plan = SelectionPlan(max_correlation=1.0, min_features=5, max_features=10, rounds=10)
    chosen = select_features(rows(), NAMES, "score", ledger=FitLedger("2020-01-01"), plan=plan)
    assert len(chosen.names) == 10
    worst = min(chosen.importance[n] for n in chosen.names)
    assert all(chosen.importance[n] <= worst for n in chosen.dropped)
    assert set(chosen.dropped.values()) == {"unimportant"}


def test_both_fits_are_on_record_with_the_rows_they_saw() -> None:
    ledger = FitLedger("2020-01-01")
    train = rows(400).with_columns(
        target=pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise(pl.col("target"))
    )
    select_features(train, NAMES, "target", ledger=ledger, plan=SelectionPlan(rounds=5))
    fit_projection(train, NAMES, ledger=ledger, components=5)
    records = ledger.records()
    assert [r.name for r in records] == ["feature_importance", "feature_correlation", "feature_pca"]
    assert [r.n_rows for r in records] == [390, 390, 400]
    assert {r.kind for r in records} == {"selector"}
    assert records[0].label_end_max == train["label_end"].max()
    assert records[0].session_min == date(2015, 1, 11)


def test_a_choice_can_be_repeated() -> None:
    plan = SelectionPlan(rounds=8, max_rows=500)
    a, b = (select_features(rows(), NAMES, "target", ledger=FitLedger("m"), plan=plan) for _ in range(2))
    assert a == b


def test_rows_outside_of_the_frame_do_not_matter() -> None:
    """The choice is a function of the training rows: later rows cannot be in them."""
    full = rows(700)
    plan = SelectionPlan(rounds=10)
    a = select_features(full.head(500), NAMES, "target", ledger=FitLedger("m"), plan=plan)
    b = select_features(rows(700).head(500), NAMES, "target", ledger=FitLedger("m"), plan=plan)
    assert a == b
    assert a.importance != select_features(full, NAMES, "target", ledger=FitLedger("m"), plan=plan).importance


def test_constant_features_are_dropped_first() -> None:
    frame = rows(300).with_columns(f10=pl.lit(1.0), f20=pl.lit(None, dtype=pl.Float64))
    chosen = select_features(frame, NAMES, "target", ledger=FitLedger("m"), plan=SelectionPlan(rounds=5))
    assert chosen.dropped["f10"] == chosen.dropped["f20"] == "constant"


def test_correlations_are_pandas_pairwise() -> None:
    frame = rows(300, missing=0.2).select(NAMES[:8])
    got = correlation_matrix(frame.to_numpy().astype(float))
    np.testing.assert_allclose(got, frame.to_pandas().corr().abs().to_numpy(), atol=1e-10)


def test_projection_is_sklearns_on_complete_rows() -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    train, new = rows(500, missing=0.0), rows(50, seed=1, missing=0.0)
    projection = fit_projection(train, NAMES, ledger=FitLedger("m"), components=25)
    scaler = StandardScaler().fit(train.select(NAMES).to_numpy())
    pca = PCA(25, svd_solver="full").fit(scaler.transform(train.select(NAMES).to_numpy()))
    want = pca.transform(scaler.transform(new.select(NAMES).to_numpy()))
    got = projection.transform(new)
    assert got.shape == (50, 25)
    np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-8)
    np.testing.assert_allclose(projection.explained, pca.explained_variance_ratio_, rtol=1e-9)
    assert (projection.components[np.arange(25), np.abs(projection.components).argmax(axis=1)] > 0).all()


def test_a_missing_value_counts_as_the_training_mean() -> None:
    train = rows(500)
    projection = fit_projection(train, NAMES, ledger=FitLedger("m"))
    empty = train.head(1).with_columns(pl.lit(None, dtype=pl.Float64).alias(n) for n in NAMES)
    assert projection.transform(empty).tolist() == [[0.0] * 25]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(SelectionError, match=r"lack the column\(s\) nowhere"):
        select_features(rows(50), [*NAMES, "nowhere"], "target", ledger=FitLedger("m"))
    none = rows(50).with_columns(target=pl.lit(None, dtype=pl.Int8))
    with pytest.raises(SelectionError, match="no training row has the target"):
        select_features(none, NAMES, "target", ledger=FitLedger("m"))
    with pytest.raises(SelectionError, match="61 components of 60 features"):
        fit_projection(rows(50), NAMES, ledger=FitLedger("m"), components=61)
    with pytest.raises(SelectionError, match="need 1 <= least <= most"):
        SelectionPlan(min_features=50, max_features=40)
    with pytest.raises(SelectionError, match="max_correlation is 0"):
        SelectionPlan(max_correlation=0)
