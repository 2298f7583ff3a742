"""The walk over what a callable can look into besides its arguments, object by object. See `reach`."""

import builtins
import functools
import sys
import types
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import (
    PLAIN,
    Binding,
    attribute,
    carried_by,
    filled,
    item,
    items_of,
    names_in,
    packages_around,
    paths_of,
    unnamed,
)
from trademl_pipeline.leakage.feature_audit.constants import Shape, constants_of
from trademl_pipeline.leakage.feature_audit.descriptions import Descriptions
from trademl_pipeline.leakage.feature_audit.kinds import (
    ANYWHERE,
    ATTRIBUTES_BY_NAME,
    BY_NAME,
    CHANGING,
    READS_ENVIRONMENT,
    TO_MODULES,
    Kind,
    Kinds,
    is_code,
    is_of_its_library,
    module_of,
    name_of_kind,
)
from trademl_pipeline.leakage.feature_audit.libraries import Libraries, of_package
from trademl_pipeline.leakage.feature_audit.memory import cells_of, flat
from trademl_pipeline.leakage.feature_audit.namespaces import additions, contents_of_classes
from trademl_pipeline.leakage.feature_audit.noting import Noting
from trademl_pipeline.leakage.feature_audit.of_libraries import inside_of
from trademl_pipeline.leakage.feature_audit.parts import (
    attributes_beside,
    hidden_contents,
    parts_behind,
    parts_of,
    parts_of_class,
    stored_by_library,
)
from trademl_pipeline.leakage.feature_audit.places import (
    attributes,
    attributes_of,
    dictionary_in,
    dictionary_of,
    generator_of,
    is_special,
    names_of,
    place_of,
)

# Objects looked into; whatever holds more is data.
BUDGET = 50_000
# Names in a module by which Python has imported it.
_OF_IMPORT = ("__builtins__", "__spec__", "__loader__")
# Items of one container looked into one by one.
ITEMS = 2_000

LookInside = Callable[["Walk", pl.Expr, str], None]


