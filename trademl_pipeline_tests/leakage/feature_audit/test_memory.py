"""What a walk over the pipeline's own code remembers is what a new walk would find."""

import sys
import types
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import trademl_pipeline
from trademl_pipeline.leakage.feature_audit import inside, memory, reach
from trademl_pipeline.leakage.feature_audit.constants import Shape

NAME = "trademl_pipeline.planted_for_memory"
CODE = """
import contextvars
import enum
import functools
import logging
import sys
import weakref
from collections import deque

import numpy as np
import polars as pl

from trademl_pipeline import planted_beside

FACTORS = [1.0, 2.0]
WEIGHTS = np.zeros(3)
LETTERS = np.array(["xxx", "yyy", "zzz"])
NESTED = [[1.0]]
AROUND = []
AROUND.append(AROUND)
THRESHOLD = 1.0
SMOOTHED = pl.col("close").map_batches(lambda s: s * THRESHOLD * turned(1) + not_yet)
NOTHING = np.array(None, dtype=object)


def turned(x):
    return x


class Looked(dict):
    def __getitem__(self, key):
        return BY_NAME.get(key, 1)


LOOKED, LOOKED_UP = {}, Looked(fast=1)
BY_NAME = {"fast": 3, "slow": 9}
NAMES = {"alpha", "beta"}
QUEUE = deque([1, 2])
WINDOW = 5
VARIABLE, CONTEXT = (), contextvars.ContextVar("CONTEXT", default=())


class Settings:
    shares = (0.1, 0.2)

    def __init__(self):
        self.levels = [1, 2, 3]


class Slotted:
    __slots__ = ("level", "other")

    def __init__(self):
        self.level = 1


class Scale:
    def __call__(self, frame):
        return frame


class Text(str):
    pass


class Meta(type):
    level = 1


class Level(enum.Enum):
    FAST = 5


class Named(metaclass=Meta):
    pass


@functools.singledispatch
def dispatched(x):
    return x


def vectorized(x):
    return x


def annotated(x):
    'By this all is scaled.'


TEXT, LOG, VECTORIZED, ENTRY = Text("a"), logging.Logger("planted"), np.vectorize(vectorized), {Text("b"): 1}
SETTINGS, SLOTTED, SCALE = Settings(), Slotted(), Scale()
BEHIND, WEAK = SETTINGS, weakref.ref(SETTINGS)


def wrapped(frame, factor=1.0, *, power=2):
    return frame.with_columns(pl.col("close") * factor**power)


def decorated(fn):
    @functools.wraps(fn)
    def inner(frame):
        return fn(frame)
    return inner


WITH_POWER = functools.partial(wrapped, power=3)


@decorated
def closed_over(frame):
    return frame


@functools.lru_cache
def cached(number):
    return FACTORS[number]


def helper(frame):
    WEIGHTS, NESTED, AROUND, LOOKED, SMOOTHED
    unknown_yet  # a name that nothing has
    return frame.with_columns(
        x=pl.col("close") * WINDOW * len(FACTORS) * len(BY_NAME) * len(NAMES) * len(QUEUE) + np.pi
    )


def extract(frame):
    TEXT, LOG, VECTORIZED, ENTRY, Named, Level.FAST, annotated.__doc__, annotated.__annotations__
    SETTINGS.levels, SLOTTED.level, BEHIND, VARIABLE, cached(0), planted_beside.LEVEL
    return closed_over(WITH_POWER(SCALE(wrapped(helper(frame)))))
"""
DAYS = tuple(date(2020, 1, 1) + timedelta(days=n) for n in range(300))
SHAPE = Shape(frozenset(("AAA", "BBB", "CCC", "DDD")), DAYS)
NUMBERS = [float(n) for n in range(200)]
FRAME = pl.DataFrame({"session": DAYS, "value": list(range(300))})
Module = Any


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """A module of the pipeline's own, which a walk has been through."""
    file = str(Path(trademl_pipeline.__file__).parent / "planted_for_memory.py")
    beside, made = types.ModuleType("trademl_pipeline.planted_beside"), types.ModuleType(NAME)
    vars(beside).update(LEVEL=1, __file__=file)
    vars(made).update(__file__=file)
    monkeypatch.setitem(sys.modules, beside.__name__, beside)
    monkeypatch.setattr(trademl_pipeline, "planted_beside", beside, raising=False)
    monkeypatch.setitem(sys.modules, NAME, made)
    exec(compile(CODE, file, "exec"), vars(made))
    memory._known.clear()
    inside._seen.clear()
    yield made
    memory._known.clear()


