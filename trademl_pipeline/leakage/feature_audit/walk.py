"""The walk over what a callable can look into besides its arguments, object by object. See `reach`."""

import builtins
import functools
import sys
import threading
import types
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import (
    Binding,
    attribute,
    codes,
    filled,
    item,
    items_of,
    replaced,
)
from trademl_pipeline.leakage.feature_audit.constants import (
    FEW,
    FEW_IN_CODE,
    SCALARS,
    Shape,
    data_in,
)
from trademl_pipeline.leakage.feature_audit.kinds import (
    ANYWHERE,
    BY_NAME,
    Kind,
    Kinds,
    arguments_of,
    is_code,
    is_of_its_library,
    name_of_kind,
)
from trademl_pipeline.leakage.feature_audit.libraries import Libraries, of_package
from trademl_pipeline.leakage.feature_audit.memory import (
    Judgements,
    Later,
    Readings,
    cells_of,
    flat,
    parts_of_partial,
)
from trademl_pipeline.leakage.feature_audit.places import (
    Place,
    attributes,
    attributes_of,
    generator_of,
    in_context,
    is_special,
    names_of,
    place_of,
)
from trademl_pipeline.leakage.feature_audit.reached import Reached

# Objects looked into; whatever holds more is data.
BUDGET = 50_000
# Items of one container looked into one by one.
ITEMS = 2_000

LookInside = Callable[["Walk", pl.Expr, str], None]