class Walk(Noting):
    """Visits every object once.

    Args:
        shape: of the panel under audit, which tells data from settings.
        libraries: whose functions are not looked into.
        look_inside: looks into an expression.
    """

    def __init__(self, shape: Shape, libraries: Libraries, look_inside: LookInside) -> None:
        super().__init__(shape, libraries)
        self._look_inside = look_inside
        # The objects, so that none is let go of and its id given to another.
        self._seen: dict[int, Any] = {}
        self._named_in: set[tuple[int, str]] = set()
        self._kinds = Kinds()
        self._descriptions = Descriptions(libraries)
        self._additions: dict[str, list[Binding]] | None = None

    def visit(self, binding: Binding, *, counted: bool = False) -> None:
        """Look into what a binding holds; `counted` where a container around it has been judged as a whole."""
        value = binding.get()
        if type(value) in PLAIN:
            # Most of what there is.
            if not counted:
                self.judge(binding.label, value)
            return
        kind = self._kinds.of(value)
        if kind is Kind.TABULAR:
            self._table(value, binding)
            return
        if kind is Kind.SETTING or kind is Kind.VALUE:
            if not counted:
                self.judge(binding.label, value)
            if kind is Kind.SETTING:
                return
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if self.later is not None and self.later.takes(kind, binding, value):
            return
        if len(self._seen) > BUDGET:
            self.name(binding.label, f"more than {BUDGET:,} objects")
        elif kind is Kind.CONTAINER:
            self.container(value, binding, counted)
        else:
            self.look_into(kind, value, binding.label)

    def finish(self) -> None:
        """Look into what can only be told after all else: docstrings and annotations, where code reads them."""
        while unread := self._descriptions.unread(self._seen.values(), len(self._seen)):
            for binding in unread:
                self.read(lambda b=binding: [b.get()])
                self.visit(binding)

    def look_into(self, kind: Kind, value: Any, label: str) -> None:
        """Look into an object that was not seen before."""
        if kind is Kind.EXPRESSION:
            self._look_inside(self, value, label)
            self._beside(value, label)
        elif kind is Kind.INSTANCE:
            self.instance(value, label)
        elif kind is Kind.FUNCTION:
            self.function(value, label)
        elif kind is Kind.ARRAY:
            self._array(cast(np.ndarray, value), label)
        elif kind is Kind.COMPOUND or kind is Kind.VALUE:
            self.read(lambda: [part.get() for part in parts_of(value, label)])
            parts = parts_of(value, label)
            self.judge_together(label, (part.get() for part in parts))
            for part in parts:
                self.visit(part)
            self._beside(value, label)
        elif kind is Kind.BUILT_IN:
            self._bound(value.__self__, label)
        elif kind is Kind.CACHE:
            if not of_package(value.__wrapped__):
                self.reached.caches.append((label, value))
            self.read(lambda: [getattr(value, "__wrapped__", None)])
            self.visit(Binding(label, lambda: value.__wrapped__, None))
            self._beside(value, label)
        elif kind is Kind.CLASS:
            self._class(value, label)
        elif kind is Kind.REFERENCE:
            self._behind(value, label)
        elif kind is Kind.MODULE:
            if not self.libraries.has_class(cast(type[Any], type(value))):
                self.instance(value, label)
            if not self.libraries.has_module(value):
                # No name in the code tells what is taken from it.
                self.module(value, ["getattr"], label)
        elif kind is Kind.DISGUISE:
            self.name(label, f"{type(value).__name__}, which says itself what it is or what it has")
        else:
            self.name(label, f"{type(value).__name__} that cannot be looked into")

    def _table(self, value: Any, binding: Binding) -> None:
        if binding.put is None:
            self.name(binding.label, f"{name_of_kind(value)} that cannot be cut where it lies")
        else:
            self.reached.tables.append(binding)
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            self._beside(value, binding.label)

    def _beside(self, value: Any, label: str) -> None:
        """Look into what was put on an object of a kind that has an inside of its own, and into its class."""
        if not self.libraries.has_class(cast(type[Any], type(value))):
            self.instance(value, label)
            return
        if not hasattr(value, "__dict__"):
            return
        self.read(lambda: flat(dictionary_in(value)))
        if isinstance(value, CHANGING):
            self.place(dictionary_of(value, label))
        for part in attributes_beside(value, label, slots=False):
            self.visit(part)

    def container(self, value: Any, binding: Binding, counted: bool) -> None:
        """Look into a container's items, unless it is data as a whole."""
        if self.readings is not None:
            self.readings.container(value)
        if not self.libraries.has_class(cast(type[Any], type(value))):
            self.instance(value, binding.label)
            contents = hidden_contents(value)
            if contents is not None:
                self.place(place_of(value, binding.label))
                self.visit(Binding(binding.label, lambda: contents, None), counted=counted)
                return
        elif dictionary_in(value):
            self._beside(value, binding.label)
        for part in parts_of(value, binding.label):
            self.visit(part)
        if not counted and self.judge(binding.label, value):
            return
        if len(value) > ITEMS:
            self.name(binding.label, f"{len(value):,} items")
            return
        self.place(place_of(value, binding.label))
        for inside in items_of(value, binding):
            self.visit(inside, counted=True)

    def _array(self, array: np.ndarray, label: str) -> None:
        if self.readings is not None:
            self.readings.array(array)
        if type(array) is not np.ndarray:
            self._beside(array, label)
        self.read(lambda: [array.dtype.metadata is None])
        if array.dtype.metadata is not None:
            self.visit(Binding(label, lambda: array.dtype, None))
        if not self.judge_array(label, array):
            self.place(place_of(array, label))

    def function(self, fn: types.FunctionType, label: str) -> None:
        """Look into what a function's code can take: closure, attributes, defaults, constants, names."""
        self.read(lambda: cells_of(fn))
        library = self.libraries.has_file(fn.__code__.co_filename)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            if not library:
                self.place(place_of(cell, name))
            # What a library's wrapper is built around may be the extractor's own function.
            if filled(cell) and (not library or self.libraries.may_be_own(cell.cell_contents)):
                put = functools.partial(setattr, cell, "cell_contents")
                self.visit(Binding(name, lambda c=cell: c.cell_contents, put))
        if library:
            for name in self.libraries.in_wrapper(fn):
                self.read(lambda: flat(vars(fn)))
                self.visit(Binding(f"{fn.__name__}.{name}", *attribute(fn, name)))
            return
        if fn.__dict__ or label == fn.__name__:
            self.place(attributes_of(fn, f"attributes of {fn.__name__}"))
        for part in carried_by(fn):
            self.visit(part)
        for values in (cells_of(fn), fn.__defaults__ or ()):
            self.judge_together(label, values)
        for constant, few in constants_of(fn):
            self.judge(f"constants in the code of {fn.__name__}", constant, few)
        self._names(fn)

    def _names(self, fn: types.FunctionType) -> None:
        names = names_in(fn)
        self._descriptions.note(names, fn.__code__)
        self._added(names)
        around = packages_around(fn)
        if self.readings is not None:
            self.readings.names(fn.__globals__, names)
            unknown = [n for n in names if n not in fn.__globals__]
            self.readings.names(sys.modules, [path for n in unknown for path in paths_of(n, around)])
            self.readings.names(vars(builtins), unknown)
        known = [n for n in names if not hasattr(builtins, n)]
        globals_named = {n for n in known if n not in fn.__globals__ or not is_code(fn.__globals__[n])}
        self.place(names_of(fn.__globals__, sorted(globals_named), f"globals of {fn.__name__}"))
        for name in ANYWHERE.intersection(names):
            self.name(f"{fn.__name__} by {name}", "objects by names that are made up while it runs")
        if READS_ENVIRONMENT.intersection(names):
            self.judge_environment()
        if BY_NAME.intersection(names):
            self.read(lambda: flat(fn.__globals__))
            self.judge_together(f"globals of {fn.__name__}", fn.__globals__.values())
            for name in list(fn.__globals__):
                if name.startswith("__"):
                    continue
                if not isinstance(fn.__globals__[name], types.ModuleType):
                    self.visit(item(fn.__globals__, name, name))
                elif TO_MODULES.intersection(names):
                    self.module(fn.__globals__[name], names, name)
        for name in names:
            if name in fn.__globals__:
                value = fn.__globals__[name]
                if isinstance(value, types.ModuleType):
                    self.module(value, names, name)
                else:
                    self.visit(item(fn.__globals__, name, name))
            else:
                for binding in unnamed(name, around):
                    module: Any = binding.get()
                    if not isinstance(module, types.ModuleType):
                        self.visit(binding)
                    elif not self.libraries.has_module(module):
                        self.module(module, names, name)

    def _added(self, names: list[str]) -> None:
        """Look into what was put on the classes of tables and expressions under a name in some code."""
        if self._additions is None:
            self.read(lambda: list(contents_of_classes()))
            self._additions = additions(self.libraries)
        for name in self._additions if ATTRIBUTES_BY_NAME.intersection(names) else names:
            for binding in self._additions.get(name, ()):
                self.visit(binding)

    def module(self, module: types.ModuleType, names: Iterable[str], label: str) -> None:
        """Look into what code that has a module may take from it: the names that stand in that code."""
        if self.later is not None and self.later.takes_module(module, names, label):
            return
        library = self.libraries.has_module(module)
        # A module may say what is in it by a function.
        names = [*names, "__getattr__"]
        space = vars(module)
        everything = not ATTRIBUTES_BY_NAME.isdisjoint(names) and not library
        if everything:
            self.read(lambda: flat(space))
            self.judge_together(label, space.values())
        elif self.readings is not None:
            self.readings.names(space, names)
        for name in list(space) if everything else names:
            unasked = everything and is_special(name) and name not in names
            if unasked or name not in space or name in _OF_IMPORT or (id(module), name) in self._named_in:
                continue
            self._named_in.add((id(module), name))
            value = space[name]
            if isinstance(value, types.ModuleType):
                if not everything:
                    self.module(value, names, f"{label}.{name}")
            elif not (library and self.libraries.has_code(value)) or not (
                is_code(value) or is_of_its_library(value, module)
            ):
                self.visit(item(space, name, f"{label}.{name}"))

    def _bound(self, owner: Any, label: str) -> None:
        of_library = isinstance(owner, type) and self.libraries.has_class(owner)
        if owner is not None and not isinstance(owner, types.ModuleType) and not of_library:
            self.visit(Binding(f"{label} of {type(owner).__name__}", lambda: owner, None))

    def _behind(self, value: Any, label: str) -> None:
        self.read(None)
        for part in parts_behind(value, label):
            self.visit(part)
        if isinstance(value, ContextVar):
            self.place(place_of(value, label))
        else:
            self._beside(value, label)

    def _class(self, kind: type, label: str) -> None:
        self.read(lambda: (type(kind), *kind.__mro__))
        self.visit(Binding(type(kind).__name__, lambda: type(kind), None))
        for base in kind.__mro__:
            if self.libraries.has_class(base):
                continue
            self.read(lambda base=base: flat(vars(base)))
            self.place(attributes_of(base, f"attributes of class {base.__name__}"))
            self.judge_together(label, vars(base).values())
            for part in parts_of_class(base, filter(self.libraries.has_class, base.__mro__[:-1])):
                self.visit(part)

    def instance(self, value: Any, label: str) -> None:
        """Look into the attributes of an object and its class."""
        kind = cast(type[Any], type(value))
        self.read(lambda: (cast(type[Any], type(value)), *flat(attributes(value))))
        if (
            module_of(kind).startswith("numba")
            and self.libraries.has_class(kind)
            and hasattr(value, "py_func")
        ):
            self.read(lambda: [value.py_func])
            self.visit(Binding(label, lambda: value.py_func, None))
            return
        if self.libraries.has_class(kind):
            self._of_library(value, kind, label)
            return
        if id(kind) not in self._seen:
            self.visit(Binding(kind.__name__, lambda: kind, None))
        stored = stored_by_library(kind) if self._kinds.of(value) is Kind.INSTANCE else None
        if stored is not None:
            self.name(label, f"{kind.__qualname__}, a kind of {stored}, whose inside cannot be cut")
        self.place(generator_of(value, label))
        self.place(attributes_of(value, label))
        self.judge_together(label, attributes(value).values())
        for part in (*parts_of(value, label), *attributes_beside(value, label)):
            self.visit(part)

    def _of_library(self, value: Any, kind: type, label: str) -> None:
        """An object of a library holds data, unless it is known to hold settings alone."""
        inside = inside_of(value, label, self.libraries)
        if inside is None:
            self.name(label, f"{module_of(kind)}.{kind.__qualname__}, an object whose inside cannot be cut")
            return
        for place in inside[0]:
            self.place(place)
        self.judge_together(label, (part.get() for part in inside[1]))
        for part in inside[1]:
            self.visit(part)
