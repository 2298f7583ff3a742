"""The parts of objects that are not looked into as instances: the bounds of a slice, the functions of a property.

Attributes may be put on many of them besides.
"""

import dataclasses
import functools
import logging
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import tzinfo
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import Binding, attribute, item, replaced
from trademl_pipeline.leakage.feature_audit.kinds import module_of
from trademl_pipeline.leakage.feature_audit.places import attributes, dictionary_in, in_context, is_special

_BOUNDS = ("start", "stop", "step")
_PARTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    ((slice, range), _BOUNDS),
    (types.GenericAlias, ("__origin__", "__args__")),
    (types.UnionType, ("__args__",)),
    (types.MethodType, ("__func__",)),
    (dataclasses.Field, ("default", "default_factory", "metadata")),
    (property, ("fget", "fset", "fdel")),
    ((staticmethod, classmethod), ("__func__",)),
    (BaseException, ("args", "__cause__", "__context__", "__traceback__")),
    (defaultdict, ("default_factory",)),
    (deque, ("maxlen",)),
)
# What a library itself keeps in its objects: of no use to an extractor, or seen as parts.
_MACHINERY: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (logging.Logger, (*vars(logging.Logger("any")), "manager")),
    (pl.DataType, ("categories",)),
    (np.vectorize, ("_doc",)),
)
# The same in Rust, whose objects have no attributes.
_OF_POLARS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (pl.Expr, ("_pyexpr", "_pyselector", "_then", "_chained_then")),
    (pl.DataFrame, ("_df",)),
    (pl.LazyFrame, ("_ldf",)),
    (pl.Series, ("_s",)),
)
_OF_PANDAS = (
    "_is_copy",
    "_mgr",
    "_item_cache",
    "_flags",
    "_cache",
    "_data",
    "_id",
    "_no_setting_name",
)
# What Python writes on functions, and on the wrappers around them.
_DESCRIPTIONS = frozenset((*functools.WRAPPER_ASSIGNMENTS, "__slots__", "__objclass__", "__weakref__"))
# By which an object shows what is in it.
_SHOWING = ("__iter__", "__len__", "__getitem__", "keys", "values", "items")


def parts_of(value: Any, label: str) -> list[Binding]:
    """Return what an object is made of, besides its attributes.

    Args:
        value: of a kind that is not looked into as an instance.
        label: for reports.
    """
    return list(_parts_of(value, label))


def _parts_of(value: Any, label: str) -> Iterator[Binding]:
    owner = cast(type[Any], type(value))
    for classes, names in _PARTS:
        if issubclass(owner, classes):
            for name in names:
                put = functools.partial(setattr, value, name) if name == "default_factory" else None
                yield Binding(label, functools.partial(getattr, value, name, None), put)
    if issubclass(owner, functools.partial):
        yield from _of_partial(cast("functools.partial[Any]", value), label)
    elif issubclass(owner, types.MethodType):
        yield Binding(type(value.__self__).__name__, lambda: value.__self__, None)
    elif issubclass(owner, np.void):
        yield Binding(label, lambda: value.item() if value.dtype.names else value.tobytes(), None)
        yield Binding(label, lambda: value.dtype, None)
    elif issubclass(owner, np.dtype):
        yield Binding(label, lambda: value.metadata, None)
        yield Binding(label, lambda: value.names, None)
        inner = [*(value[name] for name in value.names or ()), *(value.subdtype or ())[:1]]
        yield from (Binding(label, lambda d=d: d, None) for d in inner)
    elif issubclass(owner, pl.Enum):
        yield Binding(label, lambda: tuple(value.categories), None)
    elif issubclass(owner, logging.Logger):
        # The library's own only pass on what they are given.
        yield Binding(label, lambda: value.parent, None)
        for part in (*value.handlers, *value.filters):
            if module_of(cast(type[Any], type(part))).split(".")[0] not in ("logging", "_pytest"):
                yield Binding(label, lambda p=part: p, None)


def _of_partial(value: "functools.partial[Any]", label: str) -> Iterator[Binding]:
    yield Binding(label, lambda: value.func, None)
    for name in value.keywords:
        yield item(value.keywords, name, name)
    for number, _ in enumerate(value.args):

        def put(given: Any, number: int = number) -> None:
            # The arguments of a partial are read-only but for the way by which pickle restores it.
            state = (value.func, replaced(value.args, number, given), value.keywords, vars(value) or None)
            getattr(value, "__setstate__")(state)  # noqa: B009

        yield Binding(f"{label} argument {number}", lambda n=number: value.args[n], put)


