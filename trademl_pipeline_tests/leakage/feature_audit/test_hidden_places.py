"""Data where no name in the code leads: a number of settings may be there, a table may not."""

import abc
import builtins
import collections
import collections.abc
import dataclasses
import datetime
import enum
import functools
import itertools
import logging
import operator
import pathlib
import sys
import threading
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import polars as pl
import polars.selectors as cs
import pydantic
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.feature_audit import noting, reach
from trademl_pipeline.leakage.feature_audit.constants import Shape
from trademl_pipeline.leakage.feature_audit.reached import Reached
from trademl_pipeline_tests.leakage.panels import RETURN, bars, features

DAYS = tuple(date(2020, 1, 1) + timedelta(days=n) for n in range(300))
SHAPE = Shape(frozenset(("AAA", "BBB", "CCC", "DDD")), DAYS)
NUMBERS = [n / 7 for n in range(200)]
NAME = "a_module_of_a_user"

# Each hides DATA, which is numbers, behind O; `take` gets at it.
PLACES = {
    "attributes of one object": "O = types.SimpleNamespace(**{f'a{i}': x for i, x in enumerate(DATA)})",
    "attributes of a function": "def O(): pass\nvars(O).update({f'a{i}': x for i, x in enumerate(DATA)})",
    "attributes of a class": "O = type('S', (), {f'a{i}': x for i, x in enumerate(DATA)})",
    "attributes of an instance": "class S: pass\nO = S()\nvars(O).update({f'a{i}': x for i, x in enumerate(DATA)})",
    "arguments of a partial": "O = functools.partial(max, *DATA)",
    "defaults": "def O(): pass\nO.__defaults__ = tuple(DATA)",
    "texts in an array": "O = np.array([f'x{x}' for x in DATA])",
    "bytes in an array": "O = np.array(DATA, dtype=float).view('S8')",
    "bytes in a list": "O = [np.float64(x).tobytes() for x in DATA]",
    "identifiers": "import uuid\nO = [uuid.UUID(int=int(1000 * x)) for x in DATA]",
    "ranges": "O = [range(int(1000 * x)) for x in DATA]",
    "time zones": "O = [datetime.timezone(datetime.timedelta(seconds=int(100 * x))) for x in DATA]",
    "literals of an expression": "O = pl.concat_list([pl.lit(x) for x in DATA])",
    "text in an expression": "O = pl.lit(','.join(map(str, DATA)))",
    "a table's method in an expression": "O = pl.col('x').map_elements(dict(enumerate(DATA)).get)",
    "an array's method in an expression": "O = pl.col('x').map_batches(np.array(DATA).take)",
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
    "model's field": "class O(pydantic.BaseModel):\n    x: list = DATA",
    "model's extra": "class M(pydantic.BaseModel, extra='allow'): pass\nO = M(t=DATA)",
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
    "list that raises": "class S(list):\n    def __len__(self): raise ValueError\nO = S(DATA)",
    "list that says it is empty": "class S(list):\n    def __iter__(self): return iter(())\nO = S(DATA)",
    "dict that says it is empty": (
        "class S(dict):\n    def __iter__(self): return iter(())\n    keys = values = items = __iter__\n"
        "O = S(enumerate(DATA))"
    ),
    "texts of numbers": "O = [str(x) for x in DATA]",
    "time spans": "O = [datetime.timedelta(x) for x in DATA]",
    "path": "O = pathlib.Path('/'.join(map(str, DATA * 3)))",
    "pattern": "O = re.compile('|'.join(map(str, DATA)))",
    "name of a time zone": "O = datetime.timezone(datetime.timedelta(0), ' '.join(map(str, DATA)))",
    "decimal": "O = decimal.Decimal(sum(1 << n for n in range(len(DATA))))",
    "fraction": "O = fractions.Fraction(sum(1 << n for n in range(len(DATA))), 3)",
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
    "an expression's attribute like its library's": "O = pl.col('close')\nO._then = DATA",
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
    "a table's method in an expression",
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
    *("array", "collections", "contextvars", "dataclasses", "datetime", "decimal", "enum", "fractions"),
    *("functools", "http", "itertools", "logging", "operator", "pathlib", "random", "re", "threading"),
    *("types", "typing", "weakref"),
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: Any = types.ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, made)
    exec(f"import {', '.join(MODULES)}\nimport numpy as np, pandas as pd, polars as pl, pydantic", vars(made))
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


