"""Figures of class probabilities: accuracy, Brier, calibration, recall of rare classes, expected values."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.evaluation.scores import (
    MetricsError,
    Score,
    ratio,
    require,
    score_from_sums,
    session_sums,
)

CLASSES = ("Sell", "Hold", "Buy")
PROBABILITIES = ("p_sell", "p_hold", "p_buy")


def class_accuracy(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    probabilities: Sequence[str] = PROBABILITIES,
    target: str = "target",
) -> Score:
    """Share of rows whose most probable class came; baseline `majority` is the commonest class.

    Args:
        frame: session, one probability column a class in class order, `target` (0 … classes - 1).
        bootstrap: how to draw the interval.
        probabilities: probability columns.
        target: column of the class that came.
    """
    p, y = _class_arrays(frame, probabilities, target)
    right = (p.argmax(axis=1) == y).astype(np.float64)
    sums = session_sums(frame["session"], [right, np.ones(len(y))])
    shares = np.bincount(y, minlength=p.shape[1]) / len(y)
    return score_from_sums(
        "class accuracy",
        sums,
        ratio,
        bootstrap,
        n=len(y),
        bounds=(0, 1),
        baselines={"majority": float(shares.max())},
    )


def brier(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    probabilities: Sequence[str] = PROBABILITIES,
    target: str = "target",
) -> Score:
    """Multi-class Brier score: mean of the sum over classes of (p - came)²; 0 is perfect, 2 the worst.

    Args:
        frame: session, probability columns in class order, `target`.
        bootstrap: how to draw the interval.
        probabilities: probability columns.
        target: column of the class that came.

    Returns:
        Score with baselines `frequencies` (always saying the class shares of these rows) and `uniform`.
    """
    p, y = _class_arrays(frame, probabilities, target)
    outcome = np.eye(p.shape[1])[y]
    sums = session_sums(frame["session"], [((p - outcome) ** 2).sum(axis=1), np.ones(len(y))])
    shares = outcome.mean(axis=0)
    baselines = {"frequencies": float(1 - (shares**2).sum()), "uniform": 1 - 1 / p.shape[1]}
    return score_from_sums("Brier", sums, ratio, bootstrap, n=len(y), bounds=(0, 2), baselines=baselines)


def reliability(
    frame: pl.DataFrame,
    *,
    probabilities: Sequence[str] = PROBABILITIES,
    target: str = "target",
    bins: int = 10,
) -> pl.DataFrame:
    """Predicted against observed frequency, class by class and for the most probable class.

    Args:
        frame: session, probability columns in class order, `target`.
        probabilities: probability columns.
        target: column of the class that came.
        bins: equal-width bins of [0, 1].

    Returns:
        series (a probability column's name, or "top" for the most probable class), bin (0 …), low, high (bin
        edges), n, predicted (mean probability), observed (share that came); empty bins are absent.
    """
    p, y = _class_arrays(frame, probabilities, target)
    series = {name: (p[:, k], y == k) for k, name in enumerate(probabilities)}
    series["top"] = (p.max(axis=1), p.argmax(axis=1) == y)
    parts: list[pl.DataFrame] = []
    for name, (probability, outcome) in series.items():
        index = _bin(probability, bins)
        n = np.bincount(index, minlength=bins)
        filled_bins = np.flatnonzero(n)
        parts.append(
            pl.DataFrame(
                {
                    "series": [name] * len(filled_bins),
                    "bin": filled_bins,
                    "low": filled_bins / bins,
                    "high": (filled_bins + 1) / bins,
                    "n": n[filled_bins],
                    "predicted": np.bincount(index, probability, bins)[filled_bins] / n[filled_bins],
                    "observed": np.bincount(index, outcome, bins)[filled_bins] / n[filled_bins],
                }
            )
        )
    return pl.concat(parts)


def expected_calibration_error(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    probabilities: Sequence[str] = PROBABILITIES,
    target: str = "target",
    bins: int = 10,
) -> Score:
    """Mean over rows of |observed - predicted| frequency of the most probable class, by equal-width bins.

    Even a perfectly calibrated forecast scores above 0 on finitely many rows; baseline `sampling` is what it
    would score were the rows independent (a lower bound when they are not).

    Args:
        frame: session, probability columns in class order, `target`.
        bootstrap: how to draw the interval.
        probabilities: probability columns.
        target: column of the class that came.
        bins: equal-width bins of [0, 1].
    """
    p, y = _class_arrays(frame, probabilities, target)
    top = p.max(axis=1)
    gap = (p.argmax(axis=1) == y) - top
    index = _bin(top, bins)
    columns = [np.where(index == b, gap, 0.0) for b in range(bins)]
    sums = session_sums(frame["session"], [*columns, np.ones(len(y))])

    def error(totals: np.ndarray) -> np.ndarray:
        return np.abs(totals[..., :-1]).sum(axis=-1) / totals[..., -1]

    noise = np.sqrt(np.bincount(index, top * (1 - top), bins))
    sampling = float(math.sqrt(2 / math.pi) * noise.sum() / len(y))
    return score_from_sums(
        "expected calibration error",
        sums,
        error,
        bootstrap,
        n=len(y),
        bounds=(0, 1),
        baselines={"sampling": sampling},
    )


def recall(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    classes: Sequence[int],
    predicted: str = "predicted",
    target: str = "target",
    name: str | None = None,
) -> Score:
    """Share of the rows of `classes` predicted to be of `classes`: K4 recall is (4,), K3+K4 recall (3, 4).

    Args:
        frame: session, `predicted` and `target` class numbers.
        bootstrap: how to draw the interval; sessions without a positive row are drawn too.
        classes: the classes that count as positive.
        predicted: column of the predicted class.
        target: column of the class that came.
        name: name of the score; the classes by default.

    Returns:
        Score whose n is the number of positive rows (value None when there is none); baseline `at_random` is
        the share of all rows predicted positive, the recall of as many calls made blindly.
    """
    require(frame, ("session", predicted, target))
    outcome = frame[target].is_in(list(classes)).cast(pl.Float64)
    called = frame[predicted].is_in(list(classes)).cast(pl.Float64)
    sums = session_sums(frame["session"], [outcome * called, outcome])
    return score_from_sums(
        name or "+".join(f"K{c}" for c in classes) + " recall",
        sums,
        ratio,
        bootstrap,
        n=int(outcome.sum()),
        bounds=(0, 1),
        baselines={"at_random": float(called.mean())},  # pyright: ignore[reportArgumentType]
    )


def ev_correlation(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    expected: str = "expected_value",
    realised: str = "realised_value",
) -> Score:
    """Pearson correlation over all rows of the expected value and the value of the class that came.

    Args:
        frame: session, `expected` (sum of probability times strategic value), `realised` (strategic value).
        bootstrap: how to draw the interval.
        expected: column of the expected value.
        realised: column of the value that came.

    Returns:
        Score with value None where either column is constant; baseline `none` is 0.
    """
    return correlation(frame, bootstrap, predicted=expected, actual=realised, name="EV correlation")


def correlation(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    predicted: str,
    actual: str,
    name: str = "correlation",
) -> Score:
    """Pearson correlation over all rows of what was predicted and what came.

    Args:
        frame: session, `predicted`, `actual`.
        bootstrap: how to draw the interval.
        predicted, actual: columns, on any scale.
        name: name of the score.

    Returns:
        Score with value None where either column is constant; baseline `none` is 0.
    """
    require(frame, ("session", predicted, actual))
    x, y = (_standard(frame[c].cast(pl.Float64).to_numpy()) for c in (predicted, actual))
    sums = session_sums(frame["session"], [x, y, x * x, y * y, x * y, np.ones(len(x))])

    def pearson(totals: np.ndarray) -> np.ndarray:
        sx, sy, sxx, syy, sxy, n = np.moveaxis(totals, -1, 0)
        vx, vy = sxx - sx * sx / n, syy - sy * sy / n
        return np.where(
            (vx > 1e-12) & (vy > 1e-12),
            (sxy - sx * sy / n) / np.sqrt(np.maximum(vx, 1e-300) * np.maximum(vy, 1e-300)),
            np.nan,
        )

    return score_from_sums(name, sums, pearson, bootstrap, n=len(x), bounds=(-1, 1), baselines={"none": 0.0})


def _standard(x: np.ndarray) -> np.ndarray:
    """Centred and scaled, so that returns of a hundredth of a percent lose no digits; 0 where constant."""
    centred = x - x.mean()
    scale = centred.std()
    return centred / scale if scale > 1e-12 * max(1.0, float(np.abs(x).max())) else np.zeros(len(x))


def roc_auc(
    frame: pl.DataFrame,
    bootstrap: Bootstrap | None,
    *,
    score: str = "score",
    target: str = "target",
    within: str | None = None,
) -> Score:
    """Area under the ROC curve: how often a row that came true scores above one that did not; ties count half.

    The interval draws whole sessions of the rows' placements, the share of the other class that each lies
    above: the first-order expansion behind the variance of DeLong et al. (1988), which leaves the figure a
    function of sums over sessions.

    Args:
        frame: session, `score` (any scale), `target` (1 came true, 0 did not).
        bootstrap: how to draw the interval.
        score: column of the probability.
        target: column of what came.
        within: column of groups; pairs are compared within a group only, so that telling groups apart that come
            true more and less often counts for nothing.

    Returns:
        Score with value None where only one class came; baseline `chance` is 0.5.
    """
    require(frame, ("session", score, target, *([within] if within else [])))
    if not frame[target].cast(pl.Float64).is_in((0.0, 1.0)).all():
        raise MetricsError(f"column {target!r} holds other values than 0 and 1")
    groups = [within] if within else [pl.lit(0)]
    n = {c: (pl.col(target) == c).sum().over(groups) for c in (0, 1)}
    # Ranks among all less ranks among one's own count the others below.
    ranked = frame.select(
        pl.col("session"),
        outcome=pl.col(target).cast(pl.Float64),
        positives=n[1].cast(pl.Float64),
        negatives=n[0].cast(pl.Float64),
        below=pl.col(score).rank("average").over(groups)
        - pl.col(score).rank("average").over(*groups, target),
    ).filter((pl.col("positives") > 0) & (pl.col("negatives") > 0))
    if ranked.is_empty():
        sessions = frame["session"].n_unique()
        return Score("AUC", None, None, None, frame.height, sessions, baselines={"chance": 0.5})
    outcome, positives, negatives, below = (
        ranked[c].to_numpy() for c in ("outcome", "positives", "negatives", "below")
    )
    placement = np.where(outcome == 1, below / negatives, 1 - below / positives)
    # A pair counts once, whatever its group: so a row counts for as many as there are of the other class.
    up, down = outcome * negatives, (1 - outcome) * positives
    area = float((placement * up).sum() / up.sum())
    sums = session_sums(ranked["session"], [placement * up, up, placement * down, down])

    def expansion(totals: np.ndarray) -> np.ndarray:
        return totals[..., 0] / totals[..., 1] + totals[..., 2] / totals[..., 3] - area

    return score_from_sums(
        "AUC", sums, expansion, bootstrap, n=ranked.height, bounds=(0, 1), baselines={"chance": 0.5}
    )


def _class_arrays(
    frame: pl.DataFrame, probabilities: Sequence[str], target: str
) -> tuple[np.ndarray, np.ndarray]:
    require(frame, ("session", *probabilities, target))
    p = frame.select(probabilities).to_numpy().astype(np.float64)
    y = frame[target].cast(pl.Int64).to_numpy()
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise MetricsError(f"column {target!r} holds classes outside 0 … {p.shape[1] - 1}")
    off = np.abs(p.sum(axis=1) - 1).max()
    if p.min() < 0 or off > 1e-4:
        raise MetricsError(
            f"columns {list(probabilities)} are no probabilities: the least is {p.min():.4g}, "
            f"rows differ from 1 by up to {off:.4g}"
        )
    return p, y


def _bin(probability: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((probability * bins).astype(np.int64), bins - 1)
