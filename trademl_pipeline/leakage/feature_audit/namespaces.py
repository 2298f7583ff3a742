"""Additions to the classes of Polars and pandas: expression namespaces, accessors, and whatever else is put there.

Code reaches it from any table or expression by the name alone.
"""

import functools
import operator
import sys
import types
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import Binding
from trademl_pipeline.leakage.feature_audit.kinds import module_of
from trademl_pipeline.leakage.feature_audit.libraries import Libraries
from trademl_pipeline.leakage.feature_audit.parts import is_written_by_python
from trademl_pipeline.leakage.feature_audit.places import dictionary_in, is_special

_OF_POLARS: tuple[type, ...] = (pl.Expr, pl.DataFrame, pl.LazyFrame, pl.Series)
_OF_PANDAS = ("DataFrame", "Series", "Index", "DatetimeIndex")
# Where the two keep the class of a namespace.
_NAMESPACES = {"NameSpace": "_ns", "CachedAccessor": "_accessor", "Accessor": "_accessor"}


# Package of the extractor -> the contents of the classes, and what of it was put there: they change rarely.
_seen: dict[str | None, tuple[list[Any], dict[str, list[Binding]]]] = {}


def contents_of_classes() -> list[Any]:
    """Return what lies in the classes, for a memory of it."""
    contents = [value for owner in _classes() for value in vars(owner).values()]
    return contents + [_namespace_in(value) for value in contents if type(value).__name__ in _NAMESPACES]


def additions(libraries: Libraries) -> dict[str, list[Binding]]:
    """Return name -> what is under it in the classes that is not of the library itself.

    Args:
        libraries: that are not looked into.
    """
    contents = contents_of_classes()
    before = _seen.get(libraries.package)
    if before is None or len(before[0]) != len(contents) or not all(map(operator.is_, before[0], contents)):
        _seen[libraries.package] = before = contents, _additions(libraries)
    return before[1]


def _additions(libraries: Libraries) -> dict[str, list[Binding]]:
    added: dict[str, list[Binding]] = {}
    for owner in _classes():
        for name, value in list(vars(owner).items()):
            if is_special(name) and is_written_by_python(name, value):
                continue
            namespace = _namespace_in(value)
            if isinstance(namespace, type):
                if not libraries.has_class(namespace):
                    bindings = [Binding(namespace.__name__, functools.partial(_namespace_in, value), None)]
                    added.setdefault(name, []).extend(bindings)
            elif not _is_machinery(value, libraries):
                binding = Binding(
                    f"{owner.__name__}.{name}",
                    lambda o=owner, n=name: vars(o)[n],
                    lambda v, o=owner, n=name: setattr(o, n, v),
                )
                added.setdefault(name, []).append(binding)
    return added


def _classes() -> Iterator[type]:
    yield from _OF_POLARS
    pandas = sys.modules.get("pandas")
    for name in _OF_PANDAS if pandas is not None else ():
        yield getattr(pandas, name)


def _namespace_in(value: Any) -> Any:
    attribute = _NAMESPACES.get(type(value).__name__)
    return dictionary_in(value).get(attribute) if attribute is not None else None


def _is_machinery(value: Any, libraries: Libraries) -> bool:
    """Return whether a value is what a library's class has in it by itself."""
    if isinstance(value, property):
        return all(libraries.has_code(part) for part in (value.fget, value.fset, value.fdel))
    if isinstance(value, staticmethod | classmethod):
        return libraries.has_code(cast(Any, value).__func__)
    if isinstance(value, types.FunctionType | type):
        return libraries.has_code(value)
    if type(value) is dict:
        # Pandas has the kinds of its indexes there, by the types of their numbers; a memory of the walk could not tell
        # whether such keys change.
        kinds = cast(dict[Any, Any], value)
        return (
            bool(kinds)
            and all(isinstance(k, np.dtype) and k.metadata is None for k in kinds)
            and all(isinstance(kind, type) and libraries.has_class(kind) for kind in kinds.values())
        )
    kind = cast(type[Any], type(value))
    # Pandas has kinds of properties of its own.
    return libraries.has_class(kind) and module_of(kind).split(".")[0] in ("pandas", "_abc")
