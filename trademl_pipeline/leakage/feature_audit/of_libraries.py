"""Objects of libraries: which hold settings alone, and what is in those that can be seen."""

import argparse
import io
import itertools
import sys
import threading
import types
from typing import Any, cast

import numpy as np

from trademl_pipeline.leakage.feature_audit.bindings import Binding
from trademl_pipeline.leakage.feature_audit.kinds import arguments_of, module_of
from trademl_pipeline.leakage.feature_audit.libraries import Libraries
from trademl_pipeline.leakage.feature_audit.parts import attributes_beside
from trademl_pipeline.leakage.feature_audit.places import Place, attributes_of, dictionary_in, generator_of

# Of the standard library: what has nothing in it.
_EMPTY = ("_abc", "dataclasses", "typing", "typing_extensions")
_MODELS = ("pydantic", "annotated_types", "attr")
# Functions of compiled modules.
_OF_CYTHON = ("cython_function_or_method", "fused_cython_function")
_FROM_PYTHON = " (vectorized)"


def inside_of(value: Any, label: str, libraries: Libraries) -> tuple[list[Place], list[Binding]] | None:
    """Return the places and the parts of an object of a library; None where its inside cannot be seen.

    Args:
        value: an instance of a library's class.
        label: for reports.
        libraries: whose functions are not looked into.
    """
    kind = cast(type[Any], type(value))
    package = module_of(kind).split(".")[0]
    beside = attributes_beside(value, label, slots=False)
    if issubclass(kind, np.ufunc):
        # Nothing gives the function that `np.frompyfunc` was given.
        return None if value.__name__.endswith(_FROM_PYTHON) else ([], beside)
    if _is_singleton(value, kind):
        return [], beside
    if issubclass(kind, types.SimpleNamespace | argparse.Namespace | threading.local):
        return [attributes_of(value, label)], beside
    place = generator_of(value, label)
    if place is not None:
        return [place], beside
    unfitted = hasattr(kind, "get_params") and not any(
        n.endswith("_") and not n.startswith("_") for n in dictionary_in(value)
    )
    if unfitted or issubclass(kind, np.vectorize | np.poly1d):
        return [attributes_of(value, label)], beside
    counts = issubclass(kind, itertools.count)
    if counts or (package in ("talib", "numpy", "operator") and callable(value)):
        return [], [*beside, *(Binding(label, lambda p=part: p, None) for part in arguments_of(value))]
    if kind.__name__ in _OF_CYTHON:
        module = sys.modules.get(value.__module__ or "")
        return ([], beside) if module is not None and libraries.has_module(module) else None
    if package in _MODELS:
        # What stands in the declarations of models: their fields, with defaults and bounds.
        return [], attributes_beside(value, label)
    if package in _EMPTY or kind.__name__ == "PydanticUndefinedType":
        return [], beside
    if module_of(kind) in ("_thread", "threading") and not issubclass(kind, threading.Thread):
        # Locks and the like.
        return [attributes_of(value, label)], beside
    if module_of(kind).startswith("polars.functions"):
        # `pl.col`, which makes expressions, and what holds a function that an expression calls.
        return [], beside
    return None


def _is_singleton(value: Any, kind: type[Any]) -> bool:
    """Return whether an object is one that its library has made for all who use it, which holds nothing of theirs."""
    if module_of(kind) == "torch":
        return kind.__name__ in ("dtype", "device", "layout", "memory_format")
    if module_of(kind).startswith("scipy.stats"):
        return getattr(sys.modules.get("scipy.stats"), str(getattr(value, "name", "")), None) is value
    return kind is io.TextIOWrapper and any(value is stream for stream in (sys.stdout, sys.stderr, sys.stdin))
