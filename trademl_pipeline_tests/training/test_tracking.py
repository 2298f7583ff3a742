import numpy as np
import polars as pl
import pytest

from trademl_pipeline.models.registry import build
from trademl_pipeline.training.intervals import Bootstrap
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.loop import fit_network
from trademl_pipeline.training.losses import CrossEntropyLoss
from trademl_pipeline.training.saved import saved_network
from trademl_pipeline.training.schedule import TrainConfig
from trademl_pipeline.training.scores import MetricsError
from trademl_pipeline.training.tracking import (
    CHALLENGER,
    PromotionRule,
    aliased_version,
    decide,
    load_registered,
    log_history,
    register,
    settle,
    trial_logger,
)
from trademl_pipeline.training.trials import COMPLETE, FAILED, Trial
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
        (paired(0.1), PromotionRule("hit", least_gain=0.2), False, "not surely above 0.2"),
        (paired(0.1), PromotionRule("hit", sure=True), True, "above 0"),
        (paired(0.01, noise=3.0), PromotionRule("hit", sure=True), False, "not surely above 0"),
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
def test_register_serve_and_promote(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    try:
        experiment = mlflow.create_experiment(
            "direction", artifact_location=(tmp_path / "artifacts").as_uri()
        )
        windows, _ = direction_problem()
        config = TrainConfig(epochs=2, validation_sessions=15, embargo=2)
        net = build("transformer", 5, d_model=16, heads=4, layers=1)
        fitted = fit_network(net, windows, CrossEntropyLoss(), config, ledger=FitLedger("2020-06-01"))
        saved = saved_network("transformer", fitted, tuple("abcde"), 10, {"snapshot": 7, "code": "abc"})
        x, _ = windows.batch(np.arange(40, 44))
        assert aliased_version("direction") is None
        with pytest.raises(MetricsError, match="has no champion yet"):
            load_registered("direction")
        with mlflow.start_run(experiment_id=experiment) as run:
            log_history(run.info.run_id, fitted.history)
            version = register(saved, "direction", run.info.run_id, {"x": x}, {"fold": "2020-06-01"})
            trial_logger(run.info.run_id)(
                Trial("direction", "2020-06-01", 3, FAILED, None, 1.5, {"depth": 4}, "why")
            )
            trial_logger(run.info.run_id)(
                Trial("direction", "2020-06-01", 4, COMPLETE, 0.25, 2.5, {"depth": 5})
            )
        client = mlflow.MlflowClient()
        below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
        told = {r.data.params["depth"]: (r.info.status, r.data.metrics.get("score")) for r in below}
        assert told == {"4": ("FAILED", None), "5": ("FINISHED", 0.25)}
        history = client.get_metric_history(run.info.run_id, "validation_loss")
        assert [m.step for m in history] == [0, 1]
        assert aliased_version("direction", CHALLENGER) == version
        assert aliased_version("direction") is None
        settle("direction", version, RULE, decide(RULE, None, Bootstrap(seed=1)))
        assert aliased_version("direction") == version
        tags = client.get_model_version("direction", version).tags
        assert tags["promotion_rule.metric"] == "hit"
        assert tags["promotion.promote"] == "True"
        assert tags["fold"] == "2020-06-01"
        want = fitted.predict(windows.take(np.arange(40, 44)))["logits"]
        np.testing.assert_allclose(
            load_registered("direction").predict(x)["logits"], want, rtol=1e-4, atol=1e-5
        )
        served = mlflow.pyfunc.load_model("models:/direction@champion")
        np.testing.assert_allclose(served.predict({"x": x})["logits"], want, rtol=1e-4, atol=1e-5)
        assert served.metadata.signature.inputs.input_names() == ["x"]
        assert served.metadata.get_input_schema() is not None
        assert served.metadata.metadata["snapshot"] == 7
        with pytest.raises(MetricsError, match="not the active MLflow run"):
            register(saved, "direction", run.info.run_id, {"x": x}, {})
        with mlflow.start_run(experiment_id=experiment) as run:
            second = register(saved, "direction", run.info.run_id, {"x": x}, {})
        settle("direction", second, RULE, decide(RULE, paired(-0.1), Bootstrap(seed=1)))
        assert aliased_version("direction") == version
        assert aliased_version("direction", CHALLENGER) == second
    finally:
        mlflow.set_tracking_uri(before)