def found(module: Module, shape: Shape = SHAPE) -> tuple[dict[str, str], list[str], list[str]]:
    """What a walk reaches: what is named, the tables, and the places."""
    reached = reach.reach(module.extract, shape)
    return (
        dict(reached.named),
        [b.label for b in reached.tables],
        sorted(p.label for p in reached.places),
    )


def fresh(module: Module, shape: Shape = SHAPE) -> tuple[dict[str, str], list[str], list[str]]:
    memory._known.clear()
    inside._seen.clear()
    return found(module, shape)


_leaky = types.FunctionType(
    compile(f"def leaky(frame):\n    return {tuple(NUMBERS)}", __file__, "exec").co_consts[0], globals()
)


class _Leaky:
    levels = NUMBERS


CHANGES: dict[str, Callable[[Module], object]] = {
    "a global rebound": lambda m: setattr(m, "WINDOW", FRAME),
    "a global that is code": lambda m: setattr(m, "SCALE", NUMBERS),
    "a name that nothing had": lambda m: setattr(m, "unknown_yet", NUMBERS),
    "a builtin's name": lambda m: setattr(m, "len", NUMBERS),
    "a function replaced": lambda m: setattr(m, "helper", _leaky),
    "a list extended": lambda m: m.FACTORS.extend(NUMBERS),
    "an item of a list": lambda m: m.FACTORS.__setitem__(0, FRAME),
    "a dict": lambda m: m.BY_NAME.update({f"{n}": n for n in range(100)}),
    "an item of a dict": lambda m: m.BY_NAME.__setitem__("fast", FRAME),
    "a set": lambda m: m.NAMES.update(NUMBERS),
    "a deque": lambda m: m.QUEUE.extend(NUMBERS),
    "an attribute of an object": lambda m: setattr(m.SETTINGS, "levels", NUMBERS),
    "a new attribute of an object": lambda m: setattr(m.SETTINGS, "more", FRAME),
    "a list in an object": lambda m: m.SETTINGS.levels.extend(NUMBERS),
    "an attribute of a class": lambda m: setattr(m.Settings, "shares", NUMBERS),
    "a new attribute of a class": lambda m: setattr(m.Settings, "more", NUMBERS),
    "a slot": lambda m: setattr(m.SLOTTED, "level", NUMBERS),
    "a slot that was empty": lambda m: setattr(m.SLOTTED, "other", FRAME),
    "a method": lambda m: setattr(m.Scale, "__call__", _leaky),
    "another class": lambda m: setattr(m.SETTINGS, "__class__", _Leaky),
    "defaults": lambda m: setattr(m.wrapped, "__defaults__", (tuple(NUMBERS),)),
    "keyword defaults": lambda m: m.wrapped.__kwdefaults__.update(power=NUMBERS),
    "new keyword defaults": lambda m: setattr(m.helper, "__kwdefaults__", {"power": NUMBERS}),
    "an attribute of a function": lambda m: setattr(m.helper, "table", FRAME),
    "the code of a function": lambda m: setattr(m.helper, "__code__", _leaky.__code__),
    "a variable of a closure": lambda m: setattr(
        m.closed_over.__closure__[0], "cell_contents", lambda frame, held=tuple(NUMBERS): frame
    ),
    "a keyword of a partial": lambda m: m.WITH_POWER.keywords.update(factor=NUMBERS),
    "arguments of a partial": lambda m: m.WITH_POWER.__setstate__((m.wrapped, (NUMBERS,), {}, None)),
    "a name of a module": lambda m: setattr(m.planted_beside, "LEVEL", NUMBERS),
    "a module replaced": lambda m: setattr(m, "planted_beside", types.SimpleNamespace(LEVEL=NUMBERS)),
    "the size of an array": lambda m: m.WEIGHTS.resize(200, refcheck=False),
    "a list in a list": lambda m: m.NESTED[0].extend(NUMBERS),
    "a name that an expression uses": lambda m: setattr(m, "THRESHOLD", NUMBERS),
    "a table that an expression uses": lambda m: setattr(m, "THRESHOLD", FRAME),
    "a function that an expression calls": lambda m: setattr(m, "turned", _leaky),
    "a name that an expression had not": lambda m: setattr(m, "not_yet", FRAME),
    "an attribute of a text": lambda m: setattr(m.TEXT, "table", FRAME),
    "an attribute of a key": lambda m: setattr(next(iter(m.ENTRY)), "table", NUMBERS),
    "an attribute of a logger": lambda m: setattr(m.LOG, "table", NUMBERS),
    "an attribute of a partial": lambda m: setattr(m.WITH_POWER, "table", NUMBERS),
    "an attribute of a cache": lambda m: setattr(m.cached, "table", NUMBERS),
    "an attribute of an expression": lambda m: setattr(m.SMOOTHED, "table", NUMBERS),
    "a class of a class": lambda m: setattr(m.Meta, "level", NUMBERS),
    "another class of a class": lambda m: setattr(m.Named, "__class__", type("M", (m.Meta,), {"t": NUMBERS})),
    "an attribute of a member": lambda m: setattr(m.Level.FAST, "table", NUMBERS),
    "a value of a member": lambda m: setattr(m.Level.FAST, "_value_", NUMBERS),
    "a vectorized function": lambda m: setattr(m.VECTORIZED, "pyfunc", _leaky),
    "a docstring": lambda m: setattr(m.annotated, "__doc__", " ".join(map(str, NUMBERS))),
    "an annotation": lambda m: m.annotated.__annotations__.update(x=NUMBERS),
    "a module's own answers": lambda m: setattr(m.planted_beside, "__getattr__", _leaky),
    "what a cache is around": lambda m: setattr(m.cached, "__wrapped__", _leaky),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(module: Module, what: str):
    named, tables, places = found(module)
    assert not named
    assert not tables
    assert found(module) == (named, tables, places)
    assert memory._known, "it is remembered"
    CHANGES[what](module)
    after = found(module)
    assert after[0] or after[1], "what was put there is data"
    assert after == fresh(module)


@pytest.mark.parametrize(
    ("place", "without_a_trace", "change"),
    [
        ("VARIABLE", "CONTEXT", lambda m: m.CONTEXT.set(NUMBERS)),
        ("LOOKED", "LOOKED_UP", lambda m: m.BY_NAME.update(fast=FRAME)),
        ("VARIABLE", "dispatched", lambda m: m.dispatched.register(int, _leaky)),
        ("BEHIND", "WEAK", lambda m: m.SETTINGS.levels.extend(NUMBERS)),
    ],
)
def test_what_changes_without_a_trace_is_never_remembered(
    module: Module, place: str, without_a_trace: str, change: Callable[[Module], object]
):
    setattr(module, place, getattr(module, without_a_trace))
    assert not found(module)[0]
    assert not memory._known
    change(module)
    after = found(module)
    assert after[0] or after[1]


def test_what_is_put_on_the_classes_of_tables_is_seen(module: Module, monkeypatch: pytest.MonkeyPatch):
    assert not found(module)[0]
    assert memory._known
    monkeypatch.setattr(pl.Expr, "with_columns", NUMBERS, raising=False)
    after = found(module)
    assert after[0]
    assert after == fresh(module)


def test_what_pandas_has_in_its_classes_is_remembered_and_what_is_put_there_is_seen(
    module: Module, monkeypatch: pytest.MonkeyPatch
):
    exec(
        compile("def extract(frame):\n    return getattr(frame, 'head')(3)", module.__file__, "exec"),
        vars(module),
    )
    assert not found(module)[0]
    assert memory._known
    for kinds in ({}, {np.dtype("int8"): NUMBERS}):
        monkeypatch.setattr(pd.Index, "kinds", kinds, raising=False)
        after = found(module)
        assert "Index.kinds" in after[2] or "Index.kinds" in after[0]
        assert after == fresh(module)


def test_what_is_put_back_is_seen(module: Module):
    before = found(module)
    module.WINDOW, window = FRAME, module.WINDOW
    assert found(module) != before
    module.WINDOW = window
    assert found(module) == before


def test_an_imported_module_is_seen(module: Module, monkeypatch: pytest.MonkeyPatch):
    before = found(module)
    own: Any = types.ModuleType("unknown_yet")
    own.close = NUMBERS
    own.with_columns = NUMBERS
    monkeypatch.setitem(sys.modules, "unknown_yet", own)
    after = found(module)
    assert after != before
    assert after == fresh(module)


@pytest.mark.parametrize(
    ("held", "clean", "shape"),
    [
        (["alpha", "beta", "gamma"], SHAPE, Shape(frozenset(("alpha", "beta", "gamma")), DAYS)),
        ({"alpha": 1, "beta": 2, "gamma": 3}, SHAPE, Shape(frozenset(("alpha", "beta", "gamma")), DAYS)),
        (NUMBERS[:30], SHAPE, Shape(SHAPE.symbols, DAYS[:40])),
        ("+-" * 30, SHAPE, Shape(SHAPE.symbols, DAYS[:40])),
        ([str(day) for day in DAYS[10:18:2]], Shape(SHAPE.symbols, DAYS[::2]), SHAPE),
    ],
    ids=["symbols", "by symbol", "numbers", "figures", "days"],
)
def test_what_is_data_on_another_panel_is_judged_again(
    module: Module, held: object, clean: Shape, shape: Shape
):
    module.WINDOW = held
    assert not found(module, clean)[0]
    assert found(module, shape)[0]
    assert found(module, shape) == fresh(module, shape)
    assert not found(module, clean)[0]


def test_an_unchanged_walk_is_done_once(module: Module, monkeypatch: pytest.MonkeyPatch):
    found(module)
    walks = []
    monkeypatch.setattr(reach, "_from", lambda *arguments: walks.append(arguments))
    found(module)
    found(module, Shape(frozenset(("EEE",)), DAYS[:250]))
    assert not walks


def test_a_users_own_code_is_walked_each_time(monkeypatch: pytest.MonkeyPatch):
    def mine(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.head(len(HELD))

    reach.reach(mine, SHAPE)
    monkeypatch.setitem(globals(), "HELD", NUMBERS)
    assert "HELD" in reach.reach(mine, SHAPE).named


def test_an_expression_of_a_users_own_is_written_down_each_time():
    held: object = 1.0

    def put(value: object) -> None:
        nonlocal held
        held = value

    expression = pl.col("close").map_batches(lambda s: s * held)

    def mine(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(expression)

    before = reach.reach(mine, SHAPE).named
    put(NUMBERS)
    assert reach.reach(mine, SHAPE).named != before


def test_what_holds_data_is_not_remembered(module: Module):
    module.WINDOW = FRAME
    assert found(module)[1] == ["WINDOW"]
    assert not memory._known


def test_texts_in_an_array_are_read_each_time(module: Module):
    module.WINDOW = module.LETTERS
    assert not found(module)[0]
    module.LETTERS[:] = ["AAA", "BBB", "CCC"]
    assert found(module)[0]


def test_an_array_of_one_object_is_named(module: Module):
    module.WINDOW = module.NOTHING
    assert found(module)[0]


HELD: list[float] = []


@pytest.mark.parametrize(
    "code",
    [
        "V = contextvars.ContextVar('V', default=DATA)\ndef take(): return V.get()",
        "class S:\n    def __getitem__(self, key): return DATA[key]\nO = S()\ndef take(): return O[1]",
        "class S:\n    def __getattr__(self, key): return DATA\nO = S()\ndef take(): return O.x",
        "class S:\n    def __init__(self): self.x = DATA\ndef take(): return S().x",
        "class S:\n    __slots__ = ('__t',)\n    def __init__(self): self.__t = DATA\n"
        "    def get(self): return self.__t\n"
        "O = S()\ndel DATA\ndef take(): return O.get()",
        "class S: pass\nO = S()\nO.m = planted_beside\nO.m.DATA = DATA\ndel DATA\ndef take(): return O.m.DATA",
        "O = {'m': planted_beside}\nO['m'].DATA = DATA\ndel DATA\ndef take(): return O['m'].DATA",
        "class L(list): pass\nO = L()\nO.t = DATA\ndel DATA\ndef take(): return O.t",
        "class D(dict): pass\nO = D()\nO.t = DATA\ndel DATA\ndef take(): return O.t",
    ],
    ids=["default", "getitem", "getattr", "init", "slot", "module", "module in a dict", "list", "dict"],
)
def test_data_is_found_where_code_takes_it_from_by_no_name_of_its_own(module: Module, code: str):
    module.DATA = NUMBERS
    exec(compile(code, module.__file__, "exec"), vars(module))
    module.extract = module.take
    named, tables, _ = found(module)
    assert any("200 numbers" in reason for reason in named.values()), (named, tables)


@pytest.mark.parametrize(
    "code", ["import os; O = os.environ", "import collections; O = collections.ChainMap({'fast': 1})"]
)
def test_a_librarys_mapping_with_attributes_is_looked_into_by_its_items(module: Module, code: str):
    exec(compile(f"{code}\ndef take(): return O", module.__file__, "exec"), vars(module))
    module.extract = module.take
    assert not [reason for reason in found(module)[0].values() if "inside cannot be cut" in reason]


def test_the_names_of_an_expression_are_noted_once_however_many_panels_there_are(module: Module):
    sizes = set()
    for last in range(200, 204):
        found(module, Shape(SHAPE.symbols, DAYS[:last]))
        memory._known.clear()
        sizes.add(sum(len(copies.names._names) for copies in inside._seen.values()))
    assert len(sizes) == 1
    assert sizes.pop() > 0
