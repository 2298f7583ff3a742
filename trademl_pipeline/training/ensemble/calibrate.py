"""Class probabilities fitted to frequencies: one temperature, and one weight a class that matches its base rate.

A map with few parameters, since the rows that may fit it are few and the classes that matter are rare: a class that
none of those rows is of keeps the probability that its base rate gives it. Temperature scaling: Guo et al. 2017
(arXiv 1706.04599); matching of base rates: Saerens et al. 2002 (https://doi.org/10.1162/089976602753284446).
"""

from dataclasses import dataclass

import numpy as np

_FLOOR = 1e-6
_COLDEST, _HOTTEST = 0.1, 20.0


@dataclass(frozen=True)
class Calibration:
    """p_k -> p_k^(1 / temperature) w_k, scaled to sum to 1.

    Attributes:
        temperature: above 1 where the model was too sure.
        weights: (classes,).
    """

    temperature: float
    weights: tuple[float, ...]

    def apply(self, p: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (rows, classes)."""
        return _mapped(p, self.temperature, np.array(self.weights))


def fit_calibration(p: np.ndarray, target: np.ndarray, base: np.ndarray) -> Calibration:
    """Fit on rows that the model did not learn from.

    Args:
        p: (rows, classes) probabilities.
        target: (rows,) classes that came.
        base: (classes,) base rates, above 0, e.g. of the training rows.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(target))

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        mapped = _mapped(p, temperature, _weights(p, temperature, base))
        return float(-np.log(np.maximum(mapped[rows, target], _FLOOR)).mean())

    optimum = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    temperature = float(np.exp(optimum.x))  # pyright: ignore[reportAttributeAccessIssue]
    return Calibration(temperature, tuple(float(w) for w in _weights(p, temperature, base)))


def base_rates(target: np.ndarray, classes: int) -> np.ndarray:
    """Shares of the classes, half a row added to each so that none is 0."""
    counts = np.bincount(target, minlength=classes) + 0.5
    return counts / counts.sum()


def _weights(p: np.ndarray, temperature: float, base: np.ndarray) -> np.ndarray:
    """Weights under which the mean probability of each class is its base rate, found by repeated matching."""
    weights = np.ones(len(base))
    for _ in range(50):
        mean = _mapped(p, temperature, weights).mean(axis=0)
        weights = weights * base / np.maximum(mean, _FLOOR)
        weights /= weights.sum()
    return weights


def _mapped(p: np.ndarray, temperature: float, weights: np.ndarray) -> np.ndarray:
    log_p = np.log(np.maximum(p, _FLOOR)) / temperature
    scaled = np.exp(log_p - log_p.max(axis=1, keepdims=True)) * weights
    return scaled / scaled.sum(axis=1, keepdims=True)
