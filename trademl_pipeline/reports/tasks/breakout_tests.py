"""The five validation tests of the breakout design, each passed, failed or undecided, with the figures behind it.

The design names the tests and prints figures of each but few marks; those below are ours, fixed beforehand. Every
prediction here is out of sample, so "past" is the earlier half of the scored sessions and "recent" the later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.forecast_scores import difference_of_means
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import with_interval
from trademl_pipeline.reports.tasks.published import BREAKOUT_TARGETS
from trademl_pipeline.reports.text import count, number, percent, plural
from trademl_pipeline.tasks.breakout import K4, PROBABILITIES

State = Literal["passed", "failed", "undecided"]
FAILED: Final = "failed"
SUSPICIOUS_EXCESS: Final = 0.05
"""Accuracy of the past surely above the recent one by more than this is suspicious."""
INCONSISTENT: Final = 0.10
"""Recall of halves that surely differs, and by more than this, is inconsistent."""
MIN_K4: Final = 5
"""Fewest rows of K4 in a half to compare."""
HIGH_DRIFT: Final = 0.5
"""Kullback-Leibler divergence above this is a high drift; above half of it a moderate one."""


@dataclass(frozen=True)
class Test:
    """One test.

    Attributes:
        name: what it is called.
        state: passed, failed, or undecided where too little is known.
        figures: what was found.
        rule: when it passes.
        leak: whether failing means a leak.
        data: the figures as plain values.
    """

    __test__ = False

    name: str
    state: State
    figures: str
    rule: str
    leak: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


def validation_tests(
    called: pl.DataFrame, inputs: ReportInputs, config: ReportConfig, correlation: Score
) -> list[Test]:
    """All five.

    Args:
        called: scored rows with `predicted` and `target`.
        inputs: predictions, sequences and folds, for their clocks.
        config: how to measure.
        correlation: EV correlation of the rows.
    """
    sessions = called["session"].unique().sort()
    halved = called.with_columns(early=pl.col("session") < sessions[len(sessions) // 2])
    return [
        temporal_sequence(inputs),
        future_contamination(halved, config),
        recall_consistency(halved, config),
        ev_correlation(correlation),
        class_drift(halved),
    ]


def temporal_sequence(inputs: ReportInputs) -> Test:
    """Test whether every input, window and training set lies before the decision, and every label after it."""
    checked: dict[str, tuple[int, int]] = {}
    predictions = inputs.predictions
    for name, frame in (("predictions", predictions), ("sequences", inputs.sequences)):
        if frame is not None and {"knowledge_time", "decision_time"} <= set(frame.columns):
            late = (pl.col("knowledge_time") > pl.col("decision_time")).fill_null(True)
            checked[f"inputs of {name} known after the decision"] = _violations(frame, late)
    if inputs.sequences is not None:
        lacking = predictions.join(inputs.sequences, on=["symbol", "session"], how="anti").height
        checked["predictions without a sequence"] = (predictions.height, lacking)
        if "window_start" in inputs.sequences.columns:
            backwards = (pl.col("window_start") > pl.col("session")).fill_null(True)
            checked["windows beginning after the observation"] = _violations(inputs.sequences, backwards)
    if "label_start" in inputs.outcomes.columns:
        early = (pl.col("label_start") < pl.col("session")).fill_null(True)
        checked["labels beginning before the observation"] = _violations(inputs.outcomes, early)
    if inputs.folds is not None and "train_end" in inputs.folds.columns:
        first = predictions.group_by("fold").agg(pl.col("session").min().alias("first"))
        overlap = (pl.col("train_end") >= pl.col("first")).fill_null(True)
        checked["folds trained into their test"] = _violations(inputs.folds.join(first, on="fold"), overlap)
    broken = {name: bad for name, (_, bad) in checked.items() if bad}
    read = {"predictions": predictions.height}
    if inputs.sequences is not None:
        read["sequences"] = inputs.sequences.height
    if inputs.folds is not None and "train_end" in inputs.folds.columns:
        read["folds"] = inputs.folds.height
    if not any("known after" in name for name in checked):
        state, figures = "undecided", "the predictions carry no knowledge and decision times"
    else:
        state = FAILED if broken else "passed"
        figures = ", ".join(f"{n:,} {what}" for what, n in read.items()) + " checked, "
        figures += ", ".join(f"{n:,} {what}" for what, n in broken.items()) or "0 violations"
    rule = "no input, window or training set reaches past the decision, and no label before it"
    return Test("Temporal sequence", state, figures, rule, True, {"violations": broken, "checked": read})


def future_contamination(halved: pl.DataFrame, config: ReportConfig) -> Test:
    """Test whether the past is predicted suspiciously better than the recent.

    Out of sample that may be a leak into old data, or an edge that has faded: a reason to look, and not to trade,
    but no proof of a leak.
    """
    right = halved.with_columns(right=(pl.col("predicted") == pl.col("target")).cast(pl.Float64))
    early = pl.col("early")
    gap = difference_of_means(
        right, config.bootstrap, value="right", first=early, second=~early, name="past less recent accuracy"
    )
    past, recent = (
        right.filter(e).select(pl.col("right").mean()).item() if right.select(e.any()).item() else None
        for e in (early, ~early)
    )
    rule = f"past accuracy is not surely above the recent by more than {percent(SUSPICIOUS_EXCESS, 0)}"
    data = {"past": past, "recent": recent, "difference": gap.to_dict()}
    if past is None or recent is None or gap.low is None:
        return Test("Future contamination", "undecided", "too few sessions", rule, data=data)
    state: State = FAILED if gap.low > SUSPICIOUS_EXCESS else "passed"
    text = f"past accuracy {percent(past)}, recent {percent(recent)}, difference {with_interval(gap, 'points')} points"
    return Test("Future contamination", state, text, rule, data=data)


def recall_consistency(halved: pl.DataFrame, config: ReportConfig) -> Test:
    """Test whether K4 is as often the most probable where it comes in the earlier half as in the later.

    Calls of what is likelier than usual would not do: some are made whatever the model knows.
    """
    recalled = halved.with_columns(recalled=pl.col("predicted").is_in(K4).cast(pl.Float64))
    k4, early = pl.col("target").is_in(K4), pl.col("early")
    gap = difference_of_means(
        recalled,
        config.bootstrap,
        value="recalled",
        first=k4 & early,
        second=k4 & ~early,
        name="early less late K4 recall",
    )
    parts = [metrics.recall(recalled.filter(e), None, classes=K4) if recalled.select(e.any()).item() else None
             for e in (early, ~early)]  # fmt: skip
    min_rows = min(p.n if p else 0 for p in parts)
    rule = f"the halves do not surely differ by more than {percent(INCONSISTENT, 0)}"
    data = {"early": _value(parts[0]), "late": _value(parts[1]), "difference": gap.to_dict()}
    if min_rows < MIN_K4 or gap.low is None or gap.high is None or gap.value is None:
        text = f"{plural(min_rows, 'row')} of K4 in the poorer half, {MIN_K4} are needed"
        return Test("K4 recall consistency", "undecided", text, rule, data=data)
    if not any(_value(p) for p in parts):
        text = "K4 is never called where it came; there is nothing to be consistent"
        return Test("K4 recall consistency", "undecided", text, rule, data=data)
    inconsistent = abs(gap.value) > INCONSISTENT and gap.excludes(0.0)
    text = (
        f"K4 most probable where it came: earlier {percent(_value(parts[0]))}, later {percent(_value(parts[1]))}, "
        f"difference {with_interval(gap, 'points')} points"
    )
    return Test("K4 recall consistency", FAILED if inconsistent else "passed", text, rule, data=data)


def ev_correlation(correlation: Score) -> Test:
    """Test whether expected and realised values correlate as the design aims at."""
    target = BREAKOUT_TARGETS["EV correlation"]
    rule = f"the correlation is above {number(target, 2)}"
    if correlation.value is None:
        return Test("EV correlation", "undecided", "one of the two does not vary", rule)
    state: State = "passed" if correlation.value > target else FAILED
    text = f"correlation {with_interval(correlation, 'signed')} over {count(correlation.n)} rows"
    return Test(
        "EV correlation", state, text, rule, data={"correlation": correlation.value, "target": target}
    )


def class_drift(halved: pl.DataFrame) -> Test:
    """Test whether the mean predicted distribution of the classes has moved between the halves."""
    early, late = halved.filter("early"), halved.filter(~pl.col("early"))
    rule = (
        f"the divergence of the later predicted classes from the earlier is at most {number(HIGH_DRIFT, 1)}"
    )
    if early.is_empty() or late.is_empty():
        return Test("Class drift", "undecided", "one session only", rule)
    drift = kl(_predicted_shares(late), _predicted_shares(early))
    outcome_drift = kl(_outcome_shares(late), _outcome_shares(early))
    bias = kl(_predicted_shares(halved), _outcome_shares(halved))
    level = "low" if drift <= HIGH_DRIFT / 2 else "moderate" if drift <= HIGH_DRIFT else "high"
    text = (
        f"KL divergence {number(drift)} of later from earlier predictions ({level}); of what came "
        f"{number(outcome_drift)}; of predictions from what came {number(bias)}"
    )
    data = {"predicted": drift, "came": outcome_drift, "predicted_from_came": bias}
    return Test("Class drift", FAILED if level == "high" else "passed", text, rule, data=data)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence of p from q in nats; both must be positive and sum to 1."""
    return float((p * np.log(p / q)).sum())


def _predicted_shares(rows: pl.DataFrame) -> np.ndarray:
    p = rows.select(PROBABILITIES).to_numpy().mean(axis=0)
    p = np.maximum(p, 1e-9)
    return p / p.sum()


def _outcome_shares(rows: pl.DataFrame) -> np.ndarray:
    """Class shares, half a row added to each class so that none is 0."""
    n = np.bincount(rows["target"].cast(pl.Int64).to_numpy(), minlength=len(PROBABILITIES)) + 0.5
    return n / n.sum()


def _violations(frame: pl.DataFrame, broken: pl.Expr) -> tuple[int, int]:
    return frame.height, int(frame.select(broken.sum()).item() or 0)


def _value(score: Score | None) -> float | None:
    return score.value if score else None
