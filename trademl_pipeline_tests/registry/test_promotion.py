from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.registry.promotion import PromotionRule, decide, decision_tags, write_mlflow_model
from trademl_pipeline.training.estimators import EstimatorSpec, TrainingContext, TrainingPreset
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.study import TrainingConfig, fit_study
from trademl_pipeline_tests.training.planted import direction_problem

RULE = PromotionRule("hit")


def paired(gain, sessions=120, rows=20, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    champion = rng.normal(size=sessions * rows)
    days = np.datetime64("2020-01-01") + np.arange(sessions)
    return pl.DataFrame(
        {
            "session": np.repeat(days, rows),
            "champion": champion,
            "challenger": champion + gain + noise * rng.normal(size=len(champion)),
        }
    )


@pytest.mark.parametrize(
    ("scores", "rule", "promoted", "reason"),
    [
        (None, RULE, True, "no champion yet"),
        (paired(0.1), RULE, True, "hit gains"),
        (paired(-0.1), RULE, False, "not surely above 0"),
        (paired(0.1, sessions=20), RULE, False, "only 20 sessions in common, 60 needed"),
        (paired(0.1), PromotionRule("hit", min_gain=0.2), False, "not surely above 0.2"),
        (paired(0.1), PromotionRule("hit", require_interval=True), True, "above 0"),
        (paired(0.01, noise=3.0), PromotionRule("hit", require_interval=True), False, "not surely above 0"),
    ],
)
def test_promotion_rule(scores, rule, promoted, reason):
    decision = decide(rule, scores, Bootstrap(seed=1))
    assert decision.promote is promoted
    assert reason in decision.reason
    if scores is not None and decision.gain is not None:
        want = float((scores["challenger"] - scores["champion"]).mean())
        assert decision.gain == pytest.approx(want)


@pytest.mark.slow
@pytest.mark.parametrize("own_heads", [(), ("S001",)])
def test_a_saved_fold_is_served_by_mlflow_from_raw_features(tmp_path, own_heads):
    import mlflow

    windows, _ = direction_problem(symbols=6, sessions=120, features=4, length=6)
    keys = windows.keys.with_columns(
        pl.Series("target", windows.targets["target"]).cast(pl.Int8),
        pl.col("label_end").cast(pl.Datetime("us", "UTC")).alias("knowledge_time"),
    )
    rows = replace(windows, keys=keys, targets={})
    trees = EstimatorSpec(
        "trees", "lightgbm", {"small": TrainingPreset()}, settings={"max_rounds": 10}, lags=(0, 1)
    )
    network = EstimatorSpec(
        "network",
        "transformer",
        {"small": TrainingPreset(epochs=1)},
        settings={"d_model": 16, "heads": 2, "layers": 1},
    )
    plan = TrainingConfig("direction", (network, trees), "weighted", fine_tune=own_heads)
    setting = TrainingContext(("a", "b", "c", "d"), "small", validation_sessions=15, embargo=2, seed=0)
    fitted = fit_study(plan, rows, setting, ledger=FitLedger("2020-06-01"))
    fitted.save(tmp_path / "study")
    # rows 1 and 2 have padding; a missing value is told as NaN
    rows.matrix[300, 2] = np.nan
    some = rows.take(np.array([1, 2, 200, 300]))
    assert tuple(fitted.fine_tuned) == own_heads
    write_mlflow_model(tmp_path / "study", tmp_path / "model", some, {"fold": "2020-06-01", "snapshot": 7})
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    example = served.input_example
    assert example["x"].shape == (4, 6, 4)
    assert np.isnan(example["x"][0, :4]).all()
    got, want = served.predict(example), fitted.predict(some)
    assert list(got) == list(want) == ["p_sell", "p_hold", "p_buy"]
    for column, values in want.items():
        np.testing.assert_allclose(got[column], values, rtol=1e-5, atol=1e-6)
    assert served.metadata.signature.inputs.input_names() == (["x", "symbol"] if own_heads else ["x"])
    assert served.metadata.signature.outputs.input_names() == list(want)
    told = served.metadata.metadata
    assert (told["fold"], told["snapshot"], told["features"]) == ("2020-06-01", "7", list("abcd"))
    with pytest.raises(mlflow.exceptions.MlflowException, match="does not match expected shape"):
        served.predict({**example, "x": example["x"][:, :, :3]})


def test_rule_and_decision_become_tags():
    tags = decision_tags(RULE, decide(RULE, None, Bootstrap(seed=1)))
    assert (tags["promotion_rule.metric"], tags["promotion.promote"]) == ("hit", "True")
    assert tags["promotion.reason"] == "there is no champion yet"
