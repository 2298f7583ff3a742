"""Signs by which a consolidation shows the class of the move that will end it.

When a consolidation begins, two numbers are drawn for it around its class's place in `PLACES`, each with normal noise
of deviation one:

    q = clarity·PLACE[class] + noise

The bars of the consolidation show q and nothing else of the class: over its first `RAMP` sessions volume swells by
exp(VOLUME_REACH·q[0]) and ranges tighten by exp(-RANGE_REACH·q[1]), and both stay so until it ends. So a failure
comes out of drying volume, a strong gain out of swelling volume in tightening ranges. Classes overlap: whoever knows q
exactly knows the class with the probabilities of `posterior` and no better, and bars do not show q exactly.
"""

import numpy as np

# Per class K0 .. K5: volume, tightness.
PLACES = np.array([(-0.2, -1.0), (0.5, 0.3), (1.3, 1.2), (2.3, 2.2), (4.2, 4.2), (-2.6, -0.2)])
PARTS = PLACES.shape[1]
RAMP = 15
VOLUME_REACH, RANGE_REACH = 0.55, 0.24


def posterior(signal: np.ndarray, shares: np.ndarray, clarity: float) -> np.ndarray:
    """P(class | q) by Bayes' rule.

    Args:
        signal: q, shape (..., 2).
        shares: frequencies of the classes, shape (class,).
        clarity: see the module; 0 tells nothing.

    Returns:
        Shape (..., class), summing to 1.
    """
    distance = ((signal[..., None, :] - clarity * PLACES) ** 2).sum(axis=-1)
    likelihood = np.exp(-0.5 * (distance - distance.min(axis=-1, keepdims=True)))
    weight = shares * likelihood
    return weight / weight.sum(axis=-1, keepdims=True)


def bar_factors(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors on volume and on the range of a session that shows this much; shape (..., 2) to twice (...)."""
    return np.exp(VOLUME_REACH * signal[..., 0]), np.exp(-RANGE_REACH * signal[..., 1])
