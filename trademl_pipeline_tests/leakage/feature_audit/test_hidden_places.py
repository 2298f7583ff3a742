"""Data where no name in the code leads: a number of settings may be there, a table may not."""

import sys
import types
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from trademl_pipeline.leakage.feature_audit import reach
from trademl_pipeline.leakage.feature_audit.constants import Shape
from trademl_pipeline.leakage.feature_audit.reached import Reached

DAYS = tuple(date(2020, 1, 1) + timedelta(days=n) for n in range(300))
SHAPE = Shape(frozenset(("AAA", "BBB", "CCC", "DDD")), DAYS)
NUMBERS = [n / 7 for n in range(200)]
NAME = "a_module_of_a_user"

# Each hides DATA, which is numbers, behind O; `take` gets at it.
PLACES = {
    "str": "class S(str): pass\nO = S('a')\nO.t = DATA",
    "float": "class S(float): pass\nO = S(1.0)\nO.t = DATA",
    "int": "class S(int): pass\nO = S(1)\nO.t = DATA",
    "float with a slot": "class S(datetime.timedelta):\n    __slots__ = ('t',)\nO = S(1)\nO.t = DATA",
    "str in a list": "class S(str): pass\nO = [S('a')]\nO[0].t = DATA",
    "class of a str": "class S(str):\n    def t(self): return DATA\nO = S('a')",
    "class of a dict": "class S(dict):\n    def __missing__(self, key): return DATA\nO = S()",
    "slot of a list": "class S(list):\n    __slots__ = ('t',)\nO = S()\nO.t = DATA",
    "slot of a tuple's class": "class S(tuple):\n    t = DATA\nO = S()",
    "array's class": "class S(np.ndarray): pass\nO = np.zeros(2).view(S)\nO.t = DATA",
    "decorated slot": "class S:\n    __slots__ = ('__t__',)\nO = S()\nO.__t__ = DATA",
    "special attribute": "class O: __t__ = DATA",
    "class method of a special name": (
        "class O:\n    @classmethod\n    def __class_getitem__(cls, key): return DATA"
    ),
    "partial": "O = functools.partial(len)\nO.t = DATA",
    "class of a partial": "class S(functools.partial): t = DATA\nO = S(len)",
    "logger": "O = logging.getLogger('hidden')\nO.t = DATA",
    "logger above": "O = logging.getLogger('hidden2.below')\nlogging.getLogger('hidden2').t = DATA",
    "filter of a logger": (
        "class F(logging.Filter):\n    t = DATA\nO = logging.getLogger('hidden3')\nO.filters[:] = [F()]"
    ),
    "logger's adapter": "O = logging.LoggerAdapter(logging.getLogger('hidden4'), {'t': DATA})",
    "metaclass": "class M(type): t = DATA\nclass O(metaclass=M): pass",
    "function of a metaclass": "class M(type):\n    def t(cls): return DATA\nclass O(metaclass=M): pass",
    "enum": "class O(enum.Enum):\n    A = DATA\n    B = 2",
    "enum's tuple": "class O(enum.Enum): A = tuple(DATA)",
    "enum's member": "class E(enum.Enum):\n    A = DATA\nO = E.A",
    "enum's alias": "class E(enum.Enum):\n    A = DATA\n    B = A\nO = E.B",
    "attribute of an enum's member": "class E(enum.Enum):\n    A = 1\nE.A.t = DATA\nO = E.A",
    "enum of a library": "O = http.HTTPStatus.OK\nO.t = DATA",
    "slice": "O = slice(DATA)",
    "slice's step": "O = slice(0, 1, DATA)",
    "slices in a list": "O = [slice(x) for x in DATA]",
    "range": "O = range(sum(1 << 2 * n for n in range(len(DATA))))",
    "generic alias": "O = list[tuple(DATA)]",
    "aliases in a list": "O = [list[x] for x in DATA]",
    "Annotated": "O = typing.Annotated[int, DATA]",
    "Literal": "O = typing.Literal[tuple(DATA)]",
    "bound of a type": "class K: t = DATA\nO = typing.TypeVar('O', bound=K)",
    "attribute of a type's name": "O = typing.NewType('O', int)\nO.t = DATA",
    "dataclass's field": (
        "@dataclasses.dataclass\nclass O:\n    x: int = dataclasses.field(default=1, metadata={'t': DATA})"
    ),
    "np.vectorize": "def t(x): return DATA[x]\nO = np.vectorize(t)",
    "attribute of np.vectorize": "O = np.vectorize(abs)\nO.t = DATA",
    "np.poly1d": "O = np.poly1d(DATA)",
    "np.void": "O = np.array([tuple(DATA)], dtype=[(f'f{n}', float) for n in range(len(DATA))])[0]",
    "np.void of bytes": "O = np.void(np.array(DATA + DATA * 3).tobytes())",
    "record": "O = np.rec.array([tuple(DATA)])[0]",
    "np.dtype": "O = np.dtype('f8', metadata={'t': DATA})",
    "dtype of an array": "O = np.zeros(2, np.dtype('f8', metadata={'t': DATA}))",
    "masked array": "O = np.ma.array([1.0, 2.0])\nO._optinfo['t'] = DATA",
    "pl.Enum": "O = pl.Enum([str(x) for x in DATA])",
    "ufunc": "O = np.frompyfunc(lambda x: DATA[x], 1, 1)",
    "operator": "O = operator.methodcaller('x', y=DATA)",
    "defaultdict": "O = collections.defaultdict(lambda: DATA)",
    "key of a dictionary": "def t(): return DATA\nO = {t: 1}",
    "object as a key": "class K: pass\nk = K()\nk.t = DATA\nO = {k: 1}\ndel k",
    "item of a set": "class K: pass\nk = K()\nk.t = DATA\nO = {k}\ndel k",
    "singledispatch": (
        "O = functools.singledispatch(lambda x: 1)\n@O.register\ndef _(x: int): return DATA\ndel _"
    ),
    "singledispatchmethod": (
        "class O:\n    @functools.singledispatchmethod\n    def f(self, x): return 1\n"
        "    @f.register\n    def _(self, x: int): return DATA\n    del _"
    ),
    "partialmethod": "class O:\n    def f(self, x): return x\n    g = functools.partialmethod(f, DATA)",
    "static method's attribute": "class O:\n    @staticmethod\n    def f(): pass\n    f.t = DATA",
    "cache's attribute": "O = functools.cache(len)\nO.t = DATA",
    "deleter": "class O:\n    x = property(fdel=lambda self: DATA)",
    "own cache": (
        "class S:\n    __wrapped__ = len\n    cache_clear = cache_info = None\nO = S()\nO.t = DATA"
    ),
    "own deque": "class S(collections.deque): pass\nO = S(DATA)",
    "own array": "class S(array.array): pass\nO = S('d', DATA)",
    "own iterator": "class S(itertools.cycle): pass\nO = S(DATA)",
    "own exception": "class S(Exception): pass\nO = S(DATA)",
    "exception": "O = ValueError(DATA)",
    "own counter's attribute": "class S(random.Random): pass\nO = S(1)\nO.t = DATA",
    "random's attribute": "O = random.Random(1)\nO.t = DATA",
    "counter": "O = itertools.count(np.array(DATA))",
    "event's attribute": "O = threading.Event()\nO.t = DATA",
    "barrier": "def t(): return DATA\nO = threading.Barrier(1, t)",
    "map": "O = map(float, DATA)",
    "zip": "O = zip(DATA, DATA)",
    "generator": "def g(table=DATA):\n    yield table\nO = g(DATA)\ndel g",
    "memoryview": "O = memoryview(array.array('d', DATA))",
    "mapping proxy": "O = types.MappingProxyType({'t': DATA})",
    "values of a dict": "O = dict(enumerate(DATA)).values()",
    "weak proxy": "class K: pass\nk = K()\nk.t = DATA\nO = weakref.proxy(k)",
    "weak reference's callback": "class K: pass\nk = K()\nO = weakref.ref(k, lambda r: DATA)",
    "token": "V = contextvars.ContextVar('V')\nV.set(DATA)\nO = V.set(1)\ndel V",
    "code": "O = compile(f'x = {tuple(DATA)}', 'x', 'exec')",
    "class method of a dict's class": ("class S(dict): t = DATA\nO = S.fromkeys"),
    "an expression's attribute": "O = pl.col('close')\nO.t = DATA",
    "a calendar's attribute": "O = pl.DataFrame({'session': [datetime.date(2020, 1, 1)]})\nO.t = DATA",
    "attributes of pandas": "O = pd.DataFrame({'session': [datetime.date(2020, 1, 1)]})\nO.attrs['t'] = DATA",
    "function put in a library": "def t(x): return DATA\nnp.hidden_function = t\ndel t\nO = 0",
    "namespace": "O = types.SimpleNamespace(t=DATA)",
    "a lying class": ("class S:\n    __class__ = property(lambda self: int)\nO = S()\nO.t = DATA"),
    "a lying class that says dict": (
        "class S:\n    __class__ = property(lambda self: dict)\nO = [S()]\nO[0].t = DATA"
    ),
    "an object that answers for its attributes": (
        "class S:\n    def __getattribute__(self, name): raise AttributeError(name)\n"
        "O = S()\nobject.__setattr__(O, 't', DATA)"
    ),
    "a lying dictionary": (
        "class S:\n    __dict__ = property(lambda self: {})\n    __slots__ = ('t',)\nO = S()\nO.t = DATA"
    ),
    "a class that says it is a library's": "class S: __module__ = 'typing'\nO = S()\nO.t = DATA",
}
# Refused whatever they hold, since nothing tells what they hold.
NEVER = {
    "own array",
    "own iterator",
    "ufunc",
    "exception",
    "counter",
    "map",
    "zip",
    "generator",
    "memoryview",
    "values of a dict",
    "weak proxy",
    "token",
    "code",
    "a lying class",
    "a lying class that says dict",
    "an object that answers for its attributes",
    "a lying dictionary",
}
MODULES = (
    *("array", "collections", "contextvars", "dataclasses", "datetime", "enum", "functools", "http"),
    *("itertools", "logging", "operator", "random", "threading", "types", "typing", "weakref"),
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: Any = types.ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, made)
    exec(f"import {', '.join(MODULES)}\nimport numpy as np, pandas as pd, polars as pl", vars(made))
    yield made
    vars(made.np).pop("hidden_function", None)


def walked(module: Any, code: str, data: Any, use: str = "O, np.hidden_function") -> Reached:
    module.DATA = data
    exec(f"{code}\ndef take(): return {use}", vars(module))
    if "return DATA" not in code and "DATA[" not in code and "lambda" not in code:
        del module.DATA
    try:
        return reach.reach(module.take, SHAPE)
    finally:
        if getattr(module.O, "t", None) is not None and module.O is module.http.HTTPStatus.OK:
            del module.O.t


@pytest.mark.parametrize("place", PLACES)
def test_numbers_hidden_in_a_place_are_named(module: Any, place: str):
    assert walked(module, PLACES[place], NUMBERS).named


@pytest.mark.parametrize("place", sorted(PLACES.keys() - NEVER))
def test_settings_in_the_same_place_are_not(module: Any, place: str):
    reached = walked(module, PLACES[place], [1.0, 2.0])
    assert not reached.named
