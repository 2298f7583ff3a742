"""Frames of every task, made on the market of `conftest` with forecasts of chosen skill."""

import numpy as np
import polars as pl

from trademl_pipeline.labels.breakout import STRATEGIC_VALUES
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.reports import ReportInputs
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.tasks.pattern import PATTERNS

SEED = 11


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def returns_ahead(made, horizon):
    """Log return over `horizon` sessions from each key, NaN where the bars end."""
    ahead = made.bars.select(
        "symbol",
        "session",
        r=(pl.col("close").shift(-horizon) / pl.col("close")).log().over("symbol", order_by="session"),
    )
    return (
        made.keys.join(ahead, on=["symbol", "session"], maintain_order="left")["r"]
        .cast(pl.Float64)
        .to_numpy()
    )


def with_evidence(frame):
    close = pl.col("session").cast(pl.Datetime("us", "UTC")).dt.offset_by("21h")
    return frame.with_columns(
        decision_time=close,
        knowledge_time=close,
        fold=month_expr(),
        model_run=pl.lit("0123456789abcdef"),
        snapshot=pl.lit(41),
        certificate=pl.lit("c" * 64),
    )


def forecast_frames(made, skill, rng):
    frames = {}
    keys, outcomes = made.keys, made.keys
    for h in (1, 30):
        outcome = returns_ahead(made, h)
        known = np.nan_to_num(outcome)
        sigma = 0.011 * np.sqrt(h)
        mean = 0.3 * sigma * (skill * known / sigma + rng.standard_normal(len(outcome)))
        keys = keys.with_columns(
            pl.Series(f"mean_{h}", mean), pl.Series(f"volatility_{h}", np.full(len(outcome), 0.011))
        )
        outcomes = outcomes.with_columns(
            pl.Series(f"return_{h}", outcome).fill_nan(None),
            pl.Series(f"volatility_{h}", np.abs(outcome) / np.sqrt(h)).fill_nan(None),
        )
    frames["predictions"] = keys.with_columns(score=pl.col("mean_1") / pl.col("volatility_1"))
    frames["outcomes"] = outcomes.with_columns(forward_return=pl.col("return_1"))
    return frames


def breakout_frames(made, skill, rng):
    n = len(made.keys)
    target = rng.choice(6, n, p=[0.40, 0.27, 0.08, 0.03, 0.06, 0.16])
    gain = np.array([0.0, 0.08, 0.2, 0.5, 0.9, -0.15])[target]
    logits = skill * np.eye(6)[target] + 0.5 * rng.standard_normal((n, 6))
    p = softmax(logits)
    value = p @ np.array(STRATEGIC_VALUES)
    signal = np.select(
        [(value < 0) | (p[:, 5] > 0.3), value >= 5, value >= 3, value >= 1],
        ["AVOID", "STRONG", "GOOD", "MODERATE"],
        "NONE",
    )
    predictions = made.keys.with_columns(
        *(pl.Series(f"p_k{k}", p[:, k]) for k in range(6)), ev=value, signal=signal, score=value
    )
    outcomes = made.keys.with_columns(
        forward_return=np.log1p(gain + 0.02 * rng.standard_normal(n)),
        target=target.astype(np.int8),
        best_gain=np.maximum(gain, 0),
        label_start=pl.col("session"),
        label_end=pl.col("session").dt.offset_by("20d"),
    )
    return {"predictions": predictions, "outcomes": outcomes}


def pattern_frames(made, skill, rng):
    n = len(made.keys)
    forward = made.outcomes["forward_return"].to_numpy()
    drift = np.sign(rng.standard_normal(n)).astype(np.int8)
    right = (drift * forward > 0).astype(float)
    predictions, outcomes = made.keys, made.keys.with_columns(forward_return=forward)
    for pattern in PATTERNS:
        outcome = (rng.random(n) < 0.55).astype(np.int8)
        said = 1 / (1 + np.exp(-(skill * (2 * outcome - 1) + 0.5 * rng.standard_normal(n))))
        predictions = predictions.with_columns(pl.Series(f"p_{pattern}", said))
        blank = rng.random(n) < 0.7
        outcomes = outcomes.with_columns(
            pl.Series(
                pattern, [None if b else int(c) for b, c in zip(blank, outcome, strict=True)], dtype=pl.Int8
            )
        )
    confidence = 1 / (1 + np.exp(-(skill * (2 * right - 1) + rng.standard_normal(n))))
    predictions = predictions.with_columns(
        direction=pl.Series(drift), confidence=confidence, score=pl.Series(drift * confidence)
    )
    return {"predictions": predictions, "outcomes": outcomes}


