"""The memory of a walk over the pipeline's own code: its findings, with all that it read.

The stages of the pipeline are audited month after month, and each audit looks through the same functions, classes and
declarations. A walk that starts at these notes everything that it reads; as long as each of it is still the same
object, another walk would find the same. What an extractor has for itself, its closure or a module of a user's own,
is walked through each time.
"""

import abc
import enum
import operator
import re
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta, timezone
from pathlib import PurePath
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import PLAIN, Binding, filled
from trademl_pipeline.leakage.feature_audit.constants import FEW, LONG_TEXT, NUMBER_BEGINS, Shape, data_in
from trademl_pipeline.leakage.feature_audit.kinds import Kind, module_of
from trademl_pipeline.leakage.feature_audit.libraries import is_of_package, of_package
from trademl_pipeline.leakage.feature_audit.reached import Reached

MISSING = object()
# Kinds of objects that count as data where there are many, or that have items.
_COUNTED = (
    *(str, bytes, bytearray, int, float, complex, date, Mapping, list, tuple, set, frozenset, slice),
    *(types.GenericAlias, timedelta, time, timezone, PurePath, re.Pattern),
)
_OF_NUMBERS = ("numpy", "decimal", "fractions")
_OF_DAYS = ("deque", "Timestamp", "Period")
_SMALL = 4096
_BUILT_IN = (dict, types.MappingProxyType, list, set, frozenset, bytearray, deque)
# Kinds of keys that do not change.
_FIXED = (
    str,
    int,
    float,
    bytes,
    date,
    enum.Enum,
    type,
    types.FunctionType,
    types.NoneType,
    tuple,
    frozenset,
    pl.DataType,
)
_MOST = 32


class Judgements:
    """How a walk judged the values that it met.

    Args:
        shape: of the panel, by which it judged.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        # What is judged the same on every panel, but for the symbols that it may name.
        self._plain: list[tuple[Any, int]] = []
        self._texts: set[str] = set()
        self._judgements: list[tuple[Any, int, str | None]] = []

    def add_value(self, value: Any, few: int, reason: str | None) -> None:
        """Note how a value was judged, unless none like it is ever data."""
        if type(value) in PLAIN:
            if isinstance(value, str) and FEW // 2 <= len(value) <= LONG_TEXT:
                self._judgements.append((value, few, reason))
            return
        texts = _texts_of(value) if reason is None else None
        if texts is None:
            self._judgements.append((value, few, reason))
        else:
            self._plain.append((value, few))
            self._texts |= texts

    def add(self, others: "Judgements") -> None:
        """Note how another walk judged what it met."""
        self._judgements += others._judgements
        self._plain += others._plain
        self._texts |= others._texts

    def same(self, shape: Shape) -> bool:
        """Return whether all is judged the same on another panel."""
        if shape == self._shape:
            return True
        if any(data_in(value, shape, few) != reason for value, few, reason in self._judgements):
            return False
        strangers = self._texts.isdisjoint(shape.symbols) and self._texts.isdisjoint(self._shape.symbols)
        return strangers or all(data_in(value, shape, few) is None for value, few in self._plain)


class Readings(Judgements):
    """All that a walk has read, and how it judged it.

    Args:
        shape: of the panel, by which it judged.

    Attributes:
        complete: nothing was met of which it cannot be told whether it is as it was.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._names: list[tuple[Mapping[str, Any], tuple[str, ...], tuple[Any, ...]]] = []
        self._reads: list[tuple[Callable[[], Iterable[Any]], tuple[Any, ...]]] = []
        self._arrays: list[tuple[np.ndarray, tuple[Any, ...]]] = []
        self.complete = True

    def names(self, space: Mapping[str, Any], names: Iterable[str]) -> None:
        """Note what some names stand for, also where they stand for nothing."""
        in_code = tuple(names)
        self._names.append((space, in_code, tuple(space.get(name, MISSING) for name in in_code)))

    def read(self, read: Callable[[], Iterable[Any]] | None) -> None:
        """Note the objects that are read in a place, in their order; None: it cannot be told whether they change."""
        self.complete &= read is not None
        if read is not None:
            self._reads.append((read, tuple(read())))

    def add_names(self, others: "Readings") -> None:
        """Note the names that another walk has noted."""
        self._names += others._names

    def array(self, array: np.ndarray) -> None:
        """Note an array of numbers, of which the kind and the size are judged; others are not remembered."""
        self._arrays.append((array, _form_of(array)))
        self.complete &= array.dtype.kind in "biufc"

    def container(self, container: Any) -> None:
        """Note what lies in a container of a built-in kind; others are not remembered."""
        plain = type(container) in _BUILT_IN or isinstance(container, tuple)
        self.complete &= plain
        if plain:
            if isinstance(container, Mapping):
                keys = cast(Mapping[Any, Any], container).keys()
                self.complete &= all(isinstance(key, _FIXED) for key in keys)
            self.read(lambda: items_in(cast(Any, container)))

    def stand(self) -> bool:
        """Return whether all that was read is as it was."""
        try:
            return self._stand()
        except Exception:
            # Something can no longer be read at all; a new walk says what that means.
            return False

    def hold(self, shape: Shape) -> bool:
        """Return whether a walk on a panel of this shape would read and judge the same.

        Args:
            shape: of the panel that is audited now.
        """
        return self.stand() and self.same(shape)

    def _stand(self) -> bool:
        for space, names, before in self._names:
            if not all(map(operator.is_, before, [space.get(name, MISSING) for name in names])):
                return False
        for read, before in self._reads:
            now = tuple(read())
            if len(now) != len(before) or not all(map(operator.is_, before, now)):
                return False
        return all(_form_of(array) == before for array, before in self._arrays)


