"""The place where an extractor has an object from, and putting another one in its place."""

import builtins
import dis
import functools
import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from trademl_pipeline.leakage.feature_audit.places import attributes, dictionary_in, set_attribute

_GETTERS: tuple[type, ...] = (operator.attrgetter, operator.methodcaller)
_IMPORTS = dis.opmap["IMPORT_NAME"]
# Kinds of objects with nothing in them.
PLAIN: frozenset[type] = frozenset((type(None), bool, int, float, str))


@dataclass(frozen=True)
class Binding:
    """A place that holds an object: a closure cell, a global, an attribute, an item.

    Attributes:
        label: for reports.
        get: gives the object.
        put: puts another one there; None where that cannot be done.
    """

    label: str
    get: Callable[[], Any]
    put: Callable[[Any], None] | None


def items_of(value: Any, around: Binding) -> Iterator[Binding]:
    """The items of a container as bindings; those of one that cannot change are put by rebuilding it."""
    label = around.label
    if isinstance(value, Mapping):
        mapping = cast(Mapping[Any, Any], value)
        for key in list(mapping):
            if type(key) not in PLAIN:
                yield Binding(f"a key of {label}", lambda k=key: k, None)
            put = (
                functools.partial(cast(Any, mapping).__setitem__, key)
                if hasattr(mapping, "__setitem__")
                else None
            )
            yield Binding(f"{label}[{key!r}]", lambda k=key: mapping[k], put)
    elif isinstance(value, tuple):
        for number, _ in enumerate(cast(tuple[Any, ...], value)):

            def rebuild(given: Any, number: int = number) -> None:
                before = cast(tuple[Any, ...], around.get())
                rebuilt = replaced(before, number, given)
                assert around.put is not None
                around.put(cast(Any, type(before))._make(rebuilt) if hasattr(before, "_make") else rebuilt)

            put = rebuild if around.put is not None else None
            yield Binding(f"{label}[{number}]", lambda n=number: around.get()[n], put)
    elif isinstance(value, list | deque):
        items = cast(list[Any], value)
        for number in range(len(items)):
            put = functools.partial(items.__setitem__, number)
            yield Binding(f"{label}[{number}]", lambda n=number: items[n], put)
    elif not isinstance(value, bytearray):
        for member in cast(set[Any], value):
            yield Binding(f"an item of {label}", lambda m=member: m, None)


def carried_by(fn: types.FunctionType) -> Iterator[Binding]:
    """The attributes and the defaults of a function as bindings."""
    for name in list(vars(fn)):
        yield Binding(f"{fn.__name__}.{name}", *attribute(fn, name))
    for number, _ in enumerate(fn.__defaults__ or ()):
        yield Binding(
            f"{fn.__name__} default {number}",
            lambda n=number: (fn.__defaults__ or ())[n],
            lambda v, n=number: setattr(fn, "__defaults__", replaced(fn.__defaults__ or (), n, v)),
        )
    for name in fn.__kwdefaults__ or {}:
        yield item(fn.__kwdefaults__ or {}, name, name)


def attribute(obj: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """Return how an attribute of an object is got and put."""

    def get() -> Any:
        space: Any = dictionary_in(obj)
        if name in space and not isinstance(
            getattr(cast(type[Any], type(obj)), name, None), types.MemberDescriptorType
        ):
            return cast(dict[str, Any], space)[name]
        return attributes(obj)[name]

    return get, functools.partial(set_attribute, obj, name)


def item(holder: Any, key: Any, label: str) -> Binding:
    """Return an item of a mapping as a binding."""
    return Binding(label, lambda: holder[key], lambda v: holder.__setitem__(key, v))


def replaced(values: tuple[Any, ...], position: int, value: Any) -> tuple[Any, ...]:
    """Return a tuple with another value at one position."""
    return (*values[:position], value, *values[position + 1 :])


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of all functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def names_in(fn: types.FunctionType) -> list[str]:
    """Return the names in the code of a function, and those in the getters of `operator` that it has at hand."""
    names = [name for code in codes(fn.__code__) for name in code.co_names]
    cells = [cell.cell_contents for cell in fn.__closure__ or () if filled(cell)]
    for value in (*(fn.__globals__.get(name) for name in names), *cells, *(fn.__defaults__ or ())):
        if type(value) in _GETTERS:
            names += [part for text in _texts(value) for part in text.split(".")]
    return list(dict.fromkeys(names))


def packages_around(fn: types.FunctionType) -> list[str]:
    """Return the modules in which names of a function may be found: its own, and where it imports, those above it.

    Args:
        fn: the function.
    """
    names = (fn.__module__ or "").split(".")
    imports = any(_IMPORTS in code.co_code[::2] for code in codes(fn.__code__))
    depths = range(len(names), 0, -1) if imports else (len(names),)
    return [".".join(names[:depth]) for depth in depths]


def paths_of(name: str, around: Iterable[str]) -> list[str]:
    """Return the modules that a name in a function may mean, as `tables` of `from .tables import T`.

    Args:
        name: in the code.
        around: the modules around the function, see `packages_around`.
    """
    return [name, *(f"{package}.{name}" for package in around)]


def unnamed(name: str, around: Iterable[str]) -> Iterator[Binding]:
    """Yield what a name may mean that is none of a function's globals: modules, and what was put among Python's own.

    Args:
        name: in the code.
        around: the modules around the function, see `packages_around`.
    """
    yield from (item(sys.modules, path, name) for path in paths_of(name, around) if path in sys.modules)
    if _is_put_among_builtins(name):
        yield item(vars(builtins), name, name)


def _is_put_among_builtins(name: str) -> bool:
    if name not in vars(builtins) or name[:2] == "__":
        return False
    value: Any = vars(builtins)[name]
    # Of functions, classes and the words that a console greets with, those that were there by themselves.
    of_python = issubclass(cast(type[Any], type(value)), types.BuiltinFunctionType) or (
        isinstance(value, type) and value.__module__ == "builtins"
    )
    return not of_python and cast(type[Any], type(value)).__module__ != "_sitebuiltins"


def _texts(getter: Any) -> list[str]:
    arguments: tuple[Any, ...] = getter.__reduce__()[1]
    return [text for text in arguments if isinstance(text, str)]


def filled(cell: types.CellType) -> bool:
    """Return whether the variable of a closure has a value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
