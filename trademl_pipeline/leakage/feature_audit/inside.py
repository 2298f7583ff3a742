"""Looking into the functions that an expression calls.

Nothing gives the functions themselves, only copies, as they are pickled with the expression. What a copy holds can be
judged; it cannot be cut, nor put back, so tables and containers that a call may fill are named. What a copy takes by
reference, a function or a class of a module, is the real one, and is looked into like any other.

Writing an expression down takes milliseconds, and the pipeline has hundreds. Where the walk over its code is
remembered, the copies are as well, as long as the names that their code uses stand for the same objects in the modules
that it is from.
"""

import dis
import sys
import types
from collections.abc import Iterable
from typing import Any, cast

import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import Binding, codes
from trademl_pipeline.leakage.feature_audit.expressions import Literals, parts_of_expression
from trademl_pipeline.leakage.feature_audit.kinds import Kind
from trademl_pipeline.leakage.feature_audit.memory import Judgements, Readings
from trademl_pipeline.leakage.feature_audit.places import Place, generator_of
from trademl_pipeline.leakage.feature_audit.walk import Walk

_LEFT = " in an expression, in which calls may leave what is not put back"
_STORES = frozenset((dis.opmap["STORE_GLOBAL"], dis.opmap["STORE_DEREF"]))

_MOST = 4096


class _Copies:
    """Copies of what an expression holds, with the expression: none is let go of and its id given to another.

    Attributes:
        parts: series and copies of functions.
        names: that the code of the functions uses.
        inside: the walk over them on the last panel.
    """

    def __init__(self, expression: pl.Expr, walk: Walk) -> None:
        self.expression = expression
        self.parts = parts_of_expression(expression)
        self.names = Readings(walk.shape)
        self.inside: Inside | None = None

    def on(self, walk: Walk, label: str) -> "Inside":
        """Return the walk over the parts on the panel of another walk."""
        if self.inside is None or self.inside.shape != walk.shape:
            self.names = Readings(walk.shape)
            self.inside = Inside(walk, self.names)
            for part in self.parts:
                # A literal series comes as a list, which no call can fill.
                fixed = tuple(cast(list[Any], part)) if isinstance(part, list) else part
                self.inside.visit(Binding(f"{label} (in an expression)", lambda p=fixed: p, None))
            self.inside.finish()
        return self.inside


_seen: dict[int, _Copies] = {}


def look_inside(walk: Walk, expression: pl.Expr, label: str) -> None:
    """Name what the functions of an expression hold, and visit what they refer to.

    Args:
        walk: that met the expression.
        expression: a Polars expression.
        label: for reports.
    """
    copies = _seen.get(id(expression)) if walk.readings is not None else None
    if copies is None or not copies.names.stand():
        copies = _Copies(expression, walk)
        if walk.readings is not None:
            if len(_seen) >= _MOST:
                _seen.clear()
            _seen[id(expression)] = copies
    inside = copies.on(walk, label)
    if walk.readings is not None:
        walk.readings.add(inside.noted)
        walk.readings.add_names(copies.names)
    for name, reason in inside.reached.named.items():
        walk.name(name, reason)
    for binding in inside.referred:
        walk.visit(binding)
    for module, names, name in inside.modules:
        walk.module(module, names, name)


class Inside(Walk):
    """A walk over the copies in an expression.

    Attributes:
        referred: what they take by reference.
        modules: whose names they use: module, names, label.
        noted: how what is in them was judged.
    """

    def __init__(self, walk: Walk, names: Readings) -> None:
        super().__init__(walk.shape, walk.libraries, look_inside)
        self._names_used = names
        self.judgements = self.noted = Judgements(walk.shape)
        self.referred: list[Binding] = []
        self.modules: list[tuple[types.ModuleType, list[str], str]] = []

    def visit(self, binding: Binding, *, counted: bool = False) -> None:
        """Look into what a binding holds, but not into what is no copy."""
        value = binding.get()
        if isinstance(value, Literals):
            self.judge_together(binding.label, value)
            for text in (part for part in value if isinstance(part, str)):
                self.judge(binding.label, text)
        elif _is_of_module(value):
            self.referred.append(Binding(binding.label, lambda: value, None))
        else:
            super().visit(Binding(binding.label, binding.get, None), counted=counted)

    def look_into(self, kind: Kind, value: Any, label: str) -> None:
        """Look into a value; an expression inside an expression has parts of its own."""
        if kind is Kind.EXPRESSION:
            for part in parts_of_expression(value):
                self.visit(Binding(label, lambda p=part: p, None))
        else:
            super().look_into(kind, value, label)

    def place(self, place: Place | None) -> None:
        """Pass over the places of a copy: what a call can leave behind is named where it is met."""

    def container(self, value: Any, binding: Binding, counted: bool) -> None:
        """Look into a container, and name one that a call may fill."""
        if not isinstance(value, tuple | frozenset | types.MappingProxyType):
            self.name(binding.label, f"{type(value).__name__}{_LEFT}")
        super().container(value, binding, counted)

    def instance(self, value: Any, label: str) -> None:
        """Look into an instance, and name one of a class that is no library's, and a generator of random numbers."""
        if (
            not self.libraries.has_class(cast(type[Any], type(value)))
            or generator_of(value, label) is not None
        ):
            self.name(label, f"{type(value).__name__}{_LEFT}")
        super().instance(value, label)

    def function(self, fn: types.FunctionType, label: str) -> None:
        """Look into a function, and name one that assigns to names outside itself."""
        original = sys.modules.get(fn.__module__ or "")
        if original is not None:
            used = [name for code in codes(fn.__code__) for name in code.co_names]
            self._names_used.names(vars(original), used)
        for code in codes(fn.__code__):
            if _STORES.intersection(code.co_code[::2]) and any(
                i.opname == "STORE_GLOBAL"
                or (i.opname == "STORE_DEREF" and i.argval in fn.__code__.co_freevars)
                for i in dis.get_instructions(code)
            ):
                self.name(label, f"function{_LEFT}")
        super().function(fn, label)

    def module(self, module: types.ModuleType, names: Iterable[str], label: str) -> None:
        """Remember that the names of a module are used."""
        self.modules.append((module, list(names), label))


def _is_of_module(value: Any) -> bool:
    """Return whether a function or a class is the one that its module has under its name."""
    if not isinstance(value, types.FunctionType | type) and not hasattr(
        cast(type[Any], type(value)), "cache_clear"
    ):
        return False
    there: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for name in (getattr(value, "__qualname__", None) or "").split("."):
        there = getattr(there, name, None)
    return there is value