def hybrid_frames(made, skill, rng):
    base = made.inputs(skill)
    n = len(made.keys)
    score = base.predictions["score"].to_numpy()
    confidence = np.clip(0.5 + 0.5 * np.abs(score), 0, 1)
    outcomes = base.outcomes
    predictions = base.predictions.select("symbol", "session", "p_sell", "p_hold", "p_buy")
    for h in (1, 4, 24):
        outcome = returns_ahead(made, h)
        outcomes = outcomes.with_columns(pl.Series(f"return_{h}", np.nan_to_num(outcome)))
        predictions = predictions.with_columns(
            pl.Series(f"return_{h}", 0.01 * np.sqrt(h) * score + 0.002 * rng.standard_normal(n))
        )
    outcomes = outcomes.with_columns(volatility_24=pl.Series(0.01 + 0.002 * rng.random(n)))
    predictions = predictions.with_columns(
        position=score,
        volatility=pl.Series(0.01 + 0.002 * rng.random(n)),
        risk=pl.Series(0.05 + 0.01 * rng.random(n)),
        confidence=confidence,
        score=pl.Series(score * confidence),
    )
    return {"predictions": predictions, "outcomes": outcomes}


FRAMES = {
    "forecast": forecast_frames,
    "breakout": breakout_frames,
    "pattern": pattern_frames,
    "hybrid": hybrid_frames,
}


def task_inputs(made, task, skill=0.0, *, seed=SEED, **changes) -> ReportInputs:
    """Inputs of a task whose forecasts see `skill` of what comes."""
    if task == "direction":
        return made.inputs(skill, **changes)
    frames = FRAMES[task](made, skill, np.random.default_rng(seed))
    frames["predictions"] = with_evidence(frames["predictions"])
    return ReportInputs(bars=made.bars, **(frames | changes))


def members_of(predictions, task, rng, names=("lightgbm", "xgboost", "mamba_attention")):
    """Copies of the study's predictions, each with noise of its own in the score, and its columns as they are."""
    parts = []
    for k, name in enumerate(names):
        noise = k * 0.5 * predictions["score"].std() * rng.standard_normal(predictions.height)
        part = predictions.select(
            "symbol", "session", "fold", "score", *TASKS[task].estimator_columns
        ).with_columns(member=pl.lit(name))
        parts.append(part.with_columns(pl.col("score") + pl.Series(noise)))
    return pl.concat(parts)


def attention_of(predictions, window=60):
    """Attention to late sessions for the first predictions."""
    weight = np.exp(np.linspace(-3, 0, window))
    weight /= weight.sum()
    steps = pl.DataFrame({"step": np.arange(window), "weight": weight})
    return predictions.head(200).select("symbol", "session").join(steps, how="cross")


def extras(inputs, task):
    """Members, their cost, attention, and folds with a training record."""
    rng = np.random.default_rng(SEED)
    members = members_of(inputs.predictions, task, rng)
    months = inputs.predictions["fold"].unique().sort()
    training = (
        members.select("fold", "member")
        .unique()
        .with_columns(
            parameters=pl.col("member").str.len_chars().cast(pl.Int64) * 1000, train_seconds=pl.lit(2.5)
        )
    )
    folds = pl.DataFrame({"fold": months}).with_columns(
        train_start=pl.lit("2017-01-03").str.to_date(),
        train_end=pl.lit("2018-12-20").str.to_date(),
        rows=pl.lit(12345),
        parameters=pl.lit(401_000),
        train_seconds=pl.lit(12.5),
        train_loss=pl.Series(0.60 - 0.01 * rng.random(len(months))),
        validation_loss=pl.Series(0.65 + 0.02 * rng.random(len(months))),
    )
    return {
        "estimator_predictions": members,
        "training": training,
        "attention": attention_of(inputs.predictions),
        "folds": folds,
    }
