"""Places where an extractor can keep what a call leaves behind, and putting them back as they were.

Each place is kept shallowly: what lies in it is a place of its own where it can change.
"""

import operator
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any, cast

import numpy as np

from trademl_pipeline.settings import variables

_EMPTY = object()
_MACHINERY = ("__dict__", "__weakref__")
_SCALARS = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Place:
    """Something with contents that can change.

    Attributes:
        label: for reports.
        read: gives the contents, not deeper than one level, in objects of their own.
        write: puts such contents back.
    """

    label: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class State:
    """The contents of places as they were before the extractor's first call.

    Attributes:
        changed: labels of the places that calls have changed and that are put back.
    """

    def __init__(self, places: Sequence[Place], caches: Sequence[tuple[str, Any]]) -> None:
        self._places = [(place, place.read()) for place in places]
        self._caches = list(caches)
        self._sizes = {label: fn.cache_info().currsize for label, fn in self._caches}
        self._ignored: set[str] = set()
        self.changed: list[str] = []

    def watch(self) -> list[str]:
        """Return labels of what calls have changed until now; these are put back by `restore`."""
        for place, before in self._places:
            if place.label not in self.changed and not _same(before, place.read()):
                self.changed.append(place.label)
        for label, fn in self._caches:
            if label not in self.changed and fn.cache_info().currsize != self._sizes[label]:
                self.changed.append(label)
        return [label for label in self.changed if label not in self._ignored]

    def ignore(self) -> None:
        """Leave what has changed as it is, for good: it makes no difference to any result."""
        self._ignored |= set(self.changed)

    def restore(self, *, ignored: bool = False) -> None:
        """Put everything back that a call has changed.

        Args:
            ignored: also what makes no difference.
        """
        self.watch()
        for place, before in self._places:
            if place.label in self.changed and (ignored or place.label not in self._ignored):
                place.write(before)
        for label, fn in self._caches:
            if ignored or label not in self._ignored:
                fn.cache_clear()


def place_of(obj: Any, label: str) -> Place | None:
    """Return a container, an array, a cell or a generator of random numbers as a place; None for anything else."""
    if isinstance(obj, MutableMapping):
        mapping = cast(MutableMapping[Any, Any], obj)
        return Place(label, lambda: dict(mapping), lambda was: _refill(mapping, was))
    if isinstance(obj, list | bytearray):
        items = cast(list[Any], obj)
        return Place(label, items.copy, lambda was: items.__setitem__(slice(None), was))
    if isinstance(obj, set):
        members = cast(set[Any], obj)

        def refill(was: set[Any]) -> None:
            members.clear()
            members.update(was)

        return Place(label, members.copy, refill)
    if isinstance(obj, deque):
        queue = cast(deque[Any], obj)

        def refill_queue(was: list[Any]) -> None:
            queue.clear()
            queue.extend(was)

        return Place(label, lambda: list(queue), refill_queue)
    if isinstance(obj, np.ndarray):
        array = cast(Any, obj)
        return Place(label, array.copy, lambda was: array.__setitem__(..., was))
    if isinstance(obj, CellType):
        return Place(label, lambda: _cell(obj), lambda was: _put_cell(obj, was))
    if isinstance(obj, ContextVar):
        variable = cast(ContextVar[Any], obj)
        return Place(label, lambda: variable.get(_EMPTY), lambda was: cast(None, variable.set(was)))
    return generator_of(obj, label)


def environment() -> Place:
    """Return the process's environment as a place."""
    names = variables()
    return Place("environment variables", lambda: dict(names), lambda was: _refill(names, was))


def names_of(namespace: dict[str, Any], names: Sequence[str], label: str) -> Place:
    """Return some names of a module as a place, those that it does not have yet among them."""

    def write(was: dict[str, Any]) -> None:
        for name in names:
            if name in was:
                namespace[name] = was[name]
            else:
                namespace.pop(name, None)

    return Place(label, lambda: {n: namespace[n] for n in names if n in namespace}, write)


def attributes_of(obj: Any, label: str) -> Place:
    """Return the attributes of an instance, a function or a class as a place, slots among them."""

    def write(was: dict[str, Any]) -> None:
        for name in attributes(obj).keys() - was.keys():
            delattr(obj, name)
        for name, value in was.items():
            if attributes(obj).get(name, _EMPTY) is not value:
                set_attribute(obj, name, value)

    return Place(label, lambda: attributes(obj), write)


