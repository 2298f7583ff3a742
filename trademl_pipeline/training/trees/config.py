"""Hyper-parameters of boosted trees."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TreeConfig:
    """Settings that both libraries have in common.

    Attributes:
        n_classes: classes are 0 … n_classes - 1.
        max_rounds: most boosting rounds; exactly as many when `early_stopping` is 0.
        learning_rate: shrinkage of each tree.
        early_stopping: rounds without better log loss on the inner validation rows before stopping; 0 turns
            it off.
        validation_sessions: last training sessions that choose the number of rounds.
        embargo: sessions between the last label learnt from and the first validation session.
        class_weights: "balanced" (rows / (classes present * rows of the class)), "none", or one weight a
            class.
        undo_weights: divide the weights out of the predicted probabilities, p_k / w_k rescaled to sum to 1,
            so that they are probabilities again. False where the weights express what an error costs.
        refit: fit once more on all training rows with the rounds found.
        row_share: share of rows drawn for each tree.
        feature_share: share of features drawn for each tree.
        l2: L2 penalty of leaf values.
        min_rows: fewest training rows; below, a FitError.
    """

    n_classes: int = 3
    max_rounds: int = 300
    learning_rate: float = 0.05
    early_stopping: int = 30
    validation_sessions: int = 63
    embargo: int = 5
    class_weights: Literal["balanced", "none"] | tuple[float, ...] = "balanced"
    undo_weights: bool = True
    refit: bool = True
    row_share: float = 0.8
    feature_share: float = 0.8
    l2: float = 1.0
    min_rows: int = 200

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {self.n_classes}")
        if self.max_rounds < 1 or self.early_stopping < 0:
            raise ValueError("max_rounds must be at least 1 and early_stopping at least 0")
        weights = self.class_weights
        if not isinstance(weights, str) and (len(weights) != self.n_classes or min(weights) <= 0):
            raise ValueError(f"class_weights must be {self.n_classes} numbers above 0, got {weights}")


@dataclass(frozen=True)
class LightGBMConfig(TreeConfig):
    """LightGBM: `num_leaves` bounds a tree, `min_leaf` is the fewest rows of a leaf."""

    num_leaves: int = 31
    min_leaf: int = 50


@dataclass(frozen=True)
class XGBoostConfig(TreeConfig):
    """XGBoost: `max_depth` bounds a tree, `min_child_weight` the hessian sum of a leaf."""

    max_depth: int = 6
    min_child_weight: float = 20.0
