"""An extractor's holdings besides its arguments: frames it looks into, and state it keeps between calls.

An extractor that reads the whole sample out of a closure, a global or an attribute would pass every probe
that cuts its arguments only. So the frames it can reach are found here and are cut with the bars. State that
a call leaves behind, such as statistics fitted at the first call or a cache, is put back before each further
call, so that every call is a first one.

Reached are closures, globals that the code names, defaults, partials, bound instances and their attributes,
dictionaries and lists, and the functions called from there; not library code, files, databases or other
processes.
"""

import dataclasses
import functools
import pickle
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

DEPTH = 5
MAX_STATE_BYTES = 64 * 1024 * 1024
_LIBRARY = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_PLAIN = (dict, list, set, bytearray)


@dataclass(frozen=True)
class Binding:
    """A place that holds an object: a closure cell, a global, an attribute, an item."""

    label: str
    get: Callable[[], Any]
    put: Callable[[Any], None]


@dataclass
class Captures:
    """Everything found.

    Attributes:
        frames: bindings that hold a `pl.DataFrame`.
        bindings: all bindings of data, for state that is kept by rebinding.
        contents: label -> container or instance, for state that is kept inside.
        caches: label -> function with an `lru_cache`.
    """

    frames: list[Binding] = field(default_factory=list[Binding])
    bindings: list[Binding] = field(default_factory=list[Binding])
    contents: dict[str, Any] = field(default_factory=dict[str, Any])
    caches: dict[str, Any] = field(default_factory=dict[str, Any])


def captures(fn: Any) -> Captures:
    """Find what a callable holds besides its arguments."""
    captured = Captures()
    _walk(fn, getattr(fn, "__name__", type(fn).__name__), captured, set(), DEPTH)
    return captured


def _walk(obj: Any, label: str, captured: Captures, seen: set[int], depth: int) -> None:
    if id(obj) in seen or depth < 0:
        return
    seen.add(id(obj))
    if isinstance(obj, functools.partial):
        bound = cast(functools.partial[Any], obj)
        _walk(bound.func, label, captured, seen, depth)
        _partial(bound, label, captured, seen, depth)
    elif isinstance(obj, types.MethodType):
        _walk(obj.__func__, label, captured, seen, depth)
        _walk(obj.__self__, type(obj.__self__).__name__, captured, seen, depth)
    elif isinstance(obj, types.FunctionType):
        if not _is_library(obj):
            for binding in _function(obj):
                _bind(binding, captured, seen, depth)
    elif hasattr(obj, "cache_clear") and hasattr(obj, "__wrapped__"):
        captured.caches[label] = obj
        _walk(obj.__wrapped__, label, captured, seen, depth)
    elif isinstance(obj, dict):
        captured.contents[label] = obj
        for key in cast(dict[Any, Any], obj):
            _bind(_item(obj, key, f"{label}[{key!r}]"), captured, seen, depth - 1)
    elif isinstance(obj, list):
        captured.contents[label] = obj
        for key in range(min(len(cast(list[Any], obj)), 1000)):
            _bind(_item(obj, key, f"{label}[{key}]"), captured, seen, depth - 1)
    elif isinstance(obj, _PLAIN):
        captured.contents[label] = obj
    elif isinstance(obj, pl.Expr):
        # A plan, not data: nothing in it can change, and every name would be walked for nothing.
        return
    elif _is_instance(obj):
        if not _is_constant(obj):
            captured.contents[label] = obj
        attributes = cast(dict[str, Any], vars(obj))
        for key in list(attributes):
            _bind(_item(attributes, key, f"{label}.{key}"), captured, seen, depth - 1)
        kind = cast(type[Any], type(obj))
        if isinstance(vars(kind).get("__call__"), types.FunctionType):
            _walk(vars(kind)["__call__"], label, captured, seen, depth)


def _bind(binding: Binding, captured: Captures, seen: set[int], depth: int) -> None:
    value = binding.get()
    if isinstance(value, types.ModuleType | type):
        return
    if isinstance(value, pl.DataFrame):
        captured.frames.append(binding)
        return
    if not callable(value) or _is_instance(value):
        captured.bindings.append(binding)
    _walk(value, binding.label, captured, seen, depth - 1)


def _function(fn: types.FunctionType) -> Iterator[Binding]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            cell.cell_contents  # noqa: B018
        except ValueError:
            # A name that is assigned later in the enclosing function.
            continue
        yield Binding(name, lambda c=cell: c.cell_contents, lambda v, c=cell: setattr(c, "cell_contents", v))
    for name in _names(fn.__code__):
        if name in fn.__globals__:
            yield _item(fn.__globals__, name, name)
    for number, _ in enumerate(fn.__defaults__ or ()):
        yield Binding(
            f"{fn.__name__} default {number}",
            lambda n=number: (fn.__defaults__ or ())[n],
            lambda v, n=number: setattr(fn, "__defaults__", _with(fn.__defaults__ or (), n, v)),
        )
    for name in fn.__kwdefaults__ or {}:
        yield _item(fn.__kwdefaults__ or {}, name, name)


