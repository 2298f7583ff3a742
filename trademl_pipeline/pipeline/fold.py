"""The rows that a fold learns from and is asked about, read from the lake."""

from dataclasses import dataclass
from datetime import date
from typing import cast

import polars as pl

from trademl_pipeline.folds import Fold, FoldError, NotEnoughHistoryError, WalkForward
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.market.calendar import month_key, offset_month, sessions_before
from trademl_pipeline.pipeline.history import require_months
from trademl_pipeline.sequences.windows import Windows, windows_for
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.studies.spec import REFIT_MONTHS, Refit
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.training.dataset import training_rows

FROM_THE_FIRST = "1900-01-01"


@dataclass(frozen=True)
class FoldRows:
    """The rows of a fold.

    Attributes:
        fold: the fold that trains; its month is `month`, or an earlier one between refits.
        train: training keys with their labels, purged and embargoed.
        test: the decisions that the month may have to take.
    """

    fold: Fold
    train: pl.DataFrame
    test: pl.DataFrame


def calendar_of(study: StudySpec, calendar: str) -> str:
    """Return the calendar that a study's folds count on: its own if it declares one, else the data set's."""
    return study.folds.calendar or calendar


def plan_of(study: StudySpec, calendar: str) -> WalkForward:
    """Return the walk-forward plan of a study on a data set's calendar."""
    folds = study.folds
    return WalkForward(
        calendar=calendar_of(study, calendar),
        min_train=folds.min_train,
        window=folds.window,
        embargo=folds.embargo,
    )


def refit_of(study: StudySpec, refit: str = "") -> Refit:
    """Return how often a study's models are trained: as `refit` says, or the study.

    Raises:
        FoldError: `refit` is no rhythm.
    """
    if refit and refit not in REFIT_MONTHS:
        raise FoldError(f"refit is {refit!r}; it may be {', '.join(REFIT_MONTHS)}")
    return cast(Refit, refit) or study.folds.refit


def fitted_month(
    store: LakeReader,
    study: StudySpec,
    month: str,
    calendar: str,
    refit: str = "",
    snapshot: int | None = None,
) -> str:
    """Return the month whose fold trains the model of `month`: the first of its quarter if refitted quarterly.

    Where the quarter's first month had too little history, the month trains a fold of its own.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        calendar: of the data set.
        refit: how often models are trained; empty: as the study says.
        snapshot: of the lake to read at; None: now.

    Raises:
        FoldError: nothing to learn from, or `refit` is no rhythm.
    """
    months = REFIT_MONTHS[refit_of(study, refit)]
    earlier = offset_month(month, -((int(month[5:7]) - 1) % months))
    if earlier == month:
        return month
    try:
        plan_of(study, calendar).fold(earlier, _first_session(store, study, month, snapshot))
    except NotEnoughHistoryError:
        return month
    return earlier


def fold_rows(
    store: LakeReader,
    study: StudySpec,
    month: str,
    calendar: str,
    snapshot: int | None = None,
    *,
    refit: str = "",
    fitted: str | None = None,
    symbols: frozenset[str] = frozenset(),
) -> FoldRows:
    """Read the fold of a month with its training rows and the decisions it must not touch.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        calendar: of the data set.
        snapshot: of the lake to read at; None: now.
        refit: how often models are trained; empty: as the study says.
        fitted: month whose fold trains, where it is known; None: see `fitted_month`.
        symbols: train on these alone; empty: all.

    Raises:
        FoldError: nothing to learn from, or too little.
    """
    fitted = fitted or fitted_month(store, study, month, calendar, refit, snapshot)
    history = (FROM_THE_FIRST, offset_month(fitted, -1))
    # A fold that learned over a hole would not be the fold its month asks for.
    for table in (study.features, study.windows, study.labels):
        require_months(store, table, *history, reader=f"model_{study.name} {month[:7]}")
    sequences = store.read(study.windows, months=history, snapshot=snapshot)
    labels = store.read(study.labels, months=history, snapshot=snapshot)
    if symbols:
        sequences = sequences.filter(pl.col("symbol").is_in(sorted(symbols)))
    if sequences.is_empty() or labels.is_empty():
        raise FoldError(
            f"fold {month[:7]}: there are no windows or labels before it; materialize {study.windows.name} and "
            f"{study.labels.name} for the months before {month[:7]}"
        )
    plan = plan_of(study, calendar)
    fold = plan.fold(fitted, cast(date, sequences["session"].min()))
    train, test = training_rows(
        sequences, labels, plan, fold, stride=study.train_stride, horizon=study.label_horizon
    )
    return FoldRows(fold, train, test)


def _first_session(store: LakeReader, study: StudySpec, month: str, snapshot: int | None) -> date:
    before = (FROM_THE_FIRST, offset_month(month, -1))
    require_months(store, study.windows, *before, reader=f"model_{study.name} {month[:7]}")
    sequences = store.read(study.windows, months=before, columns=["symbol", "session"], snapshot=snapshot)
    if sequences.is_empty():
        raise FoldError(
            f"fold {month[:7]}: there are no windows before it; materialize {study.windows.name} for the months "
            f"before {month[:7]}"
        )
    return cast(date, sequences["session"].min())


def bars_behind(study: StudySpec) -> list[TableSchema]:
    """Return the bars that a study's windows are made of beside its features: those of patterns have some."""
    return [RAW_BARS] if study.decisions == "pattern_observations" else []


def training_windows(
    store: LakeReader, study: StudySpec, rows: FoldRows, calendar: str, snapshot: int
) -> Windows:
    """Read the windows of a fold's training rows.

    Args:
        store: the lake.
        study: the study.
        rows: of the fold.
        calendar: of the data set.
        snapshot: of the lake that the rows were read at.
    """
    return windows_of_keys(store, study, rows.train, offset_month(rows.fold.month, -1), calendar, snapshot)


def windows_of_keys(
    store: LakeReader,
    study: StudySpec,
    keys: pl.DataFrame,
    last: str,
    calendar: str,
    snapshot: int | None = None,
) -> Windows:
    """Read the windows that end at the decisions in `keys`, over the study's whole feature set.

    Args:
        store: the lake.
        study: the study.
        keys: symbol, session and what else is to be kept.
        last: last month to read.
        calendar: of the data set.
        snapshot: of the lake to read at; None: now.
    """
    names = study.feature_names
    earliest = month_key(cast(date, keys["session"].min()))
    first = month_key(sessions_before(earliest, study.window - 1, calendar))
    months = (FROM_THE_FIRST if study.decisions == "pattern_observations" else first, last)
    features = store.read(study.features, months=months, snapshot=snapshot)
    if study.decisions == "pattern_observations":
        from trademl_pipeline.training.observation_windows import observation_windows

        bars = store.read(RAW_BARS, months=months, snapshot=snapshot)
        return observation_windows(keys, features, names, bars, study.window)
    return windows_for(keys, features, names, study.window)
