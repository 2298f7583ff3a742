"""The kind of an object that an extractor can reach, which decides how it is looked into. It follows from the type."""

import dataclasses
import enum
import functools
import logging
import sys
import types
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.constants import SETTINGS
from trademl_pipeline.leakage.feature_audit.tabular import is_tabular, is_tabular_kind

# Ways to an object that no name in the code tells.
# `sql` of Polars takes tables by the names that stand in its text.
BY_NAME = frozenset(("globals", "eval", "exec", "vars", "sql", "__dict__", "__globals__", "__closure__"))
TO_MODULES = frozenset(("globals", "eval", "exec", "__globals__"))
ATTRIBUTES_BY_NAME = frozenset(
    (
        "getattr",
        "attrgetter",
        "getattr_static",
        "getmembers",
        "__getattribute__",
        "vars",
        "__dict__",
        "eval",
        "exec",
    )
)
ANYWHERE = frozenset(
    (
        *("import_module", "__import__", "resolve_name", "_getframe", "currentframe", "_current_frames"),
        *("f_globals", "f_locals", "f_back", "tb_frame", "get_objects", "get_referrers", "modules"),
        *("__subclasses__", "get_overloads", "register_globals", "string_at", "py_object"),
    )
)
READS_ENVIRONMENT = frozenset(("environ", "environb", "getenv", "getenvb"))


class Kind(enum.Enum):
    """How an object is looked into."""

    TABULAR = enum.auto()
    SETTING = enum.auto()
    # A setting of a class that may have attributes, or other objects in it.
    VALUE = enum.auto()
    # Something with parts, see `parts`.
    COMPOUND = enum.auto()
    CODE = enum.auto()
    # It answers for itself what it is, or what it has.
    DISGUISE = enum.auto()
    CONTAINER = enum.auto()
    ARRAY = enum.auto()
    EXPRESSION = enum.auto()
    FUNCTION = enum.auto()
    BUILT_IN = enum.auto()
    CACHE = enum.auto()
    MODULE = enum.auto()
    CLASS = enum.auto()
    REFERENCE = enum.auto()
    INSTANCE = enum.auto()


_LRU_CACHE = cast(type[Any], type(functools.lru_cache(len)))
_CLASSES: tuple[tuple[Kind, Any], ...] = (
    (Kind.SETTING, SETTINGS),
    (Kind.CONTAINER, (Mapping, list, tuple, set, frozenset, bytearray, deque)),
    (Kind.ARRAY, np.ndarray),
    (Kind.EXPRESSION, pl.Expr),
    (Kind.FUNCTION, types.FunctionType),
    (
        Kind.COMPOUND,
        (
            functools.partial,
            functools.partialmethod,
            functools.singledispatchmethod,
            functools.cached_property,
            types.MethodType,
            types.GenericAlias,
            types.UnionType,
            types.DynamicClassAttribute,
            property,
            staticmethod,
            classmethod,
            dataclasses.Field,
        ),
    ),
    (Kind.BUILT_IN, (types.BuiltinFunctionType, types.MethodWrapperType)),
    (Kind.CACHE, _LRU_CACHE),
    (Kind.CODE, types.CodeType),
    (Kind.MODULE, types.ModuleType),
    (Kind.CLASS, type),
    (Kind.REFERENCE, (weakref.ref, ContextVar)),
)
# Objects on which a call may leave an attribute as on any other.
CHANGING: tuple[Any, ...] = (functools.partial, logging.Logger, logging.LoggerAdapter, pl.Expr, _LRU_CACHE)
# Of a setting's classes those that hold other objects.
_WITH_PARTS = (enum.Enum, slice, range, np.void, np.dtype, pl.DataType, logging.Logger, logging.LoggerAdapter)
_OF_TYPES = ("typing", "typing_extensions")
# Of the flags of a class: it was made while Python ran.
_HEAP_TYPE = 1 << 9
# What an honest class leaves to Python: its class, its attributes and how they are looked up.
_ANSWERS = ("__class__", "__getattribute__", "__dict__")


def module_of(kind: type) -> str:
    """Return the name of the module that a class is from; nothing where it has the place of one of its objects'."""
    name: Any = kind.__module__
    return name if isinstance(name, str) else ""


class Kinds:
    """The kinds of objects, each type asked once; of one walk, since what a type is registered as may change."""

    def __init__(self) -> None:
        self._known: dict[type, Kind] = {}

    def of(self, value: Any) -> Kind:
        """Return the kind of an object."""
        owner = cast(type[Any], type(value))
        kind = self._known.get(owner)
        if kind is None:
            kind = self._known[owner] = _kind(owner)
        return kind


def _kind(owner: type) -> Kind:
    if any(_answers_for_itself(base) for base in owner.__mro__):
        return Kind.DISGUISE
    if is_tabular_kind(owner):
        return Kind.TABULAR
    kind = next((kind for kind, classes in _CLASSES if issubclass(owner, classes)), Kind.INSTANCE)
    if kind is Kind.SETTING and (issubclass(owner, _WITH_PARTS) or owner.__flags__ & _HEAP_TYPE):
        return Kind.VALUE
    if kind is Kind.INSTANCE and module_of(owner) in _OF_TYPES:
        return (
            Kind.COMPOUND if getattr(sys.modules[owner.__module__], owner.__name__, None) is owner else kind
        )
    return kind


def _answers_for_itself(base: type) -> bool:
    space = vars(base)
    honest = base is np.record or base is np.recarray or not base.__flags__ & _HEAP_TYPE
    return not honest and any(
        name in space
        and not isinstance(space[name], types.WrapperDescriptorType | types.GetSetDescriptorType)
        for name in _ANSWERS
    )


def is_of_its_library(value: Any, module: types.ModuleType) -> bool:
    """Return whether an object in a library's module is of a kind that the same library defines, such as a type."""
    kind = cast(type[Any], type(value))
    return module_of(kind).split(".")[0] == module.__name__.split(".")[0] and not is_tabular(value)


def name_of_kind(value: Any) -> str:
    """Return the library of an object and its type, for reports."""
    return f"{module_of(cast(type[Any], type(value))).split('.')[0]}.{type(value).__name__}"


def arguments_of(value: Any) -> Iterator[Any]:
    """Yield the arguments that an `operator.itemgetter` or a counter was made with."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            reduced = value.__reduce__()
    except TypeError:
        return
    if isinstance(reduced, tuple):
        yield from (part for part in cast(tuple[Any, ...], reduced) if not isinstance(part, type))


def is_code(value: Any) -> bool:
    """Return whether an object is code: a function, a class, a module."""
    return isinstance(
        value, type | types.ModuleType | types.FunctionType | types.BuiltinFunctionType | types.MethodType
    ) or (callable(value) and not hasattr(value, "__dict__"))
