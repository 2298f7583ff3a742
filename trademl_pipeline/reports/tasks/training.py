"""Training diagnostics: gap between training and validation by fold, and cross-validation by symbol."""

from typing import Final

import polars as pl

from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import count, number

_PAIRS: Final = (
    ("train_loss", "validation_loss", "loss"),
    ("train_accuracy", "validation_accuracy", "accuracy"),
    ("train_auc", "validation_auc", "AUC"),
)
_ALONE: Final = ("best_iteration", "best_epoch")


_FIGURES: Final = ("auc", "accuracy", "majority", "correlation")


def cross_validation_section(frame: pl.DataFrame | None) -> Section | None:
    """How each symbol did in cross-validation within training data; None where none was done.

    Args:
        frame: symbol, split, and any of rows, auc, accuracy, majority, correlation.
    """
    if frame is None or frame.is_empty():
        return None
    figures = [c for c in _FIGURES if c in frame.columns]
    if not figures:
        return None
    columns = [c for c in ("rows", *figures) if c in frame.columns]
    body = []
    for (symbol,), splits in frame.sort("symbol", "split").group_by("symbol", maintain_order=True):
        cells = [str(symbol), count(splits["split"].n_unique())]
        if "rows" in columns:
            cells.append(count(splits["rows"].sum()))
        body.append([*cells, *(_spread(splits[c]) for c in figures)])
    head = ["symbol", "splits", *(["rows"] if "rows" in columns else []), *figures]
    return Section(
        "cross_validation",
        "Cross-validation by symbol, within training data",
        text=[
            "Models were chosen on such data; the figures above, out of sample, are the ones to judge by. A symbol "
            "whose splits lie far apart tells little by their mean."
        ],
        tables=[Table(head, body, note="Mean over splits, in brackets the least and the greatest.")],
    )


def _spread(values: pl.Series) -> str:
    known = values.drop_nulls().drop_nans()
    if known.is_empty():
        return number(None)
    mean, low, high = (float(v) for v in (known.mean(), known.min(), known.max()))  # pyright: ignore[reportArgumentType]
    return f"{number(mean)} ({number(low)} to {number(high)})"


def training_section(folds: pl.DataFrame | None) -> Section | None:
    """The gap of each fold and how steady it is; None where the folds recorded no pair.

    Args:
        folds: fold and any of train_loss with validation_loss, the same of accuracy and auc, best_iteration.
    """
    if folds is None:
        return None
    pairs = [p for p in _PAIRS if p[0] in folds.columns and p[1] in folds.columns]
    if not pairs:
        return None
    alone = [c for c in _ALONE if c in folds.columns]
    known = folds.sort("fold")
    head = ["fold"]
    for *_, name in pairs:
        head += [f"training {name}", f"validation {name}", "gap"]
    head += [c.replace("_", " ") for c in alone]
    body = []
    for fold in known.iter_rows(named=True):
        cells = [fold["fold"][:7]]
        for first, second, _ in pairs:
            gap = None if None in (fold[first], fold[second]) else fold[second] - fold[first]
            cells += [number(fold[first]), number(fold[second]), number(gap, signed=True)]
        body.append([*cells, *(number(fold[c], 0) for c in alone)])
    text = [_sentence(known, first, second, name) for first, second, name in pairs]
    return Section("training", "How training went", text=text, tables=[Table(head, body)])


def _sentence(folds: pl.DataFrame, first: str, second: str, name: str) -> str:
    gap = (folds[second] - folds[first]).drop_nulls().drop_nans()
    validation = folds[second].drop_nulls().drop_nans()
    if gap.is_empty():
        return f"No fold recorded both a training and a validation {name}."
    worse = gap > 0 if name == "loss" else gap < 0
    spread = f", standard deviation {number(validation.std())}" if len(validation) > 1 else ""  # pyright: ignore[reportArgumentType]
    return (
        f"Validation {name} less training {name} is {number(gap.mean(), signed=True)} on average, and on the worse "  # pyright: ignore[reportArgumentType]
        f"side in {int(worse.sum())} of {len(gap)} folds; validation {name} is {number(validation.mean())} on average"  # pyright: ignore[reportArgumentType]
        f"{spread}. A gap that grows says that the model learns its training rows by heart."
    )
