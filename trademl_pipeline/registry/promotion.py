"""The model registry: who is champion, and a fold's models in the form in which MLflow serves them.

A study's registered model bears its name. ``champion`` serves; ``challenger`` is the latest candidate. A
challenger takes over only by :func:`decide`, on predictions that both made out of sample for the same rows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap, block_bootstrap_interval
from trademl_pipeline.evaluation.scores import ratio, require
from trademl_pipeline.sequences.windows import Windows, windows_of_arrays
from trademl_pipeline.training.fitted_study import CARD, load_study

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class PromotionRule:
    """When a challenger replaces the champion.

    Attributes:
        metric: name of the per-row score that is compared, higher is better; for the record.
        min_gain: the mean gain must exceed this.
        min_sessions: sessions that both must have predicted.
        require_interval: also demand that the 95 % interval of the gain lies above ``min_gain``.
    """

    metric: str
    min_gain: float = 0.0
    min_sessions: int = 60
    require_interval: bool = False


@dataclass(frozen=True)
class Decision:
    """The outcome of a comparison; written to the challenger's tags."""

    promote: bool
    gain: float | None
    low: float | None
    high: float | None
    sessions: int
    rows: int
    reason: str


def decide(rule: PromotionRule, scores: pl.DataFrame | None, bootstrap: Bootstrap) -> Decision:
    """Compare champion and challenger row by row, out of sample.

    Args:
        rule: the rule.
        scores: session, champion, challenger: a score of each prediction of the same row, higher is better
            (log likelihood, hit or miss, return earned). None: there is no champion yet.
        bootstrap: how the interval of the mean gain is drawn.
    """
    if scores is None:
        return Decision(True, None, None, None, 0, 0, "there is no champion yet")
    require(scores, ("session", CHAMPION, CHALLENGER))
    by_session = (
        scores.with_columns(gain=pl.col(CHALLENGER) - pl.col(CHAMPION))
        .group_by("session")
        .agg(pl.col("gain").sum(), pl.len().alias("n"))
        .sort("session")
    )
    n, rows = by_session.height, scores.height
    if n < rule.min_sessions:
        return Decision(
            False, None, None, None, n, rows, f"only {n} sessions in common, {rule.min_sessions} needed"
        )
    sums = by_session.select("gain", "n").to_numpy().astype(np.float64)
    gain = float(ratio(sums.sum(axis=0)))
    interval = block_bootstrap_interval(sums, ratio, bootstrap)
    bar = interval.low if rule.require_interval else gain
    promote = gain > rule.min_gain and bar is not None and bar > rule.min_gain
    reason = f"{rule.metric} gains {gain:+.4g} a row, {'above' if promote else 'not surely above'} {rule.min_gain:g}"
    return Decision(promote, gain, interval.low, interval.high, n, rows, reason)


def decision_tags(rule: PromotionRule, decision: Decision) -> dict[str, str]:
    """Rule and decision as tags of a model version: ``promotion_rule.metric``, ``promotion.gain`` ..."""
    parts = (("promotion_rule", asdict(rule)), ("promotion", asdict(decision)))
    return {f"{prefix}.{name}": str(value) for prefix, part in parts for name, value in part.items()}


def write_mlflow_model(study: Path, folder: Path, example: Windows, metadata: Mapping[str, Any]) -> None:
    """Write a saved fold as an MLflow model that takes raw features, with signature and input example.

    The input is ``{"x": (batch, length, features)}``, NaN where missing, padding NaN throughout; and, where
    symbols have heads of their own, ``"symbol": (batch,)``. The output holds the columns of the study's task.

    Args:
        study: folder that `FittedStudy.save` wrote; copied, its files' digests included.
        folder: to be written; must not exist.
        example: a few windows over the features that the models read.
        metadata: fold, data snapshot ...; kept as text with the model.
    """
    import mlflow
    from mlflow.models import infer_signature

    fitted = load_study(study)
    x, mask = example.batch(np.arange(len(example)))
    x[~mask] = np.nan
    inputs: dict[str, np.ndarray] = {"x": x}
    if fitted.fine_tuned:
        inputs["symbol"] = example.keys["symbol"].to_numpy().astype(str)
    outputs = fitted.predict(windows_of_arrays(**inputs))
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"study": str(study)},
        signature=infer_signature(inputs, outputs),
        input_example=inputs,
        pip_requirements=["trademl-pipeline"],
        metadata={"card": CARD, "features": list(fitted.names), **{k: str(v) for k, v in metadata.items()}},
    )
