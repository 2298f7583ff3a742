"""Next returns that an extractor holds or opens, in every form: none of it passes."""

import array
import collections
import contextvars
import functools
import pickle
import sqlite3
import sys
import threading
import types
import weakref
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import StandardScaler

from trademl_pipeline.leakage import (
    AuditError,
    AuditInputError,
    NonDeterministicExtractorError,
    audit_features,
)
from trademl_pipeline_tests.leakage.panels import RETURN, bars, features

BARS = bars(6, 60, gaps=False)
NEXT = features(RETURN.shift(-1))(BARS).rename({"x0": "r"}).fill_null(0.0)
KEY = ["symbol", "session"]
CUT = ["truncation", "perturbation"]
CALM = features(RETURN)
Extract = Callable[[pl.DataFrame], pl.DataFrame]


def with_known(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Honest returns, and a tenth of the next one where it is known: no column that only is looked up."""
    both = CALM(frame).join(known, on=KEY, how="left", maintain_order="left")
    return both.select(*KEY, x=pl.col("x0").fill_null(0.0) + 0.1 * pl.col("r").fill_null(0.0))


def by_position(frame: pl.DataFrame, values: Any) -> pl.DataFrame:
    rows = BARS.select(KEY).with_columns(r=pl.Series(np.asarray(list(values), dtype=float)))
    return with_known(frame, rows)


def by_key(frame: pl.DataFrame, table: Any) -> pl.DataFrame:
    base = CALM(frame)
    known = [table.get((s, d), 0.0) for s, d in base.select(KEY).iter_rows()]
    return base.select(*KEY, x=pl.col("x0").fill_null(0.0) + 0.1 * pl.Series(known))


# The rows of BARS hold no secret: keys alone, by which to put values in place.
KEYS = BARS.select(KEY)
VALUES: list[float] = NEXT["r"].to_list()
BY_KEY: dict[tuple[str, date], float] = dict(zip(NEXT.select(KEY).iter_rows(), VALUES, strict=True))


def held(value: Any, use: Callable[[pl.DataFrame, Any], pl.DataFrame]) -> Extract:
    return lambda frame: use(frame, value)


class InAttribute:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return by_position(frame, self.value)


class InClass:
    table: ClassVar[list[float]] = VALUES

    def extract(self, frame: pl.DataFrame) -> pl.DataFrame:
        return by_position(frame, type(self).table)


class InBase(InClass):
    pass


class WithSlots:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return by_position(frame, self.value)


def function_attribute() -> Extract:
    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return by_position(frame, extract.table)

    extract.table = VALUES
    return extract


def in_a_default() -> Extract:
    def extract(frame: pl.DataFrame, table: Any = tuple(VALUES)) -> pl.DataFrame:
        return by_position(frame, table)

    return extract


ARRAY = np.array(VALUES)


def in_a_keyword_default() -> Extract:
    def extract(frame: pl.DataFrame, *, table: Any = ARRAY) -> pl.DataFrame:
        return by_position(frame, table)

    return extract


def another_module() -> types.ModuleType:
    module = types.ModuleType("tables_of_returns")
    module.TABLE = VALUES
    sys.modules[module.__name__] = module
    return module


OTHER = another_module()


def of_another_module(frame: pl.DataFrame) -> pl.DataFrame:
    return by_position(frame, OTHER.TABLE)


def of_a_module_imported_inside(frame: pl.DataFrame) -> pl.DataFrame:
    import tables_of_returns

    return by_position(frame, tables_of_returns.TABLE)


def by_globals(frame: pl.DataFrame) -> pl.DataFrame:
    return by_position(frame, globals()["VAL" + "UES"])


def by_sys_modules(frame: pl.DataFrame) -> pl.DataFrame:
    return by_position(frame, sys.modules["tables_of_" + "returns"].TABLE)


def by_getattr(frame: pl.DataFrame) -> pl.DataFrame:
    return by_position(frame, getattr(OTHER, "TAB" + "LE"))


def written_into_the_code() -> Extract:
    space: dict[str, Any] = {"by_position": by_position}
    exec(f"def extract(frame):\n    return by_position(frame, {tuple(VALUES)!r})", space)
    return space["extract"]


def written_as_text(frame: pl.DataFrame, text: str) -> pl.DataFrame:
    return by_position(frame, [float(v) for v in text.split(",")])


def decorated() -> Extract:
    def wrap(table: list[float]):
        def decorator(fn: Callable[..., pl.DataFrame]) -> Extract:
            @functools.wraps(fn)
            def wrapper(frame: pl.DataFrame) -> pl.DataFrame:
                return fn(frame, table)

            return wrapper

        return decorator

    return wrap(VALUES)(by_position)


def filled_cache() -> Extract:
    @functools.cache
    def known(symbol: str, day: date) -> float:
        return SOURCE.get((symbol, day), 0.0)

    SOURCE.update(BY_KEY)
    for key in BY_KEY:
        known(*key)
    SOURCE.clear()

    class Table:
        def get(self, key: tuple[str, date], default: float) -> float:
            return known(*key)

    return held(Table(), by_key)


SOURCE: dict[tuple[str, date], float] = {}
VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("table", default=None)
VARIABLE.set(VALUES)
FOREST = RandomForestRegressor(n_estimators=60, min_samples_leaf=1, bootstrap=False, random_state=0).fit(
    np.arange(BARS.height).reshape(-1, 1), np.array(VALUES)
)
SCALER = StandardScaler().fit(np.array(VALUES).reshape(-1, 1))
PER_SYMBOL = dict(NEXT.group_by("symbol").agg(pl.col("r").mean()).iter_rows())
WIDE = NEXT.to_pandas().set_index(KEY)["r"]


def by_forest(frame: pl.DataFrame, model: Any) -> pl.DataFrame:
    return by_position(frame, model.predict(np.arange(BARS.height).reshape(-1, 1)))


def by_scaler(frame: pl.DataFrame, scaler: Any) -> pl.DataFrame:
    base = CALM(frame).fill_null(0.0)
    return base.with_columns(x0=pl.Series(scaler.transform(base["x0"].to_numpy().reshape(-1, 1)).ravel()))


def by_symbol(frame: pl.DataFrame, means: Any) -> pl.DataFrame:
    base = CALM(frame)
    return base.with_columns(x0=pl.col("x0") - pl.Series([means[s] for s in base["symbol"]]))


def by_tensor(frame: pl.DataFrame, model: Any) -> pl.DataFrame:
    return by_position(frame, model(torch.eye(BARS.height)).detach().numpy().ravel())


def linear() -> torch.nn.Module:
    model = torch.nn.Linear(BARS.height, 1, bias=False)
    model.weight.data = torch.tensor([VALUES], dtype=torch.float32)
    return model


def by_connection(frame: pl.DataFrame, connection: Any) -> pl.DataFrame:
    return by_position(frame, [v for (v,) in connection.execute("select r from t order by rowid")])


def connection() -> Any:
    made = sqlite3.connect(":memory:", check_same_thread=False)
    made.execute("create table t (r real)")
    made.executemany("insert into t values (?)", [(v,) for v in VALUES])
    return made


def by_expression(frame: pl.DataFrame, expression: pl.Expr) -> pl.DataFrame:
    return with_known(frame, KEYS.with_columns(r=expression))


def udf_in_expression() -> pl.Expr:
    return pl.int_range(pl.len()).map_batches(lambda s: pl.Series(VALUES), return_dtype=pl.Float64)


FORMS: dict[str, Extract] = {
    "list in a closure": held(VALUES, by_position),
    "tuple in a default": in_a_default(),
    "array in a keyword default": in_a_keyword_default(),
    "dict by key": held(BY_KEY, by_key),
    "bound method of a dict": held(types.SimpleNamespace(get=BY_KEY.get), by_key),
    "global of another module": of_another_module,
    "module imported inside": of_a_module_imported_inside,
    "globals()": by_globals,
    "sys.modules": by_sys_modules,
    "getattr of a module": by_getattr,
    "instance attribute": InAttribute(VALUES),
    "slot": WithSlots(VALUES),
    "class attribute": InClass().extract,
    "attribute of a base class": InBase().extract,
    "function attribute": function_attribute(),
    "partial": functools.partial(by_position, values=VALUES),
    "decorator": decorated(),
    "constants in the code": written_into_the_code(),
    "text": held(",".join(map(repr, VALUES)), written_as_text),
    "pickle": held(pickle.dumps(VALUES), lambda frame, data: by_position(frame, pickle.loads(data))),
    "bits of a number": held(
        sum(1 << i for i, v in enumerate(VALUES) if v > 0),
        lambda frame, bits: by_position(frame, [(bits >> i) & 1 for i in range(BARS.height)]),
    ),
    "polars series": held(pl.Series(VALUES), by_position),
    "lazy frame without time": held(
        pl.LazyFrame({"r": VALUES}), lambda f, z: by_position(f, z.collect()["r"])
    ),
    "frame without time": held(pl.DataFrame({"r": VALUES}), lambda f, z: by_position(f, z["r"])),
    "literal in an expression": held(pl.lit(pl.Series(VALUES)), by_expression),
    "function in an expression": held(udf_in_expression(), by_expression),
    "numpy array": held(np.array(VALUES), by_position),
    "array of the standard library": held(array.array("d", VALUES), by_position),
    "deque": held(collections.deque(VALUES), by_position),
    "pandas series": held(pd.Series(VALUES), by_position),
    "pandas frame": held(pd.DataFrame({"r": VALUES}), lambda f, z: by_position(f, z["r"])),
    "arrow array": held(pa.array(VALUES), lambda f, z: by_position(f, z.to_pylist())),
    "arrow table": held(pa.table({"r": VALUES}), lambda f, z: by_position(f, z["r"].to_pylist())),
    "torch tensor": held(torch.tensor(VALUES), lambda f, z: by_position(f, z.numpy())),
    "torch model": held(linear(), by_tensor),
    "fitted forest": held(FOREST, by_forest),
    "fitted scaler": held(SCALER, by_scaler),
    "means by symbol": held(PER_SYMBOL, by_symbol),
    "iterator": held(types.SimpleNamespace(rows=lambda: iter(VALUES)), lambda f, z: by_position(f, z.rows())),
    "weak reference": held(weakref.ref(InAttribute(VALUES)), lambda f, z: by_position(f, VALUES)),
    "context variable": held(VARIABLE, lambda f, z: by_position(f, z.get())),
    "database": held(connection(), by_connection),
    "thread-local": held(threading.local(), lambda f, z: by_position(f, z.table)),
}
FORMS["thread-local"].__closure__[1].cell_contents.table = VALUES


@pytest.mark.parametrize("form", FORMS)
def test_data_that_an_extractor_holds_never_passes(form: str):
    try:
        report = audit_features(FORMS[form], BARS, probes=CUT, cutoffs=3)
    except AuditError:
        return
    assert not report.passed
    assert report.unaudited or report.violations


def of_a_thread() -> threading.local:
    local = threading.local()
    local.table = VALUES
    return local


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        (of_a_thread(), "numbers"),
        (threading.Thread(target=print, args=(VALUES,)), "cannot be cut"),
        (threading.Lock(), None),
        (threading.Event(), None),
    ],
)
def test_what_a_thread_holds_is_named_and_its_locks_are_not(kept: Any, named: str | None):
    """Whatever the values do: these are not even looked at."""

    def extract(frame: pl.DataFrame, kept: Any = kept) -> pl.DataFrame:
        return CALM(frame)

    unaudited = audit_features(extract, BARS, probes=CUT, cutoffs=3).unaudited
    assert (named is None and not unaudited) or (named is not None and named in " ".join(unaudited))


def test_a_cache_that_was_filled_before_is_told():
    # What others have filled and an audit finds, it clears: this one is filled just before.
    with pytest.raises(
        NonDeterministicExtractorError, match="the cache of known was filled before the audit"
    ):
        audit_features(filled_cache(), BARS, probes=CUT, cutoffs=3)


def pandas_by_key(frame: pl.DataFrame, series: Any) -> pl.DataFrame:
    table = pl.from_pandas(series.reset_index()).with_columns(pl.col("session").cast(pl.Date))
    return with_known(frame, table)


@pytest.mark.parametrize(
    "extract",
    [
        held(NEXT.lazy(), lambda f, z: with_known(f, z.collect())),
        held(NEXT.to_arrow(), lambda f, z: with_known(f, pl.from_arrow(z))),
        held(WIDE, pandas_by_key),
        held((NEXT,), lambda f, z: with_known(f, z[0])),
        held({"a": [NEXT]}, lambda f, z: with_known(f, z["a"][0])),
    ],
    ids=[
        "lazy frame",
        "arrow table",
        "pandas series by key",
        "frame in a tuple",
        "frame in a list in a dict",
    ],
)
def test_a_dated_table_of_any_library_is_cut_and_the_leak_is_seen(extract: Extract):
    moved = with_known(BARS, NEXT).rename({"x": "y"})
    report = audit_features(
        lambda frame: extract(frame),
        BARS,
        probes=["truncation"],
        cutoffs=[moved["session"].unique().sort()[30]],
    )
    assert report.coverage["truncation"]["held_frames"]
    assert not report.unaudited


READERS: dict[str, Callable[[Path], Extract]] = {
    "polars": lambda path: lambda frame: with_known(frame, pl.read_parquet(path)),
    "scan": lambda path: lambda frame: with_known(frame, pl.scan_parquet(path).collect()),
    "a scan that is put off": lambda path: (
        lambda frame: (
            CALM(frame)
            .lazy()
            .join(pl.scan_parquet(path), on=KEY, how="left")
            .select(*KEY, x=pl.col("x0") + pl.col("r"))
        )
    ),
    "pandas": lambda path: lambda frame: with_known(frame, pl.from_pandas(pd.read_parquet(path))),
    "numpy": lambda path: lambda frame: by_position(frame, np.load(path.with_suffix(".npy"))),
    "pickle": lambda path: lambda frame: by_position(frame, pickle.load(path.with_suffix(".pkl").open("rb"))),
    "text": lambda path: lambda frame: written_as_text(frame, path.with_suffix(".txt").read_text()),
    "a reader in a default": lambda path: in_default_reader(path),
    "swallowed": lambda path: swallowing(path),
    "sqlite": lambda path: lambda frame: by_connection(frame, sqlite3.connect(path.with_suffix(".db"))),
}


def in_default_reader(path: Path) -> Extract:
    def extract(frame: pl.DataFrame, read: Any = pl.read_parquet) -> pl.DataFrame:
        return with_known(frame, read(path))

    return extract


def swallowing(path: Path) -> Extract:
    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        try:
            return with_known(frame, pl.read_parquet(path))
        except Exception:
            return CALM(frame)

    return extract


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("next") / "next.parquet"
    NEXT.write_parquet(path)
    np.save(path.with_suffix(".npy"), np.array(VALUES))
    path.with_suffix(".pkl").write_bytes(pickle.dumps(VALUES))
    path.with_suffix(".txt").write_text(",".join(map(repr, VALUES)))
    database = sqlite3.connect(path.with_suffix(".db"))
    database.execute("create table t (r real)")
    database.executemany("insert into t values (?)", [(v,) for v in VALUES])
    database.commit()
    database.close()
    return path


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_an_extractor_opens_is_refused_by_its_path(file: Path, reader: str):
    with pytest.raises(AuditError, match=str(file.parent)):
        audit_features(READERS[reader](file), BARS, probes=CUT, cutoffs=3)


def test_a_path_may_be_vouched_for(file: Path):
    report = audit_features(swallowing(file), BARS, probes=["truncation"], cutoffs=3, allow=[str(file)])
    assert report.coverage["truncation"]["vouched_for"] == [str(file)]


def test_what_is_vouched_for_and_not_there_is_an_error():
    with pytest.raises(AuditInputError, match=r"allow= has TABEL, which is .* holds: BARS, value"):
        audit_features(held(VALUES, by_position), BARS, allow=["TABEL"])


def keeps_in_a_list() -> pl.Expr:
    seen: list[float] = []
    return pl.col("close").map_batches(lambda s: s / (seen or seen.append(s.mean()) or seen)[0])


def keeps_in_a_name() -> pl.Expr:
    first: float | None = None

    def scaled(series: pl.Series) -> pl.Series:
        nonlocal first
        first = first or series.mean()
        return series / first

    return pl.col("close").map_batches(scaled)


INSIDE = {
    "map_batches": (lambda: pl.col("close").map_batches(lambda s: s * VALUES[: len(s)][0]), "VALUES"),
    "map_batches of several": (lambda: pl.map_batches(["close"], lambda s: s[0] * VALUES[3]), "VALUES"),
    "map_elements": (lambda: pl.col("close").map_elements(lambda x: x * VALUES[3], pl.Float64), "VALUES"),
    "state in a list": (keeps_in_a_list, "seen"),
    "state in a name": (keeps_in_a_name, "in which calls may leave"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_a_function_in_an_expression_holds_is_named(name):
    make, label = INSIDE[name]
    expression = make()
    extract = lambda b: b.select("symbol", "session", x=expression)  # noqa: E731
    report = audit_features(extract, BARS, probes=["truncation"], cutoffs=2)
    assert not report.passed
    assert any(label in u for u in report.unaudited)
    # What was remembered of the expression says the same.
    assert audit_features(extract, BARS, probes=["truncation"], cutoffs=2).unaudited == report.unaudited


def test_a_function_in_an_expression_may_have_settings():
    window, names = 5, ("close", "open")
    expression = pl.map_batches(names, lambda s: (s[0] / s[1]).rolling_mean(window)).over("symbol")
    audit_features(
        lambda b: b.select("symbol", "session", x=expression), BARS, probes=["truncation"]
    ).assert_clean()
