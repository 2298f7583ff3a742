"""Data of a step as plain JSON, which browsers and databases take."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np


def plain_json(data: Any) -> Any:
    """Return data as what JSON knows: arrays as lists, numbers of numpy as plain ones, infinities and NaN as text.

    Args:
        data: nested mappings and sequences of numbers and texts.
    """
    return json.loads(json.dumps(_finite(data), default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    return _finite(value.item()) if isinstance(value, np.generic) else str(value)


def _finite(data: Any) -> Any:
    """Plain data in which infinities and NaN are texts: browsers refuse a page of data that holds them."""
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in cast(Mapping[Any, Any], data).items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [_finite(value) for value in cast(Iterable[Any], data)]
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    return data