class Walk:
    """Visits every object once.

    Args:
        shape: of the panel under audit, which tells data from settings.
        libraries: whose functions are not looked into.
        look_inside: looks into an expression.

    Attributes:
        later: keeps what of the pipeline's own is met, and is not looked into here; None: nothing.
        readings, judgements: note what is read, and how it is judged; None: nobody does.
    """

    later: Later | None = None
    readings: Readings | None = None
    judgements: Judgements | None = None

    def __init__(self, shape: Shape, libraries: Libraries, look_inside: LookInside) -> None:
        self.reached = Reached()
        self.shape = shape
        self.libraries = libraries
        self._look_inside = look_inside
        # The objects, so that none is let go of and its id given to another.
        self._seen: dict[int, Any] = {}
        self._named_in: set[tuple[int, str]] = set()
        self._kinds = Kinds()

    def visit(self, binding: Binding, *, counted: bool = False) -> None:
        """Look into what a binding holds; `counted` where a container around it has been judged as a whole."""
        value = binding.get()
        if type(value) in SCALARS:
            # Most of what there is.
            if not counted:
                self._judge(binding.label, value)
            return
        kind = self._kinds.of(value)
        if kind is Kind.TABULAR:
            if binding.put is None:
                self.name(binding.label, f"{name_of_kind(value)} that cannot be cut where it lies")
            else:
                self.reached.tables.append(binding)
            return
        if kind is Kind.SETTING:
            if not counted:
                self._judge(binding.label, value)
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

    def look_into(self, kind: Kind, value: Any, label: str) -> None:
        """Look into an object that was not seen before."""
        if kind is Kind.EXPRESSION:
            self._look_inside(self, value, label)
        elif kind is Kind.INSTANCE:
            self.instance(value, label)
        elif kind is Kind.FUNCTION:
            self.function(value, label)
        elif kind is Kind.ARRAY:
            self._array(cast(np.ndarray, value), label)
        elif kind is Kind.PARTIAL:
            self._partial(cast(functools.partial[Any], value), label)
        elif kind is Kind.METHOD:
            self.visit(Binding(label, lambda: value.__func__, None))
            self.visit(Binding(type(value.__self__).__name__, lambda: value.__self__, None))
        elif kind is Kind.BUILT_IN:
            self._bound(value.__self__, label)
        elif kind is Kind.CACHE:
            if not of_package(value.__wrapped__):
                self.reached.caches.append((label, value))
            self._read(lambda: [getattr(value, "__wrapped__", None)])
            self.visit(Binding(label, lambda: value.__wrapped__, None))
        elif kind is Kind.CLASS:
            self._class(value, label)
        elif kind is Kind.DESCRIPTOR:
            self._read(lambda: [getattr(value, n, None) for n in ("fget", "fset", "__func__", "func")])
            for name in ("fget", "fset", "__func__", "func"):
                if getattr(value, name, None) is not None:
                    self.visit(Binding(label, lambda n=name: getattr(value, n), None))
        elif kind is Kind.REFERENCE:
            self._behind(value, label)
        elif kind is Kind.MODULE and not self.libraries.has_module(value):
            # No name in the code tells what is taken from it.
            self.module(value, ["getattr"], label)

    def _judge(self, label: str, value: Any, few: int = FEW) -> bool:
        reason = data_in(value, self.shape, few)
        if self.judgements is not None:
            self.judgements.add_value(value, few, reason)
        if reason is not None:
            self.name(label, reason)
        return reason is not None

    def _read(self, read: Callable[[], Iterable[Any]] | None) -> None:
        if self.readings is not None:
            self.readings.read(read)

    def name(self, label: str, reason: str) -> None:
        """Name what nothing can cut."""
        self.reached.named.setdefault(label, reason)

    def place(self, place: Place | None) -> None:
        """Remember where a call can leave something."""
        if place is not None:
            self.reached.places.append(place)

    def container(self, value: Any, binding: Binding, counted: bool) -> None:
        """Look into a container's items, unless it is data as a whole."""
        if self.readings is not None:
            self.readings.container(value)
        if getattr(value, "__dict__", None) and not self.libraries.has_class(cast(type[Any], type(value))):
            self.instance(value, binding.label)
        if not counted and self._judge(binding.label, value):
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
        if array.dtype.kind == "O" or array.dtype.names is not None or array.dtype.kind == "M":
            self.name(label, f"an array of {array.size:,} values")
        elif not self._judge(
            label, array.ravel()[: FEW + 1].tolist() if array.size > FEW else array.tolist()
        ):
            self.place(place_of(array, label))

    def _partial(self, value: "functools.partial[Any]", label: str) -> None:
        self._read(lambda: parts_of_partial(value))
        self.visit(Binding(label, lambda: value.func, None))
        for name in value.keywords:
            self.visit(item(value.keywords, name, name))
        for number, _ in enumerate(value.args):

            def put(given: Any, number: int = number) -> None:
                # The arguments of a partial are read-only but for the way by which pickle restores it.
                state = (value.func, replaced(value.args, number, given), value.keywords, vars(value) or None)
                getattr(value, "__setstate__")(state)  # noqa: B009

            self.visit(Binding(f"{label} argument {number}", lambda n=number: value.args[n], put))

    def function(self, fn: types.FunctionType, label: str) -> None:
        """Look into what a function's code can take: closure, attributes, defaults, constants, names."""
        self._read(lambda: cells_of(fn))
        library = self.libraries.has_file(fn.__code__.co_filename)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            if not library:
                self.place(place_of(cell, name))
            if filled(cell):
                # What a library's wrapper is built around may be the extractor's own function.
                if library and not self.libraries.may_be_own(cell.cell_contents):
                    continue
                put = functools.partial(setattr, cell, "cell_contents")
                self.visit(Binding(name, lambda c=cell: c.cell_contents, put))
        if library:
            return
        if fn.__dict__ or label == fn.__name__:
            self.place(attributes_of(fn, f"attributes of {fn.__name__}"))
        for name in list(vars(fn)):
            self.visit(Binding(f"{fn.__name__}.{name}", *attribute(fn, name)))
        for number, _ in enumerate(fn.__defaults__ or ()):
            self.visit(
                Binding(
                    f"{fn.__name__} default {number}",
                    lambda n=number: (fn.__defaults__ or ())[n],
                    lambda v, n=number: setattr(fn, "__defaults__", replaced(fn.__defaults__ or (), n, v)),
                )
            )
        for name in fn.__kwdefaults__ or {}:
            self.visit(item(fn.__kwdefaults__ or {}, name, name))
        self._constants(fn)
        self._names(fn)

    def _constants(self, fn: types.FunctionType) -> None:
        """Judge what is written into the code: each constant, and all loose ones of a function together."""
        label = f"constants in the code of {fn.__name__}"
        for code in codes(fn.__code__):
            constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
            if constants and constants[0] == fn.__doc__:
                constants = constants[1:]
            for constant in constants:
                self._judge(label, constant)
            self._judge(label, [c for c in constants if not isinstance(c, str | tuple)], FEW_IN_CODE)

    def _names(self, fn: types.FunctionType) -> None:
        names = list(dict.fromkeys(name for code in codes(fn.__code__) for name in code.co_names))
        if self.readings is not None:
            self.readings.names(fn.__globals__, names)
            unknown = [n for n in names if n not in fn.__globals__]
            self.readings.names(sys.modules, [*unknown, *(f"{fn.__module__}.{n}" for n in unknown)])
        known = [n for n in names if not hasattr(builtins, n)]
        globals_named = {n for n in known if n not in fn.__globals__ or not is_code(fn.__globals__[n])}
        self.place(names_of(fn.__globals__, sorted(globals_named), f"globals of {fn.__name__}"))
        for name in ANYWHERE.intersection(names):
            self.name(f"{fn.__name__} by {name}", "objects by names that are made up while it runs")
        if BY_NAME.intersection(names):
            self._read(lambda: flat(fn.__globals__))
            for name in list(fn.__globals__):
                if not name.startswith("__") and not isinstance(fn.__globals__[name], types.ModuleType):
                    self.visit(item(fn.__globals__, name, name))
        for name in names:
            if name in fn.__globals__:
                value = fn.__globals__[name]
                if isinstance(value, types.ModuleType):
                    self.module(value, names, name)
                else:
                    self.visit(item(fn.__globals__, name, name))
            else:
                module = sys.modules.get(name) or sys.modules.get(f"{fn.__module__}.{name}")
                if module is not None and not self.libraries.has_module(module):
                    self.module(module, names, name)

    def module(self, module: types.ModuleType, names: Iterable[str], label: str) -> None:
        """Look into what code that has a module may take from it: the names that stand in that code."""
        if self.later is not None and self.later.takes_module(module, names, label):
            return
        library = self.libraries.has_module(module)
        space = vars(module)
        everything = "getattr" in names and not library
        if everything:
            self._read(lambda: flat(space))
        elif self.readings is not None:
            self.readings.names(space, names)
        for name in list(space) if everything else names:
            if name not in space or name.startswith("__") or (id(module), name) in self._named_in:
                continue
            self._named_in.add((id(module), name))
            value = space[name]
            if isinstance(value, types.ModuleType):
                if not everything:
                    self.module(value, names, f"{label}.{name}")
            elif not library or not (is_code(value) or is_of_its_library(value, module)):
                self.visit(item(space, name, f"{label}.{name}"))

    def _bound(self, owner: Any, label: str) -> None:
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.visit(Binding(f"{label} of {type(owner).__name__}", lambda: owner, None))

    def _behind(self, value: Any, label: str) -> None:
        self._read(None)
        if isinstance(value, ContextVar):
            variable = cast(ContextVar[Any], value)
            self.place(place_of(variable, label))
            self.visit(Binding(label, lambda: in_context(variable), lambda v: cast(None, variable.set(v))))
        else:
            self.visit(Binding(label, value, None))

    def _class(self, kind: type, label: str) -> None:
        self._read(lambda: kind.__mro__)
        for base in kind.__mro__:
            if self.libraries.has_class(base):
                continue
            self._read(lambda base=base: flat(vars(base)))
            self.place(attributes_of(base, f"attributes of class {base.__name__}"))
            for name in attributes(base):
                if not isinstance(vars(base)[name], types.MemberDescriptorType | types.GetSetDescriptorType):
                    self.visit(
                        Binding(
                            f"{base.__name__}.{name}",
                            lambda b=base, n=name: vars(b)[n],
                            lambda v, b=base, n=name: setattr(b, n, v),
                        )
                    )
            for name, special in list(vars(base).items()):
                if is_special(name) and isinstance(special, types.FunctionType):
                    self.visit(Binding(f"{base.__name__}.{name}", lambda s=special: s, None))

    def instance(self, value: Any, label: str) -> None:
        """Look into the attributes of an object and its class."""
        kind = cast(type[Any], type(value))
        self._read(lambda: (cast(type[Any], type(value)), *flat(attributes(value))))
        if kind.__module__.startswith("numba") and hasattr(value, "py_func"):
            self._read(None)
            self.visit(Binding(label, lambda: value.py_func, None))
            return
        if self.libraries.has_class(kind):
            self._of_library(value, kind, label)
            return
        if id(kind) not in self._seen:
            self.visit(Binding(kind.__name__, lambda: kind, None))
        self.place(attributes_of(value, label))
        for name in attributes(value):
            self.visit(Binding(f"{label}.{name}", *attribute(value, name)))

    def _of_library(self, value: Any, kind: type, label: str) -> None:
        """An object of a library holds data, unless it is known to hold settings alone."""
        if kind.__name__ == "ufunc" or isinstance(value, types.SimpleNamespace | threading.local):
            self.place(attributes_of(value, label) if isinstance(value, threading.local) else None)
            for name in attributes(value):
                self.visit(Binding(f"{label}.{name}", *attribute(value, name)))
            return
        place = generator_of(value, label)
        if place is not None or kind.__name__ == "count":
            # A generator of random numbers, or a counter.
            self.place(place)
            return
        unfitted = hasattr(kind, "get_params") and not any(
            n.endswith("_") and not n.startswith("_") for n in getattr(value, "__dict__", {})
        )
        if unfitted:
            self.place(attributes_of(value, label))
            for name in attributes(value):
                self.visit(Binding(f"{label}.{name}", *attribute(value, name)))
            return
        if callable(value) and kind.__module__.split(".")[0] in ("talib", "numpy", "operator"):
            for part in arguments_of(value):
                self.visit(Binding(label, lambda p=part: p, None))
            return
        if kind.__module__.split(".")[0] in ("typing", "_abc", "dataclasses"):
            return
        if kind.__module__ in ("_thread", "threading") and not isinstance(value, threading.Thread):
            # Locks and the like.
            return
        if kind.__module__.startswith("polars.functions"):
            # `pl.col`, which makes expressions, and what holds a function that an expression calls.
            for name in attributes(value):
                self.visit(Binding(f"{label}.{name}", *attribute(value, name)))
            return
        self.name(label, f"{kind.__module__}.{kind.__qualname__}, an object whose inside cannot be cut")