# Code that has DATA from a place that no name of its own stands for.
WAYS = {
    "environment": ("import os\nos.environ['HIDDEN'] = ' '.join(map(str, DATA))", "os.environ['HIDDEN']"),
    "getenv": ("import os\nos.environ['HIDDEN'] = ' '.join(map(str, DATA))", "os.getenv('HIDDEN')"),
    "classes below": ("class B: pass\nclass S(B): t = DATA", "B.__subclasses__()[0].t"),
    "builtins": ("import builtins\nbuiltins.hidden = DATA", "hidden"),
    "frame": ("import sys", "sys.exc_info()[2].tb_frame.f_globals['DATA']"),
    "frame below": ("", "(lambda e: e.__traceback__.tb_frame.f_back)(None)"),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_data_without_a_name_are_named(module: Any, way: str, request: pytest.FixtureRequest):
    request.addfinalizer(lambda: vars(builtins).pop("hidden", None))
    code, use = WAYS[way]
    assert walked(module, f"{code}\nO = 1", NUMBERS, use).named


def test_a_table_that_only_the_text_of_a_query_names_is_cut(module: Any):
    exec("def take(frame): return pl.sql('select * from hidden_table', eager=True)", vars(module))
    module.hidden_table = pl.DataFrame({"session": DAYS, "value": range(300)})
    assert [binding.label for binding in reach.reach(module.take, SHAPE).tables] == ["hidden_table"]


def test_what_is_imported_from_beside_a_function_is_looked_into(monkeypatch: pytest.MonkeyPatch):
    for name in ("own_package", "own_package.tables", "own_package.parts", "own_package.parts.code"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["own_package.tables"].T = NUMBERS  # pyright: ignore[reportAttributeAccessIssue]
    space: dict[str, Any] = vars(sys.modules["own_package.parts.code"])
    exec(
        "def one():\n    from ..tables import T\n    return T\n"
        "def two():\n    from .. import tables\n    return tables.T",
        space | {"__package__": "own_package.parts"},
        space,
    )
    for name in ("one", "two"):
        assert reach.reach(space[name], SHAPE).named, name


HONEST = {
    "slots behind names": (
        "class S:\n    __slots__ = ('d',)\n    def __init__(self): self.d = {'w': 5}\n"
        "    def __getattr__(self, name): return self.d[name]\nO = [S()]"
    ),
    "distribution": "from scipy.stats import norm as O",
    "type of numbers": "import torch\nO = [torch.float32, torch.device('cpu')]",
    "arguments of a command": "import argparse\nO = argparse.Namespace(window=5)",
    "environment": "import os\ndef O(): return os.environ.get('WINDOW', '5')",
    "sum of many": "O = sum(pl.col('x') > j / 10 for j in range(60))",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_objects_of_libraries_and_odd_classes_are_not_named(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
):
    # A variable of this machine may be long, and would be named.
    monkeypatch.setattr(noting, "variables", lambda: {"WINDOW": "5"})
    assert not walked(module, HONEST[name], NUMBERS, "O").named


WRONG = {
    "lists in lists": "O = []\nfor _ in range(5000): O = [O]",
    "a long sum": "O = pl.lit(0.0)\nfor j in range(2000): O = O + (pl.col('x') > j)",
    "a mapping that cannot be read": (
        "class S(collections.abc.Mapping):\n    def __len__(self): return 3\n"
        "    def __iter__(self): raise RuntimeError('not loaded')\n"
        "    def __getitem__(self, key): raise RuntimeError('not loaded')\nO = S()"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_looked_through_is_named_and_not_raised_at(module: Any, name: str):
    assert walked(module, WRONG[name], NUMBERS, "O").named


# Code that takes DATA, which is text or numbers, from where it describes something.
READ = {
    "docstring": "def f(): pass\nf.__doc__ = TEXT\ndef take(): return f.__doc__",
    "docstring of a class": "class C: __doc__ = TEXT\ndef take(): return C.__doc__",
    "docstring of a property": "class C: x = property(doc=TEXT)\ndef take(): return C.x.__doc__",
    "docstring by getattr": "def f(): pass\nf.__doc__ = TEXT\ndef take(): return getattr(f, '__d' + 'oc__')",
    "docstring by inspect": "def f(): pass\nf.__doc__ = TEXT\ndef take(): return inspect.getdoc(f)",
    "docstring by a getter": (
        "GET = operator.attrgetter('__doc__')\ndef f(): pass\nf.__doc__ = TEXT\ndef take(): return GET(f)"
    ),
    "docstring of a module": ("m = types.ModuleType('m', TEXT)\ndef take(): return m.__doc__"),
    "annotation": "def f(x): pass\nf.__annotations__['x'] = DATA\ndef take(): return f.__annotations__",
    "annotation in Annotated": (
        "def f(x: typing.Annotated[int, DATA]): pass\n"
        "def take(): return typing.get_type_hints(f, include_extras=True)"
    ),
    "annotation of a class": "class C: x: DATA\ndef take(): return inspect.get_annotations(C)",
    "annotation of a signature": "def f(x: DATA): pass\ndef take(): return inspect.signature(f)",
}


@pytest.mark.parametrize("way", READ)
def test_docstrings_and_annotations_are_data_where_code_reads_them(module: Any, way: str):
    module.TEXT, module.DATA = " ".join(map(str, NUMBERS)), NUMBERS
    exec(f"import inspect\n{READ[way]}\ndel TEXT, DATA", vars(module))
    assert reach.reach(module.take, SHAPE).named


@pytest.mark.parametrize("way", READ)
def test_honest_docstrings_and_annotations_may_be_read(module: Any, way: str):
    module.TEXT, module.DATA = "The return of a day, by which all is scaled.\n" * 20, int
    exec(f"import inspect\n{READ[way]}\ndel TEXT, DATA", vars(module))
    assert not reach.reach(module.take, SHAPE).named


@pytest.mark.parametrize("way", READ)
def test_what_no_code_reads_is_no_data(module: Any, way: str):
    module.TEXT, module.DATA = " ".join(map(str, NUMBERS)), NUMBERS
    code, _ = READ[way].rsplit("\n", 1) if "def take" in READ[way].rsplit("\n", 1)[1] else ("", "")
    used = next((name for name in ("f", "C") if f"def {name}(" in code or f"class {name}" in code), "int")
    exec(f"import inspect\n{code}\ndef take(): return {used}\ndel TEXT, DATA", vars(module))
    assert not reach.reach(module.take, SHAPE).named


@pytest.mark.filterwarnings("ignore:overriding existing custom namespace")
@pytest.mark.parametrize(
    ("owner", "register"),
    [
        (pl.Expr, pl.api.register_expr_namespace),
        (pl.DataFrame, pl.api.register_dataframe_namespace),
        (pl.LazyFrame, pl.api.register_lazyframe_namespace),
        (pl.Series, pl.api.register_series_namespace),
    ],
)
@pytest.mark.parametrize("use", ["hidden_space", "getattr(x, 'hidden_' + 'space')"])
def test_namespaces_of_expressions_and_tables_are_looked_into(
    module: Any, monkeypatch: pytest.MonkeyPatch, owner: Any, register: Any, use: str
):
    monkeypatch.setattr(owner, "_accessors", set(owner._accessors))
    monkeypatch.setattr(owner, "hidden_space", None, raising=False)
    module.register = register
    code = "@register('hidden_space')\nclass Space:\n    def __init__(self, e): self.e = e\n"
    code += "    def moved(self): return self.e * DATA[0]\ndel Space, register\n"
    code += f"def take(x): return {'x.' if use == 'hidden_space' else ''}{use}.moved()"
    for data, named in ((NUMBERS, True), ([1.0], False)):
        module.DATA, module.register = data, register
        exec(code, vars(module))
        assert bool(reach.reach(module.take, SHAPE).named) is named


def test_attributes_put_on_the_classes_of_tables_are_looked_into(
    module: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pl.DataFrame, "hidden", NUMBERS, raising=False)
    exec("def take(x): return x.hidden\ndef other(x): return x.height", vars(module))
    assert reach.reach(module.take, SHAPE).named
    assert not reach.reach(module.other, SHAPE).named


@pytest.mark.parametrize("use", ["m.anything", "m.sub", "vars(m)", "m.__table__", "globals()['m'].table"])
def test_a_module_is_looked_into_by_what_its_own_functions_answer(module: Any, use: str):
    module.DATA = NUMBERS
    code = "m = types.ModuleType('m')\nm.table = m.__table__ = DATA\ndel DATA\n"
    if use in ("m.anything", "m.sub"):
        code = (
            "m = types.ModuleType('m')\ndef answer(name): return DATA\nm.__getattr__ = answer\ndel answer\n"
        )
    exec(f"{code}def take(): return {use}", vars(module))
    assert reach.reach(module.take, SHAPE).named


BARS = bars(6, 60, gaps=False)
KEY = ["symbol", "session"]
TABLE = features(RETURN)(BARS).rename({"x0": "r"}).fill_null(0.0)
CALM = features(RETURN)


def with_known(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    known = known.sort(KEY).with_columns(pl.col("r").shift(-1).over("symbol"))
    both = CALM(frame).join(known, on=KEY, how="left", maintain_order="left")
    return both.select(*KEY, x=pl.col("x0").fill_null(0.0) + 0.1 * pl.col("r").fill_null(0.0))


class Text(str):
    pass


class Tables(enum.Enum):
    NEXT = TABLE


class Meta(type):
    table = TABLE


class Through(metaclass=Meta):
    pass


def attribute_of(holder: Any) -> Any:
    holder.table = TABLE
    return holder


@pytest.mark.parametrize(
    ("holder", "take"),
    [
        (attribute_of(Text("a")), lambda h: h.table),
        (attribute_of(functools.partial(len)), lambda h: h.table),
        (attribute_of(logging.getLogger("with a table")), lambda h: h.table),
        (Tables.NEXT, lambda h: h.value),
        (Tables, lambda h: h.NEXT.value),
        (Through, lambda h: h.table),
        (collections.defaultdict(lambda table=TABLE: table), lambda h: h["any"]),
        (attribute_of(functools.cache(len)), lambda h: h.table),
    ],
    ids=["str", "partial", "logger", "member", "enum", "metaclass", "default", "cache"],
)
def test_a_dated_table_in_such_a_place_is_cut_with_the_bars(holder: Any, take: Any):
    report = audit_features(
        lambda frame: with_known(frame, take(holder)), BARS, probes=["truncation"], cutoffs=5
    )
    assert not report.unaudited
    assert report.violations


@pytest.mark.parametrize(
    "holder",
    [
        Text("a"),
        functools.partial(len),
        logging.getLogger("with state"),
        types.SimpleNamespace(),
        functools.cache(len),
    ],
    ids=["str", "partial", "logger", "namespace", "cache"],
)
def test_what_a_call_leaves_in_such_a_place_is_put_back(holder: Any):
    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        if not hasattr(holder, "mean"):
            holder.mean = frame["close"].mean()
        return frame.select(*KEY, x=pl.col("close") / holder.mean)

    report = audit_features(extract, BARS, probes=["truncation"], cutoffs=3)
    assert report.violations
    assert not hasattr(holder, "mean")


@functools.singledispatch
def scaled(value: Any) -> float:
    return 1.0


@scaled.register
def _(value: int) -> float:
    return 2.0


class Level(enum.IntEnum):
    """Windows, by name."""

    FAST = 5
    SLOW = enum.auto()

    @property
    def weight(self) -> float:
        return WEIGHTS[self]


class Point(NamedTuple):
    a: int
    b: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    window: int = 5
    names: list[str] = dataclasses.field(default_factory=list)


WEIGHTS = collections.defaultdict(float, {Level.FAST: 0.5, Level.SLOW: 0.25})
LOG = logging.getLogger(__name__)
TYPES: dict[type, Callable[[pl.Expr], pl.Expr]] = {pl.Float64: pl.Expr.abs, pl.Int64: lambda e: e}
Number = int | float
SMOOTH = np.vectorize(lambda x: x / 2)
DTYPES = {"x": pl.Enum(["a", "b"]), "y": pl.Datetime("us"), "z": np.dtype([("a", "f8"), ("b", "i4")])}
EXPRESSIONS = (
    pl.when(pl.col("a")).then(1),
    pl.when(pl.col("a")).then(1).when(pl.col("b")).then(2),
    cs.numeric(),
)
ZONES = (datetime.UTC, zoneinfo.ZoneInfo("America/New_York"), pathlib.Path("a"), uuid.uuid4())
GETTERS = (operator.itemgetter("a", 1), operator.attrgetter("a.b"), operator.methodcaller("abs"), str.upper)
Kind = TypeVar("Kind", bound=Point)


class Model(pydantic.BaseModel):
    window: int = pydantic.Field(default=3, gt=1, description="of days")
    name: typing.Annotated[str, pydantic.Field(min_length=1)] = "a"
    _private: int = pydantic.PrivateAttr(default=1)
    LEVELS: typing.ClassVar[list[int]] = [1, 2]

    @pydantic.field_validator("window")
    @classmethod
    def positive(cls, value: int) -> int:
        return abs(value)


class Generic(typing.Generic[Kind], abc.ABC):
    """An honest base."""

    @abc.abstractmethod
    def of(self, value: Kind) -> Kind: ...

    @functools.cached_property
    def half(self) -> float:
        return 0.5


class Concrete(Generic[Point]):
    def of(self, value: Point) -> Point:
        return value._replace(a=1)

    @classmethod
    def new(cls) -> "Concrete":
        return cls()

    @staticmethod
    def name() -> str:
        return cast(str, "a")


def test_odd_but_honest_settings_are_not_named():
    concrete, lock, counter = Concrete(), threading.Event(), itertools.count(3)

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        LOG.debug("%s %s", Config(), getattr(Config(), "win" + "dow"), extra={"a": concrete.of(Point(1)).b})
        assert isinstance(frame.height, Number), (
            DTYPES,
            EXPRESSIONS,
            ZONES,
            GETTERS,
            lock,
            TYPES,
            scaled.__doc__,
        )
        next(counter)
        Model(window=5).model_copy()
        lock.set()
        factor = scaled(1) * Level.FAST.weight * concrete.half * float(SMOOTH(2.0)) * len(Concrete.name())
        return CALM(frame).with_columns(pl.col("x0") * factor * len(Concrete.new().name()))

    audit_features(extract, BARS, probes=["truncation"], cutoffs=3).assert_clean()


def test_an_object_that_says_it_is_a_number_is_refused_and_not_raised_at(module: Any):
    exec("class S:\n    __class__ = property(lambda self: dict)\nO = [S(), {S(): 1}, (S(),)]", vars(module))
    exec("def take(): return O", vars(module))
    assert any("says itself" in reason for reason in reach.reach(module.take, SHAPE).named.values())
