"""The kind of an object that an extractor can reach, which decides how it is looked into. It follows from the type."""

import enum
import functools
import types
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.constants import SETTINGS
from trademl_pipeline.leakage.feature_audit.tabular import is_tabular

# Ways to an object that no name in the code tells.
BY_NAME = frozenset(("globals", "eval", "exec", "vars", "__dict__", "__globals__", "__closure__"))
ANYWHERE = frozenset(
    ("import_module", "__import__", "_getframe", "currentframe", "get_objects", "get_referrers", "modules")
)


class Kind(enum.Enum):
    """How an object is looked into."""

    TABULAR = enum.auto()
    SETTING = enum.auto()
    CONTAINER = enum.auto()
    ARRAY = enum.auto()
    EXPRESSION = enum.auto()
    PARTIAL = enum.auto()
    FUNCTION = enum.auto()
    METHOD = enum.auto()
    BUILT_IN = enum.auto()
    CACHE = enum.auto()
    MODULE = enum.auto()
    CLASS = enum.auto()
    DESCRIPTOR = enum.auto()
    REFERENCE = enum.auto()
    INSTANCE = enum.auto()


_CLASSES: tuple[tuple[Kind, Any], ...] = (
    (Kind.SETTING, SETTINGS),
    (Kind.CONTAINER, (Mapping, list, tuple, set, frozenset, bytearray)),
    (Kind.ARRAY, np.ndarray),
    (Kind.EXPRESSION, pl.Expr),
    (Kind.PARTIAL, functools.partial),
    (Kind.FUNCTION, types.FunctionType),
    (Kind.METHOD, types.MethodType),
    (Kind.BUILT_IN, (types.BuiltinFunctionType, types.MethodWrapperType)),
    (Kind.MODULE, types.ModuleType),
    (Kind.CLASS, type),
    (Kind.DESCRIPTOR, (property, staticmethod, classmethod, functools.cached_property)),
    (Kind.REFERENCE, (weakref.ref, ContextVar)),
)


class Kinds:
    """The kinds of objects, each type asked once; of one walk, since what a type is registered as may change."""

    def __init__(self) -> None:
        self._known: dict[type, Kind] = {}

    def of(self, value: Any) -> Kind:
        """Return the kind of an object."""
        owner = cast(type[Any], type(value))
        kind = self._known.get(owner)
        if kind is None:
            kind = self._known[owner] = _kind(value, owner)
        if kind is Kind.CACHE and not hasattr(value, "__wrapped__"):
            return Kind.INSTANCE
        return kind


def _kind(value: Any, owner: type) -> Kind:
    if is_tabular(value):
        return Kind.TABULAR
    kind = next((kind for kind, classes in _CLASSES if isinstance(value, classes)), None)
    if kind is None and owner.__name__ == "deque":
        return Kind.CONTAINER
    if kind is None:
        return Kind.CACHE if hasattr(owner, "cache_clear") else Kind.INSTANCE
    return kind


def is_of_its_library(value: Any, module: types.ModuleType) -> bool:
    """Return whether an object in a library's module is of a kind that the same library defines, such as a type."""
    kind = cast(type[Any], type(value))
    return kind.__module__.split(".")[0] == module.__name__.split(".")[0] and not is_tabular(value)


def name_of_kind(value: Any) -> str:
    """Return the library of an object and its type, for reports."""
    return f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"


def arguments_of(value: Any) -> Iterator[Any]:
    """Yield the arguments that an `operator.itemgetter` or a vectorized function was made with."""
    try:
        reduced = value.__reduce__()
    except TypeError:
        return
    if isinstance(reduced, tuple) and len(cast(tuple[Any, ...], reduced)) > 1:
        yield cast(tuple[Any, ...], reduced)[1]


def is_code(value: Any) -> bool:
    """Return whether an object is code: a function, a class, a module."""
    return isinstance(
        value, type | types.ModuleType | types.FunctionType | types.BuiltinFunctionType | types.MethodType
    ) or (callable(value) and not hasattr(value, "__dict__"))