def dictionary_of(obj: Any, label: str) -> Place:
    """Return the attributes of an object that has no slots as a place."""
    space = cast(dict[str, Any], vars(obj))
    return Place(label, space.copy, lambda was: _refill(space, was))


def attributes(obj: Any) -> dict[str, Any]:
    """Return name -> value of an object's own attributes; of a class those that are no machinery of Python."""
    if isinstance(obj, type):
        space: dict[str, Any] = dict(cast(Any, obj).__dict__)
        return {name: value for name, value in space.items() if not is_special(name)}
    return dict(dictionary_in(obj)) | dict(_slots(obj))


def dictionary_in(obj: Any) -> dict[str, Any]:
    """Return the dictionary that an object keeps its attributes in; an empty one where it has none."""
    try:
        space: Any = getattr(obj, "__dict__", {})
    except Exception:
        # Its class answers for names that it does not have, and fails at this one.
        return {}
    return space


def is_special(name: str) -> bool:
    """Return whether a name is one that Python gives a meaning to, such as `__call__`."""
    return name[:2] == "__" and name[-2:] == "__"


def in_context(variable: ContextVar[Any]) -> Any:
    """Return the value of a context variable, or else its default; None where it has neither."""
    try:
        return variable.get()
    except LookupError:
        return None


def set_attribute(obj: Any, name: str, value: Any) -> None:
    """Set an attribute, of a frozen dataclass as well."""
    if isinstance(obj, type):
        setattr(obj, name, value)
    elif name in dictionary_in(obj):
        dictionary_in(obj)[name] = value
    elif isinstance(obj, FunctionType):
        setattr(obj, name, value)
    else:
        object.__setattr__(obj, name, value)


def _slots(obj: Any) -> Iterator[tuple[str, Any]]:
    for kind in type(obj).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in _MACHINERY:
                continue
            # Python writes the class before a name that begins with two underscores.
            private = name.startswith("__") and not name.endswith("__")
            stored = f"_{kind.__name__.lstrip('_')}{name}" if private else name
            try:
                # By the slot itself: a class may answer for names whose slots are empty.
                yield stored, vars(kind)[stored].__get__(obj)
            except (AttributeError, KeyError):
                continue


def _cell(cell: CellType) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:
        # A name that is assigned later in the enclosing function.
        return ()


def _put_cell(cell: CellType, was: tuple[Any, ...]) -> None:
    if was:
        cell.cell_contents = was[0]
    else:
        del cell.cell_contents


def generator_of(obj: Any, label: str) -> Place | None:
    """Return a generator of random numbers as a place; None for anything else."""
    kind = cast(type[Any], type(obj))
    if issubclass(kind, np.random.Generator):
        bits = obj.bit_generator
        return Place(label, lambda: dict(bits.state), lambda was: setattr(bits, "state", was))
    if hasattr(kind, "getstate") and hasattr(kind, "setstate"):
        return Place(label, obj.getstate, obj.setstate)
    if issubclass(kind, np.random.RandomState):
        return Place(label, lambda: list(obj.get_state()), lambda was: obj.set_state(tuple(was)))
    return None


def _refill(mapping: MutableMapping[Any, Any], was: dict[Any, Any]) -> None:
    mapping.clear()
    mapping.update(was)


def _same(a: Any, b: Any) -> bool:
    """Return whether contents are the same: the same objects in the same places, or equal plain values."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        one, other = cast(np.ndarray[Any, Any], a), cast(np.ndarray[Any, Any], b)
        return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if isinstance(a, dict):
        first, second = cast(dict[Any, Any], a), cast(dict[Any, Any], b)
        if len(first) == len(second) and all(map(operator.is_, first.values(), second.values())):
            return first.keys() == second.keys()
        return first.keys() == second.keys() and all(_same(v, second[k]) for k, v in first.items())
    if isinstance(a, list | tuple):
        pairs = cast(Sequence[Any], a), cast(Sequence[Any], b)
        return len(pairs[0]) == len(pairs[1]) and (all(map(operator.is_, *pairs)) or all(map(_same, *pairs)))
    if isinstance(a, set):
        return a == b
    return isinstance(a, _SCALARS) and (a == b or a != a)