def _form_of(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype.str, array.shape


def _texts_of(value: Any) -> set[str] | None:
    """The texts in a small container of built-in kinds; None where a panel's length or days may matter."""
    texts: set[str] = set()
    numbers, steps, stack = 0, 0, [value]
    while stack:
        item = stack.pop()
        steps += 1
        kind = cast(type[Any], type(item))
        if kind is str:
            if len(item) >= FEW // 2 or item[:1].isdecimal() or (item and item[0] in NUMBER_BEGINS):
                return None
            texts.add(item)
        elif kind in PLAIN:
            numbers += 1
        elif kind in (list, tuple, set, frozenset):
            stack.extend(item)
        elif kind is dict:
            stack.extend(flat(item))
        elif isinstance(item, _COUNTED) or kind.__module__ in _OF_NUMBERS or kind.__name__ in _OF_DAYS:
            return None
        if numbers > FEW // 2 or steps + len(stack) > _SMALL:
            return None
    return texts


@dataclass
class Later:
    """The pipeline's own things that a walk has met, to be looked through by another walk that is remembered.

    Attributes:
        bindings: of functions, classes and declarations.
        modules: whose names are used: module, names, label.
    """

    bindings: list[Binding] = field(default_factory=list[Binding])
    modules: list[tuple[types.ModuleType, tuple[str, ...], str]] = field(
        default_factory=list[tuple[types.ModuleType, tuple[str, ...], str]]
    )

    def takes(self, kind: Kind, binding: Binding, value: Any) -> bool:
        """Keep an object of the pipeline's own for later; False for any other.

        Args:
            kind: of the object.
            binding: that holds it.
            value: the object.
        """
        if kind is Kind.FUNCTION:
            ours = of_package(value) and value.__closure__ is None
        elif kind in (Kind.INSTANCE, Kind.VALUE, Kind.CLASS):
            owner = cast(type[Any], value if kind is Kind.CLASS else type(value))
            ours = is_of_package(module_of(owner))
        else:
            return False
        if ours:
            self.bindings.append(Binding(binding.label, lambda: value, None))
        return ours

    def takes_module(self, module: types.ModuleType, names: Iterable[str], label: str) -> bool:
        """Keep a module of the pipeline's own for later; False for any other.

        Args:
            module: that code has a name for.
            names: in that code.
            label: for reports.
        """
        ours = is_of_package(module.__name__)
        if ours:
            self.modules.append((module, tuple(names), label))
        return ours


@dataclass(frozen=True)
class _Known:
    """A walk that was done, with the objects that it started at: their ids are given to no other."""

    starts: tuple[Any, ...]
    readings: Readings
    reached: Reached


_known: dict[Any, _Known] = {}


def remembered(
    later: Later, shape: Shape, package: str | None, walk: Callable[[Readings], Reached]
) -> Reached:
    """Return what a walk finds, from memory where it would read what it read before.

    Args:
        later: where it starts.
        shape: of the panel under audit.
        package: the folder that is looked through besides, which belongs to the extractor.
        walk: does it, and notes what it reads.
    """
    values = tuple(binding.get() for binding in later.bindings)
    places = tuple((id(module), names, label) for module, names, label in later.modules)
    labels = tuple(binding.label for binding in later.bindings)
    # What a class is registered as decides how its objects are looked into.
    key = (tuple(map(id, values)), labels, places, package, abc.get_cache_token())
    known = _known.pop(key, None)
    if known is None or not known.readings.hold(shape):
        readings = Readings(shape)
        reached = walk(readings)
        known = _Known((values, later.modules), readings, reached)
        if not readings.complete or reached.named or reached.tables:
            # What holds data is rare, and would be kept alive.
            return reached
    if len(_known) >= _MOST:
        _known.pop(next(iter(_known)))
    _known[key] = known
    return known.reached


def flat(values: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return the keys and the values of a mapping, one after the other."""
    return (*values.keys(), *values.values())


def items_in(container: Any) -> Iterable[Any]:
    """Return what lies in a container, of a mapping the keys as well."""
    if isinstance(container, Mapping):
        return flat(cast(Mapping[Any, Any], container))
    return cast(Iterable[Any], container)


def cells_of(fn: types.FunctionType) -> list[Any]:
    """Return all that a function carries: code, defaults, attributes, and variables of functions around it."""
    inside = [cell.cell_contents if filled(cell) else MISSING for cell in fn.__closure__ or ()]
    keywords = flat(fn.__kwdefaults__ or {})
    named = (fn.__name__, fn.__module__, fn.__doc__)
    return [*named, fn.__code__, fn.__defaults__, fn.__globals__, *keywords, *flat(vars(fn)), *inside]
