"""LightGBM and XGBoost reduced to the three calls that `trees` makes of them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Rows to boost on: x (rows, features), y (rows,) class positions 0 … m - 1, weight (rows,)."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Boosted:
    """A booster cut to its best round: text, rounds, gain (features,), validation loss there or None."""

    text: str
    rounds: int
    gain: np.ndarray
    loss: float | None


class Library(Protocol):
    """What `trees` needs of a boosting library."""

    def train(
        self, rows: Rows, validation: Rows | None, m: int, rounds: int, config: Any, seed: int, threads: int
    ) -> Boosted:
        """Boost `rounds` rounds over m classes, or stop early on the validation rows."""
        ...

    def load(self, text: str) -> Any:
        """The library's booster from its text."""
        ...

    def predict(self, booster: Any, x: np.ndarray, threads: int) -> np.ndarray:
        """Class probabilities (rows, m)."""
        ...


class LightGBM:
    """Row-wise histograms and `deterministic`, so the model depends on neither threads nor machine load."""

    def train(
        self, rows: Rows, validation: Rows | None, m: int, rounds: int, config: Any, seed: int, threads: int
    ) -> Boosted:
        """See `Library.train`."""
        import lightgbm

        parameters = {
            "objective": "multiclass",
            "num_class": m,
            "metric": "multi_logloss",
            "learning_rate": config.learning_rate,
            "num_leaves": config.num_leaves,
            "min_data_in_leaf": config.min_leaf,
            "lambda_l2": config.l2,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1 if config.row_share < 1 else 0,
            "feature_fraction": config.feature_share,
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(rows.x, rows.y, weight=rows.weight, params=parameters)
        if validation is None:
            booster = lightgbm.train(parameters, data, num_boost_round=rounds)
            best, loss = rounds, None
        else:
            held = lightgbm.Dataset(validation.x, validation.y, weight=validation.weight, reference=data)
            stop = lightgbm.early_stopping(config.early_stopping, verbose=False)
            booster = lightgbm.train(
                parameters, data, num_boost_round=rounds, valid_sets=[held], callbacks=[stop]
            )
            best = booster.best_iteration
            loss = float(booster.best_score["valid_0"]["multi_logloss"])
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

    def train(
        self, rows: Rows, validation: Rows | None, m: int, rounds: int, config: Any, seed: int, threads: int
    ) -> Boosted:
        """See `Library.train`."""
        import xgboost

        parameters = {
            "objective": "multi:softprob",
            "num_class": m,
            "eval_metric": "mlogloss",
            "tree_method": "hist",
            "learning_rate": config.learning_rate,
            "max_depth": config.max_depth,
            "min_child_weight": config.min_child_weight,
            "reg_lambda": config.l2,
            "subsample": config.row_share,
            "colsample_bytree": config.feature_share,
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }
        data = xgboost.DMatrix(rows.x, rows.y, weight=rows.weight, nthread=threads)
        if validation is None:
            booster = xgboost.train(parameters, data, num_boost_round=rounds)
            best, loss = rounds, None
        else:
            held = xgboost.DMatrix(validation.x, validation.y, weight=validation.weight, nthread=threads)
            booster = xgboost.train(
                parameters,
                data,
                num_boost_round=rounds,
                evals=[(held, "validation")],
                early_stopping_rounds=config.early_stopping,
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
@lru_cache(maxsize=8)
def _load_lightgbm(text: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=text)


@lru_cache(maxsize=8)
def _load_xgboost(text: str) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(text.encode()))
    return booster
