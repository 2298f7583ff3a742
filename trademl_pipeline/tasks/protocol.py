"""The protocol of a task: everything that the rest of the package may ask of one.

A task stands between tables and models. It turns label columns into the targets of a network or of trees, a model's
outputs into one row of numbers a sample (so that estimators of an ensemble can be averaged), and that row into the
columns that are published; and it declares what promotion and reports measure them by. A task derives from `Task` and
fills in all that is abstract. What it may lack is an attribute that is None by default: an ability is declared, never
probed.

Importing this module does not import torch.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.tasks.report_spec import ReportSpec

if TYPE_CHECKING:
    from torch import nn

Outputs = Mapping[str, np.ndarray]
"""Outputs of a network, or targets of its loss, by name."""
BinaryCalls = Callable[[np.ndarray, pl.DataFrame], tuple[np.ndarray, np.ndarray]]
"""(values, keys) -> (probabilities, outcomes of 0 and 1), one entry a call, one after another."""
SCORE = "score"
"""The published column that ranks: higher is better, 0 calls nothing."""


@dataclass(frozen=True)
class Values:
    """The ability of a task whose columns are numbers: what trees, linear models and ensemble weights learn from.

    Attributes:
        y_true: `y_true(keys)`: outcomes, (rows, columns of the task), NaN where there is no label.
        y: `y(targets)`: what is learned, of the same shape.
        log_scale: columns above 0, regressed as logarithms; a level that is to be right for a whole session together.
        probabilities: columns that are probabilities.
        simplexes: groups of probability columns that sum to 1.
        volatility_scaled: return column -> volatility column in units of which a linear model regresses it.
        horizons: return column -> sessions that it reaches ahead, for ensembles weighted by horizon.
    """

    y_true: Callable[[pl.DataFrame], np.ndarray]
    y: Callable[[Outputs], np.ndarray]
    log_scale: tuple[str, ...] = ()
    probabilities: tuple[str, ...] = ()
    simplexes: tuple[tuple[str, ...], ...] = ()
    volatility_scaled: Mapping[str, str] = field(default_factory=dict)
    horizons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A score that a challenger is compared with the champion by, row by row.

    Attributes:
        name: for the record of the decision.
        scores: `scores(task, values, outcomes, context)`: (rows,), higher is better. values: (rows, columns of the
            task); outcomes: session, forward_return and the task's labels; context: as for `Task.to_predictions`; all
            aligned.
    """

    name: str
    scores: Callable[["Task", np.ndarray, pl.DataFrame, pl.DataFrame], np.ndarray]


class Task(Protocol):
    """The question that a study asks of its models. Declared in one file, listed in `registry.TASKS`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Key in `registry.TASKS`, which studies and configurations name."""
        ...

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Return the names of what an estimator predicts, in order; its predictions are (rows, len(columns))."""
        ...

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Label columns that training rows must have."""
        ...

    @property
    @abstractmethod
    def output_schema(self) -> Mapping[str, Any]:
        """Name -> Polars type of the columns of the predictions table, `score` last."""
        ...

    @property
    @abstractmethod
    def column_docs(self) -> Mapping[str, str]:
        """Return what each published column is, with its unit, as the UI shows it."""
        ...

    @property
    @abstractmethod
    def comparison(self) -> Comparison:
        """Return what promotion compares by, see `Comparison`."""
        ...

    @property
    @abstractmethod
    def report(self) -> ReportSpec:
        """Return what a validation report needs to know."""
        ...

    @property
    def context(self) -> tuple[str, ...]:
        """Features of the sample's own session that `to_predictions` reads."""
        return ()

    @property
    def epoch_metrics(self) -> tuple[str, ...]:
        """Names of the figures that `metric` gives, which a network may be stopped by; () where the loss is all."""
        return ()

    @property
    def class_label(self) -> str | None:
        """The label, of that name in `labels` and in `targets`, that holds the number of the class.

        None where the columns are not the probabilities of one set of classes; class trees, calibration, stacking and
        the search of hyper-parameters need it.
        """
        return None

    @property
    def values(self) -> Values | None:
        """How the columns are learned as numbers; None where they are classes, or only networks can learn them."""
        return None

    @property
    def selection_label(self) -> str | None:
        """The label of classes by which features are selected; None where none can be."""
        return self.class_label

    @property
    def binary_calls(self) -> BinaryCalls | None:
        """Outcomes of 0 and 1 with the probabilities given to them, for cross-validation; None: there are none."""
        return None

    @property
    def predicted(self) -> tuple[str, ...]:
        """The published columns beside the score."""
        return tuple(column for column in self.output_schema if column != SCORE)

    @property
    def estimator_columns(self) -> tuple[str, ...]:
        """Columns that a report reads of each estimator's predictions, beside its keys and score."""
        return tuple(column for column in self.predicted if column not in self.report.not_of_estimators)

    @abstractmethod
    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """Give the targets by the names that the loss takes.

        Args:
            keys: symbol, session, label_end and the `labels`, one row a sample.

        Returns:
            Arrays (rows,) or (rows, n), aligned with `keys`; NaN: no label.
        """
        ...

    @abstractmethod
    def loss(self, windows: Windows) -> "nn.Module":
        """Build the loss of a network.

        Args:
            windows: the inner training rows, from whose targets it takes its scales.
        """
        ...

    @abstractmethod
    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Measure an epoch.

        Args:
            outputs: of the network, on the inner validation rows.
            windows: these rows.

        Returns:
            A figure for each of `epoch_metrics`, higher is better.
        """
        ...

    @abstractmethod
    def from_network(self, outputs: Outputs) -> np.ndarray:
        """Turn the outputs of a network into (rows, columns) float64."""
        ...

    @abstractmethod
    def to_predictions(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """Turn a table of model values into the predictions that are published.

        Args:
            values: (rows, columns).
            context: the `context` features of the same rows.

        Returns:
            The `output_schema` columns, derived ones and `score` included.
        """
        ...
