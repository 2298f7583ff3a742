"""Views into a network: attention over time, permutation importance, integrated gradients.

SHAP of trees is in `trees.classes.shap_values`. All of it is for rows inside the fold (the inner validation rows)
or for reports on predictions already made; nothing here selects anything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch  # noqa: TID253

from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.registry import TASKS
from trademl_pipeline.training.estimators import TrainingContext, subsampled
from trademl_pipeline.training.fitted_study import FittedStudy
from trademl_pipeline.training.inner_split import inner_split
from trademl_pipeline.training.networks.predict import PREDICT_BATCH, Outputs, tensors
from trademl_pipeline.training.saved import NETWORK


def attention_over_time(model: Prepared, windows: Windows) -> pl.DataFrame:
    """Mean attention weight of each step, over windows in which the step is real.

    Returns:
        steps_back (Int64, 0 is the decision's session), weight, windows (how many have the step); sorted.

    Raises:
        ValueError: the network has no attention.
    """
    total, count = np.zeros(windows.length), np.zeros(windows.length)
    for _, weights, mask in _attention(model, windows):
        total += weights.sum(axis=0)
        count += mask.sum(axis=0)
    back = np.arange(windows.length)[::-1].copy()
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return pl.DataFrame({"steps_back": back, "weight": mean, "windows": count.astype(np.int64)}).sort(
        "steps_back"
    )


def attention_by_window(model: Prepared, windows: Windows) -> pl.DataFrame:
    """Attention weight of each real step of each window: what `reports.ReportInputs.attention` takes.

    Returns:
        symbol, session, step (Int64; 0 is the window's oldest place, which may be padding and is absent then,
        length - 1 the decision's session), weight; the weights of a window sum to 1.

    Raises:
        ValueError: the network has no attention.
    """
    parts = []
    for position, weights, mask in _attention(model, windows):
        row, step = np.nonzero(mask)
        keys = windows.keys.select("symbol", "session")[position[row]]
        parts.append(
            keys.with_columns(step=pl.Series(step, dtype=pl.Int64), weight=pl.Series(weights[row, step]))
        )
    schema = {**windows.keys.select("symbol", "session").schema, "step": pl.Int64, "weight": pl.Float64}
    return pl.concat(parts).cast({"weight": pl.Float64}) if parts else pl.DataFrame(schema=schema)


def _attention(model: Prepared, windows: Windows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, weights (batch, time) and mask (batch, time) of every batch."""
    if not hasattr(model.network, "attention_weights"):
        raise ValueError(f"{type(model.network).__name__} has no attention over time to show")
    model.eval()
    with torch.no_grad():
        for position in _batches(len(windows)):
            x, mask, _, _ = tensors(windows, position, model.centre.device)
            weights = model.network.attention_weights(model.prepare(x, mask), mask)  # pyright: ignore
            yield position, weights.cpu().numpy(), mask.cpu().numpy().astype(bool)


def permutation_importance(
    model: Prepared,
    windows: Windows,
    score: Callable[[Outputs, Windows], float],
    names: Sequence[str],
    *,
    seed: int,
    repeats: int = 3,
) -> pl.DataFrame:
    """Fall of the score when a feature's whole path is swapped between windows.

    Args:
        model: the network.
        windows: rows to judge on; of the inner validation side, never of the test fold.
        score: of outputs, higher is better.
        names: of the features.
        seed: of the permutations.
        repeats: permutations of each feature.

    Returns:
        feature, importance (mean fall), deviation (over the repeats); largest first.
    """
    if len(names) != windows.features:
        raise ValueError(f"{len(names)} names for {windows.features} features")
    rng = np.random.default_rng(seed)
    base = score(_predict_swapped(model, windows, None, None), windows)
    rows = []
    for feature, name in enumerate(names):
        falls = []
        for _ in range(repeats):
            order = rng.permutation(len(windows))
            falls.append(base - score(_predict_swapped(model, windows, feature, order), windows))
        rows.append((name, float(np.mean(falls)), float(np.std(falls))))
    columns = ["feature", "importance", "deviation"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("importance", descending=True)


def study_importance(
    fitted: FittedStudy, windows: Windows, context: TrainingContext, *, rows: int = 200
) -> dict[str, float]:
    """How much the study's first base learner uses each feature, as shares, largest first.

    Trees: share of the gain. Networks: share of the rise in loss on inner validation rows when the feature's
    whole path is swapped between windows; a fall counts as 0. Empty for the linear model, and where no swap
    costs anything.

    Args:
        fitted: the fold's models.
        windows: the fold's training windows over `context.names`, keys with the labels.
        context: what the fold was fitted with.
        rows: most validation rows to judge on, drawn.
    """
    estimator = fitted.estimators[fitted.base_learners[0]]
    if estimator.saved.kind != NETWORK:
        return dict(sorted(estimator.importance.items(), key=lambda item: -item[1]))
    split = inner_split(
        windows.keys, validation_sessions=context.validation_sessions, embargo=context.embargo
    )
    validation = subsampled(windows.take(split.validation), rows, context.seed)
    task, columns = TASKS[fitted.task], [context.names.index(name) for name in fitted.names]
    validation = replace(
        validation, matrix=validation.matrix[:, columns], targets=task.targets(validation.keys)
    )
    loss = task.loss(validation)
    targets = {name: torch.tensor(values) for name, values in validation.targets.items()}

    def score(outputs: Outputs, _: Windows) -> float:
        with torch.no_grad():
            return -float(loss({name: torch.from_numpy(v) for name, v in outputs.items()}, targets))

    table = permutation_importance(
        estimator.saved.model, validation, score, fitted.names, seed=context.seed, repeats=1
    )
    rise = table.filter(pl.col("importance") > 0)
    return dict(zip(rise["feature"], (rise["importance"] / rise["importance"].sum()).to_list(), strict=True))


def integrated_gradients(
    model: Prepared,
    windows: Windows,
    output: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    steps: int = 32,
) -> np.ndarray:
    """Share of each step's feature in an output, against a window of medians (Sundararajan et al. 2017).

    The shares of a window add up to the output's difference to that of the median window, up to the error
    of the midpoint rule.

    Args:
        model: the network.
        windows: rows to explain.
        output: (batch,) from the network's outputs, e.g. the Buy logit.
        steps: points on the straight path.

    Returns:
        (n, length, features).
    """
    model.eval()
    parts = []
    for position in _batches(len(windows), size=64):
        x, mask, inputs, _ = tensors(windows, position, model.centre.device)
        scaled = model.prepare(x, mask)
        total = torch.zeros_like(scaled)
        for k in range(steps):
            point = (scaled * ((k + 0.5) / steps)).requires_grad_()
            value = output(model.network(point, mask, **inputs)).sum()
            total += torch.autograd.grad(value, point)[0]
        parts.append((total / steps * scaled).cpu().numpy())
    return np.concatenate(parts)


def _predict_swapped(
    model: Prepared, windows: Windows, feature: int | None, order: np.ndarray | None
) -> Outputs:
    model.eval()
    parts = []
    with torch.no_grad():
        for position in _batches(len(windows)):
            x, mask, inputs, _ = tensors(windows, position, model.centre.device)
            if feature is not None and order is not None:
                other_x, other_mask, _, _ = tensors(windows, order[position], model.centre.device)
                # where the other window has no step, the value is missing, as the model knows it
                swapped = other_x[..., feature].masked_fill(~other_mask, float("nan"))
                x = x.clone()
                x[..., feature] = swapped
            parts.append({k: v.cpu() for k, v in model(x, mask, **inputs).items()})
    return {name: torch.cat([p[name] for p in parts]).numpy() for name in parts[0]}


def _batches(n: int, size: int = PREDICT_BATCH):
    return (np.arange(first, min(first + size, n)) for first in range(0, n, size))