def _partial(obj: functools.partial[Any], label: str, captured: Captures, seen: set[int], depth: int) -> None:
    for name in obj.keywords:
        _bind(_item(obj.keywords, name, name), captured, seen, depth)
    for number, _ in enumerate(obj.args):

        def put(value: Any, number: int = number) -> None:
            # The arguments of a partial are read-only but for the way by which pickle restores it.
            state = (obj.func, _with(obj.args, number, value), obj.keywords, vars(obj) or None)
            getattr(obj, "__setstate__")(state)  # noqa: B009

        _bind(Binding(f"{label} argument {number}", lambda n=number: obj.args[n], put), captured, seen, depth)


def _item(holder: Any, key: Any, label: str) -> Binding:
    return Binding(label, lambda: holder[key], lambda v: holder.__setitem__(key, v))


def _with(values: tuple[Any, ...], position: int, value: Any) -> tuple[Any, ...]:
    return (*values[:position], value, *values[position + 1 :])


def _names(code: types.CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return list(dict.fromkeys(names))


def _is_library(fn: types.FunctionType) -> bool:
    return fn.__code__.co_filename.startswith(_LIBRARY)


def _is_instance(obj: Any) -> bool:
    """An object with attributes of its own that is neither code nor a class."""
    if isinstance(
        obj, type | types.ModuleType | types.FunctionType | types.MethodType | types.BuiltinFunctionType
    ):
        return False
    return hasattr(obj, "__dict__") and not isinstance(obj, functools.partial)


def _is_constant(obj: Any) -> bool:
    """An expression or a frozen dataclass: two states hold the same one if they hold the same object."""
    if isinstance(obj, pl.Expr):
        return True
    kind = cast(type[Any], type(obj))
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    return dataclasses.is_dataclass(obj) and not isinstance(obj, type) and frozen


class State:
    """The state that an extractor keeps, as it was before its first call."""

    def __init__(self, captured: Captures) -> None:
        self._captured = captured
        self._bound = [(b, b.get()) for b in captured.bindings]
        self._inside = {
            label: frozen for label, obj in captured.contents.items() if (frozen := _frozen(obj)) is not None
        }
        self._sizes = {label: fn.cache_info().currsize for label, fn in captured.caches.items()}
        self.changed: list[str] = []

    def watch(self) -> list[str]:
        """Labels of what a call has changed since; these are put back by `restore`."""
        for binding, value in self._bound:
            if binding.get() is not value and binding.label not in self.changed:
                self.changed.append(binding.label)
        for label, before in self._inside.items():
            if label not in self.changed and not before.same(_frozen(self._captured.contents[label])):
                self.changed.append(label)
        for label, fn in self._captured.caches.items():
            if label not in self.changed and fn.cache_info().currsize != self._sizes[label]:
                self.changed.append(label)
        return self.changed

    def ignore(self) -> None:
        """Leave what changed as it is, for good: it makes no difference to any result."""
        self._captured = Captures()
        self._bound, self._inside, self._sizes, self.changed = [], {}, {}, []

    def restore(self) -> None:
        """Put back what `watch` saw change."""
        if not self.changed:
            return
        for binding, value in self._bound:
            if binding.label in self.changed:
                binding.put(value)
        for label in self.changed:
            if label in self._inside:
                _refill(self._captured.contents[label], self._inside[label])
            if label in self._captured.caches:
                self._captured.caches[label].cache_clear()


@dataclass(frozen=True)
class _Frozen:
    """Contents of a container or instance: bytes, and the frames and modules in it, kept as they are."""

    data: bytes
    references: dict[Any, Any]

    def same(self, other: "_Frozen | None") -> bool:
        if other is None or self.data != other.data or self.references.keys() != other.references.keys():
            return False
        return all(other.references[k] is v for k, v in self.references.items())


def _contents(obj: Any) -> Any:
    """The container itself, or an instance's attributes."""
    return cast(dict[str, Any], vars(obj)) if _is_instance(obj) else obj


def _frozen(obj: Any) -> _Frozen | None:
    """None where the contents cannot be kept (locks, handles, too large)."""
    contents = _contents(obj)
    references: dict[Any, Any] = {}
    if isinstance(contents, dict):
        items = cast(dict[Any, Any], contents)
        references = {
            k: v
            for k, v in items.items()
            if isinstance(v, pl.DataFrame | types.ModuleType) or _is_constant(v)
        }
        contents = {k: v for k, v in items.items() if k not in references}
    try:
        data = pickle.dumps(contents)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError, ValueError, NotImplementedError):
        return None
    return _Frozen(data, references) if len(data) <= MAX_STATE_BYTES else None


def _refill(obj: Any, before: _Frozen) -> None:
    contents = pickle.loads(before.data)
    target = _contents(obj)
    if isinstance(target, dict):
        target.clear()
        cast(dict[Any, Any], target).update(contents | before.references)
    elif isinstance(target, set):
        target.clear()
        cast(set[Any], target).update(contents)
    else:
        target[:] = contents
