"""Frames of every task, made on the market of `conftest` with forecasts of chosen skill."""

import numpy as np
import polars as pl

from trademl_pipeline.labels.breakout import STRATEGIC_VALUES
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.reports import ReportInputs
from trademl_pipeline.reports.tasks.spec import PATTERNS

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
    return frame.with_columns(
        fold=month_expr(),
        model_run=pl.lit("0123456789abcdef"),
        snapshot=pl.lit(41),
        certificate=pl.lit("c" * 64),
    )


def forecast_frames(made, skill, rng):
    frames = {}
    keys, outcomes = made.keys, made.keys
    for h in (1, 30):
        came = returns_ahead(made, h)
        known = np.nan_to_num(came)
        sigma = 0.011 * np.sqrt(h)
        mean = 0.3 * sigma * (skill * known / sigma + rng.standard_normal(len(came)))
        keys = keys.with_columns(
            pl.Series(f"mean_{h}", mean), pl.Series(f"volatility_{h}", np.full(len(came), 0.011))
        )
        outcomes = outcomes.with_columns(
            pl.Series(f"return_{h}", came).fill_nan(None),
            pl.Series(f"volatility_{h}", np.abs(came) / np.sqrt(h)).fill_nan(None),
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
        came = (rng.random(n) < 0.55).astype(np.int8)
        said = 1 / (1 + np.exp(-(skill * (2 * came - 1) + 0.5 * rng.standard_normal(n))))
        predictions = predictions.with_columns(pl.Series(f"p_{pattern}", said))
        blank = rng.random(n) < 0.7
        outcomes = outcomes.with_columns(
            pl.Series(
                pattern, [None if b else int(c) for b, c in zip(blank, came, strict=True)], dtype=pl.Int8
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
        came = returns_ahead(made, h)
        outcomes = outcomes.with_columns(pl.Series(f"return_{h}", np.nan_to_num(came)))
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
