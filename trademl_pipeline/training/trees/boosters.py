"""LightGBM and XGBoost reduced to the three calls that `trees.classes` and `trees.values` make of them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np

# Classes by their probabilities; a value by its squared error; a chance by the log loss of labels from 0 to 1.
Objective = Literal["classes", "value", "probability"]


@dataclass(frozen=True)
class Rows:
    """Rows to boost on.

    Attributes:
        x: (rows, features).
        y: (rows,) class positions 0 … m - 1, or values.
        weight: (rows,).
        offset: where the trees start from, log odds of probabilities (rows,) or log shares of classes (rows, m);
            None: from what all rows have in common.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray | None = None


@dataclass(frozen=True)
class Boosting:
    """Settings of all calls of a fit.

    Attributes:
        config: hyper-parameters.
        seed: of the draws.
        threads: of the library.
        classes: number of classes; 1: none.
        objective: of the boosting.
    """

    config: Any
    seed: int
    threads: int
    classes: int = 1
    objective: Objective = "classes"


@dataclass(frozen=True)
class Boosted:
    """A booster cut to its best round: text, rounds, gain (features,), validation loss there or None."""

    text: str
    rounds: int
    gain: np.ndarray
    loss: float | None


class Library(Protocol):
    """The calls that are made of a boosting library."""

    def train(self, rows: Rows, validation: Rows | None, rounds: int, how: Boosting) -> Boosted:
        """Boost `rounds` rounds, or stop early on the validation rows.

        Args:
            rows: to learn from.
            validation: rows that stop the boosting; None: all rounds are made.
            rounds: most boosting rounds.
            how: config, seed, threads and objective of the fit.
        """
        ...

    def load(self, text: str) -> Any:
        """The library's booster from its text."""
        ...

    def predict(self, booster: Any, x: np.ndarray, threads: int) -> np.ndarray:
        """Class probabilities (rows, m), values or probabilities (rows,), these without offsets."""
        ...


class LightGBM:
    """Row-wise histograms and `deterministic`, so the model depends on neither threads nor machine load."""

    def train(self, rows: Rows, validation: Rows | None, rounds: int, how: Boosting) -> Boosted:
        """Boost `rounds` rounds, or stop early on the validation rows.

        Args:
            rows, validation, rounds, how: as in `Library.train`.
        """
        import lightgbm

        loss_of, metric = {
            "classes": ("multiclass", "multi_logloss"),
            "value": ("regression", "l2"),
            "probability": ("cross_entropy", "cross_entropy"),
        }[how.objective]
        parameters = {
            "objective": loss_of,
            "num_class": how.classes,
            "metric": metric,
            "learning_rate": how.config.learning_rate,
            "num_leaves": how.config.num_leaves,
            "min_data_in_leaf": how.config.min_leaf,
            "lambda_l2": how.config.l2,
            "bagging_fraction": how.config.row_share,
            "bagging_freq": 1 if how.config.row_share < 1 else 0,
            "feature_fraction": how.config.feature_share,
            "seed": how.seed,
            "num_threads": how.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(rows.x, rows.y, weight=rows.weight, init_score=rows.offset, params=parameters)
        if validation is None:
            booster = lightgbm.train(parameters, data, num_boost_round=rounds)
            best, loss = rounds, None
        else:
            validation_data = lightgbm.Dataset(
                validation.x,
                validation.y,
                weight=validation.weight,
                init_score=validation.offset,
                reference=data,
            )
            stop = lightgbm.early_stopping(how.config.early_stopping, verbose=False)
            booster = lightgbm.train(
                parameters, data, num_boost_round=rounds, valid_sets=[validation_data], callbacks=[stop]
            )
            best = booster.best_iteration
            loss = float(booster.best_score["valid_0"][metric])
        gain = booster.feature_importance("gain", iteration=best)
        return Boosted(booster.model_to_string(num_iteration=best), best, np.asarray(gain), loss)

    def load(self, text: str) -> Any:
        """See `Library.load`."""
        return _load_lightgbm(text)

    def predict(self, booster: Any, x: np.ndarray, threads: int) -> np.ndarray:
        """See `Library.predict`."""
        return np.asarray(booster.predict(x, num_threads=threads))


class XGBoost:
    """Histogram trees; the model is kept as the library's JSON."""

    def train(self, rows: Rows, validation: Rows | None, rounds: int, how: Boosting) -> Boosted:
        """Boost `rounds` rounds, or stop early on the validation rows.

        Args:
            rows, validation, rounds, how: as in `Library.train`.
        """
        import xgboost

        loss_of, metric = {
            "classes": ("multi:softprob", "mlogloss"),
            "value": ("reg:squarederror", "rmse"),
            "probability": ("reg:logistic", "logloss"),
        }[how.objective]
        parameters = {
            "objective": loss_of,
            "eval_metric": metric,
            **({"num_class": how.classes} if how.objective == "classes" else {}),
            "tree_method": "hist",
            "learning_rate": how.config.learning_rate,
            "max_depth": how.config.max_depth,
            "min_child_weight": how.config.min_child_weight,
            "reg_lambda": how.config.l2,
            "subsample": how.config.row_share,
            "colsample_bytree": how.config.feature_share,
            "seed": how.seed,
            "nthread": how.threads,
            "verbosity": 0,
        }
        if rows.offset is not None:
            # What a prediction without offsets starts from: even odds.
            parameters["base_score"] = 0.5
        data = xgboost.DMatrix(
            rows.x, rows.y, weight=rows.weight, base_margin=rows.offset, nthread=how.threads
        )
        if validation is None:
            booster = xgboost.train(parameters, data, num_boost_round=rounds)
            best, loss = rounds, None
        else:
            validation_data = xgboost.DMatrix(
                validation.x,
                validation.y,
                weight=validation.weight,
                base_margin=validation.offset,
                nthread=how.threads,
            )
            booster = xgboost.train(
                parameters,
                data,
                num_boost_round=rounds,
                evals=[(validation_data, "validation")],
                early_stopping_rounds=how.config.early_stopping,
                verbose_eval=False,
            )
            best, loss = booster.best_iteration + 1, float(booster.best_score)
            booster = booster[:best]
        gain = booster.get_score(importance_type="total_gain")
        width = rows.x.shape[1]
        return Boosted(
            booster.save_raw("json").decode(),
            best,
            np.array([gain.get(f"f{i}", 0.0) for i in range(width)], dtype=np.float64),
            loss,
        )

    def load(self, text: str) -> Any:
        """See `Library.load`."""
        return _load_xgboost(text)

    def predict(self, booster: Any, x: np.ndarray, threads: int) -> np.ndarray:
        """See `Library.predict`."""
        booster.set_param({"nthread": threads})
        return np.asarray(booster.inplace_predict(x, missing=np.nan))


LIBRARIES: dict[str, Library] = {"lightgbm": LightGBM(), "xgboost": XGBoost()}


# Serving predicts one row at a time; parsing the text again each time would cost more than the prediction.
@lru_cache(maxsize=64)
def _load_lightgbm(text: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=text)


@lru_cache(maxsize=64)
def _load_xgboost(text: str) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(text.encode()))
    return booster