def attributes_beside(value: Any, label: str, *, slots: bool = True) -> list[Binding]:
    """Return the attributes of an object, but for those in which its library keeps what it is made of.

    Args:
        value: of any kind.
        label: for reports.
        slots: as well; a library's are its own.
    """
    owner = cast(type[Any], type(value))
    if not slots and issubclass(owner, tzinfo):
        return []
    besides = {name for classes, names in _MACHINERY if issubclass(owner, classes) for name in names}
    if not slots:
        besides |= _DESCRIPTIONS
    if any(module_of(base).split(".")[0] == "pandas" for base in owner.__mro__):
        besides |= set(_OF_PANDAS)
    space = attributes(value) if slots else dictionary_in(value)
    for classes, names in _OF_POLARS:
        if issubclass(owner, classes):
            besides.update(name for name in names if _is_of_rust(space.get(name)))
    return [
        Binding(f"{label}.{name}", *attribute(value, name)) for name in list(space) if name not in besides
    ]


def _is_of_rust(value: Any) -> bool:
    kind = cast(type[Any], type(value))
    return module_of(kind) == "builtins" and kind.__name__.startswith("Py") and not hasattr(value, "__dict__")


def parts_behind(value: Any, label: str) -> list[Binding]:
    """Return what a reference or a context variable stands for.

    Args:
        value: one of these.
        label: for reports.
    """
    if isinstance(value, ContextVar):
        variable = cast(ContextVar[Any], value)
        return [Binding(label, lambda: in_context(variable), lambda v: cast(None, variable.set(v)))]
    # By the class of all such, whatever its own says.
    target = Binding(label, lambda: cast(Any, weakref.ref).__call__(value), None)
    return [target, Binding(label, lambda: value.__callback__, None)]


def hidden_contents(value: Any) -> Any:
    """Return what is in a container that shows it in a way of its own, which nothing can cut; None of any other."""
    owner = cast(type[Any], type(value))
    plain: Any = next((k for k in (dict, list, tuple, set, frozenset, deque) if issubclass(owner, k)), None)
    shows = [getattr(k, name, None) for k in cast(list[Any], [owner, plain]) for name in _SHOWING]
    if plain is None or shows[: len(_SHOWING)] == shows[len(_SHOWING) :]:
        return None
    return tuple(cast(Any, dict).items(value) if plain is dict else plain.__iter__(value))


def stored_by_library(owner: type) -> str | None:
    """Return the name of a base whose instances keep what no attribute tells, such as `array.array`; None without one.

    Args:
        owner: a class that is no library's.
    """
    for base in owner.__mro__[:-1]:
        space = vars(base)
        names = space.get("__slots__", ())
        rows = 1 if isinstance(names, str) else len(tuple(names))
        rows += sum(name in space and name not in names for name in ("__dict__", "__weakref__"))
        below = cast(type, base.__base__)
        if (base.__basicsize__ - below.__basicsize__) > 8 * rows and base.__name__ not in _TELLING:
            return f"{module_of(base)}.{base.__name__}"
    return None


# Where libraries of models declare their fields.
_FIELDS = ("__pydantic_fields__", "__private_attributes__")
# Bases of which the attributes and the parts are all, or the state of random numbers, which is put back.
_TELLING = ("BaseException", "_local", "Random", "Generator")


# What Python, or a library, writes into the space of a class under names of this form.
_WRITTEN = (
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__slots__"),
    *("__parameters__", "__abstractmethods__", "__hash__", "__signature__"),
)


def is_written_by_python(name: str, value: Any) -> bool:
    """Return whether an attribute of a special name in a class is not the author's.

    Args:
        name: of the attribute.
        value: of it.
    """
    package = module_of(cast(type[Any], type(value))).split(".")[0].split("_")[0]
    # Pydantic has its validators there.
    return name in _WRITTEN or (package not in ("", "builtins") and name.startswith(f"__{package}_"))


def parts_of_class(owner: type, library: Iterable[type]) -> Iterator[Binding]:
    """Yield what lies in a class itself, but for what Python or a base has written there.

    Args:
        owner: a class, without its bases.
        library: those of its bases that are a library's.
    """
    of_bases: set[str] = set()
    for base in library:
        annotated: Any = vars(base).get("__annotations__")
        of_bases.update(vars(base), cast(dict[str, Any], annotated) if isinstance(annotated, dict) else ())
    of_bases.difference_update(_FIELDS)
    for name, value in list(vars(owner).items()):
        if is_special(name) and (
            is_written_by_python(name, value) or (name in of_bases and not _runs(value))
        ):
            continue
        yield Binding(
            f"{owner.__name__}.{name}",
            lambda n=name: vars(owner)[n],
            lambda v, n=name: setattr(owner, n, v),
        )


def _runs(value: Any) -> bool:
    kind = cast(type[Any], type(value))
    return issubclass(kind, types.FunctionType | staticmethod | classmethod | property)
