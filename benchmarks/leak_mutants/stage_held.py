"""Mutants of features that know by heart: what an extractor holds, opens, or is handed beside the bars."""

import contextvars
import io
import pickle
import sqlite3
import tempfile
import threading
import weakref
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from mutant import CLOSE, RETURN, Mutant, columns, feature_mutant, panel

from trademl_pipeline.leakage import AuditReport, audit_features

GITHUB = "https://github.com/"
PICKLE = f"{GITHUB}SJTU-DMTai/MASTER/issues/25: a published pickle filled backwards"
MODELS = (
    f"{GITHUB}freqtrade/freqtrade freqtrade/optimize/analysis/lookahead.py: removes old models first, "
    '"to be sure nothing is carried over from older backtests"'
)
KEY = ["symbol", "session"]


def small() -> pl.DataFrame:
    return panel(4, 40)


CLEAN = columns(CLOSE / CLOSE.shift(2) - 1)
NEXT = columns(RETURN.shift(-1))(small()).with_columns(pl.col("x0").fill_null(0.0))
SPAN = 64


def place(rows: pl.DataFrame) -> np.ndarray:
    """Where a symbol's day has its value among those that are held, by arithmetic on its key alone."""
    number = pl.col("symbol").str.slice(1).cast(pl.Int64)
    days = (pl.col("session") - pl.date(2019, 1, 2)).dt.total_days()
    return rows.select(number * SPAN + days).to_series().to_numpy()


def _grid() -> np.ndarray:
    values = np.zeros(8 * SPAN)
    values[place(NEXT)] = NEXT["x0"].to_numpy()
    return values.round(6)


VALUES = _grid()


def beside(bars: pl.DataFrame, values: Any) -> pl.DataFrame:
    """An honest feature with a share of the values that are held."""
    rows = CLEAN(bars)
    known = np.asarray(values, dtype=np.float64)[place(rows)]
    return rows.with_columns(x0=pl.col("x0").fill_null(0.0) + 0.3 * pl.Series(known))


def joined(bars: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    rows = CLEAN(bars).join(table.rename({"x0": "known"}), on=KEY, how="left")
    return rows.select(*KEY, x0=pl.col("x0").fill_null(0.0) + 0.3 * pl.col("known").fill_null(0.0))


def array_in_closure():
    held = VALUES.copy()
    return lambda bars: beside(bars, held)


def array_in_closure_clean():
    weights = np.array([0.5, 0.3, 0.2])
    return lambda bars: columns(
        pl.sum_horizontal(w * RETURN.shift(i) for i, w in enumerate(weights.tolist()))
    )(bars)


def dict_by_key():
    held = {(s, d): v for s, d, v in NEXT.iter_rows()}

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = CLEAN(bars)
        known = [held.get(key, 0.0) for key in rows.select(KEY).iter_rows()]
        return rows.with_columns(x0=pl.col("x0").fill_null(0.0) + 0.3 * pl.Series(known))

    return extract


def dict_of_settings():
    held = {"short": 2, "long": 7}
    return lambda bars: columns(CLOSE / CLOSE.shift(held["short"]) - CLOSE / CLOSE.shift(held["long"]))(bars)


def dated_table():
    held = NEXT.clone()
    return lambda bars: joined(bars, held)


def a_day_early(bars: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The return of the day after, out of a table of returns by their own days."""
    after = table.sort(KEY).with_columns(pl.col("x0").shift(-1).over("symbol"))
    return joined(bars, after)


def of_the_day(bars: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    return joined(bars, table)


SAME_DAY = columns(RETURN)(small()).with_columns(pl.col("x0").fill_null(0.0))


def lazy_table(how: Any = a_day_early):
    held = SAME_DAY.lazy()
    return lambda bars: how(bars, held.collect())


def pandas_frame(how: Any = a_day_early):
    held = SAME_DAY.to_pandas()
    return lambda bars: how(bars, pl.from_pandas(held).with_columns(pl.col("session").cast(pl.Date)))


def arrow_table(how: Any = a_day_early):
    held = SAME_DAY.to_arrow()
    return lambda bars: how(bars, pl.DataFrame(pl.from_arrow(held)))


def in_bytes():
    held = pickle.dumps(VALUES.tolist())
    return lambda bars: beside(bars, pickle.loads(held))


def text_of_numbers():
    held = ",".join(f"{v:.5f}" for v in VALUES)
    return lambda bars: beside(bars, [float(v) for v in held.split(",")])


LISTED = VALUES.tolist()


def default_argument():
    def extract(bars: pl.DataFrame, known: list[float] = LISTED) -> pl.DataFrame:
        return beside(bars, known)

    return extract


def default_argument_clean():
    def extract(bars: pl.DataFrame, windows: tuple[int, ...] = (2, 3, 5)) -> pl.DataFrame:
        return columns(*(CLOSE / CLOSE.shift(w) - 1 for w in windows))(bars)

    return extract


def function_attribute():
    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        return beside(bars, extract.known)  # pyright: ignore[reportFunctionMemberAccess]

    extract.known = VALUES.tolist()  # pyright: ignore[reportFunctionMemberAccess]
    return extract


class Base:
    KNOWN: Any = VALUES.tolist()


class Derived(Base):
    def __call__(self, bars: pl.DataFrame) -> pl.DataFrame:
        return beside(bars, self.KNOWN)


class Windowed:
    WINDOW = 3

    def __call__(self, bars: pl.DataFrame) -> pl.DataFrame:
        return columns(CLOSE / CLOSE.shift(self.WINDOW) - 1)(bars)


def in_an_expression():
    held = pl.Series(VALUES)
    where = (
        pl.col("symbol").str.slice(1).cast(pl.Int64) * SPAN
        + (pl.col("session") - pl.date(2019, 1, 2)).dt.total_days()
    )
    known = pl.lit(held).gather(where)
    return lambda bars: CLEAN(bars).with_columns(x0=pl.col("x0").fill_null(0.0) + 0.3 * known)


def fitted_model():
    from sklearn.tree import DecisionTreeRegressor

    rows = np.arange(len(VALUES))[:, None]
    model = DecisionTreeRegressor().fit(rows, VALUES)
    return lambda bars: beside(bars, model.predict(np.arange(len(VALUES))[:, None]))


def fitted_inside():
    """A tree fitted on each call, on returns that are over."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        return columns((RETURN.shift(1).rolling_mean(5) < RETURN).cast(pl.Float64))(bars)

    return extract


def booster():
    import lightgbm

    rows = np.arange(len(VALUES), dtype=float)[:, None]
    settings = {"verbose": -1, "num_leaves": 31, "min_data_in_leaf": 1, "num_threads": 1}
    model = lightgbm.train(settings, lightgbm.Dataset(rows, VALUES), 20)
    return lambda bars: beside(bars, np.asarray(model.predict(np.arange(len(VALUES), dtype=float)[:, None])))


def tensor():
    import torch

    held = torch.tensor(VALUES)
    return lambda bars: beside(bars, held.numpy())


@lru_cache
def remembered(n: int) -> tuple[float, ...]:
    return tuple(VALUES[:n].tolist())


def cache_of_values():
    remembered(len(VALUES))
    return lambda bars: beside(bars, remembered(len(VALUES)))


@lru_cache
def decay(n: int) -> tuple[float, ...]:
    return tuple(0.8**k for k in range(n))


def cache_of_settings():
    return lambda bars: columns(pl.sum_horizontal(w * RETURN.shift(k) for k, w in enumerate(decay(4))))(bars)


def generator():
    def endless():
        while True:
            yield VALUES.tolist()

    held = endless()
    return lambda bars: beside(bars, next(held))


KNOWN: contextvars.ContextVar[Any] = contextvars.ContextVar("known", default=None)
LOCAL = threading.local()
LOCAL.known = VALUES.tolist()


def context_variable():
    KNOWN.set(VALUES.tolist())
    return lambda bars: beside(bars, KNOWN.get())


def thread_local():
    return lambda bars: beside(bars, LOCAL.known)


class Table:
    def __init__(self) -> None:
        self.values = VALUES.tolist()


ALIVE = Table()


def weak_reference():
    held = weakref.ref(ALIVE)
    return lambda bars: beside(bars, held().values)  # pyright: ignore[reportOptionalMemberAccess]


def by_a_name_made_up():
    return lambda bars: beside(bars, globals()["VAL" + "UES"])


def buffer():
    held = io.BytesIO()
    NEXT.write_parquet(held)
    return lambda bars: joined(bars, pl.read_parquet(held))


def database():
    held = sqlite3.connect(":memory:")
    held.execute("CREATE TABLE known (value REAL)")
    held.executemany("INSERT INTO known VALUES (?)", [(float(v),) for v in VALUES])
    return lambda bars: beside(bars, [v for (v,) in held.execute("SELECT value FROM known")])


def given_by_partial():
    return partial(beside, values=VALUES)


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="leak-mutants-held-"))
    NEXT.write_parquet(made / "next.parquet")
    clean = (
        "import polars as pl\n\n\ndef clean(bars):\n    rows = bars.sort('symbol', 'session')\n"
        "    x = (pl.col('close') / pl.col('close').shift(2) - 1).over('symbol')\n"
        "    return rows.select('symbol', 'session', x0=x)\n\n\n"
    )
    (made / "data.py").write_text(f"NEXT = {VALUES.round(6).tolist()}\n")
    (made / "own.py").write_text(
        clean + "def file_beside(bars):\n    import pathlib\n"
        "    known = pl.read_parquet(pathlib.Path(__file__).parent / 'next.parquet')\n"
        "    rows = clean(bars).join(known.rename({'x0': 'k'}), on=['symbol', 'session'], how='left')\n"
        "    x = pl.col('x0').fill_null(0) + 0.3 * pl.col('k').fill_null(0)\n"
        "    return rows.select('symbol', 'session', x0=x)\n\n\n"
        "def module_beside(bars):\n    import data\n"
        "    rows = clean(bars)\n"
        "    days = (pl.col('session') - pl.date(2019, 1, 2)).dt.total_days()\n"
        "    at = rows.select(pl.col('symbol').str.slice(1).cast(pl.Int64) * 64 + days).to_series()\n"
        "    known = pl.Series([data.NEXT[i] for i in at])\n"
        "    return rows.with_columns(x0=pl.col('x0').fill_null(0) + 0.3 * known)\n"
    )
    return made


def by_its_name(function: str):
    def audit(leaky: bool) -> AuditReport:
        return audit_features(
            f"{folder() / 'own.py'}:{function if leaky else 'clean'}",
            small(),
            probes=["truncation"],
            cutoffs=3,
        )

    return audit


def opened(bars: pl.DataFrame) -> pl.DataFrame:
    return joined(bars, pl.read_parquet(folder() / "next.parquet"))


def swallowed(bars: pl.DataFrame) -> pl.DataFrame:
    try:
        return opened(bars)
    except Exception:
        return CLEAN(bars)


WEIGHTS = pl.DataFrame({"symbol": [f"S{i}" for i in range(4)], "weight": [0.4, 0.1, 0.3, 0.2]})
DATED = pl.concat(
    [
        WEIGHTS.with_columns(session=pl.lit(day), weight=pl.col("weight") * (1 + 0.1 * k))
        for k, day in enumerate(small()["session"].unique().sort().to_list()[::10])
    ]
)


def weighted(bars: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """Returns times the index weights: of today, or the last ones of each day."""
    rows = CLEAN(bars)
    if "session" not in weights.columns:
        return rows.join(weights, on="symbol", how="left").select(*KEY, x0=pl.col("x0") * pl.col("weight"))
    known = rows.sort("session").join_asof(
        weights.sort("session"), on="session", by="symbol", check_sortedness=False
    )
    return known.select(*KEY, x0=pl.col("x0") * pl.col("weight"))


def static_weights(leaky: bool) -> AuditReport:
    return audit_features(weighted, small(), sources={"weights": WEIGHTS if leaky else DATED})


def held_mutant(
    name: str,
    title: str,
    leaky: Any,
    clean: Any = CLEAN,
    kills: str = "not_audited error",
    *,
    origin: str = PICKLE,
    survives: str = "",
) -> Mutant:
    mutant = feature_mutant(
        f"features/held_{name}",
        title,
        origin,
        leaky,
        clean,
        kills,
        bars=small,
        survives=survives,
    )
    return replace(mutant, kills=frozenset(k.replace("_", " ") for k in mutant.kills))


def model_mutant(name: str, title: str, made: Any, clean: Any = CLEAN) -> Mutant:
    """One whose extractor takes a library that is slow to import, and is made when it is audited."""

    def audit(leaky: bool) -> AuditReport:
        return audit_features(made() if leaky else clean, small())

    return Mutant(f"features/held_{name}", title, MODELS, frozenset({"not audited", "error"}), audit)


MUTANTS = [
    held_mutant("array", "values in an array of a closure", array_in_closure(), array_in_closure_clean()),
    held_mutant("dict", "values in a dict by symbol and day", dict_by_key(), dict_of_settings()),
    held_mutant(
        "dated_table",
        "the next returns as a table of a closure, each under the day before it",
        dated_table(),
        CLEAN,
        survives="the dates of a table are believed: where symbols are enough, plausibility warns",
    ),
    held_mutant(
        "lazy_table",
        "a lazy frame of a closure, read a day ahead",
        lazy_table(),
        lazy_table(of_the_day),
        "truncation perturbation",
    ),
    held_mutant(
        "pandas_frame",
        "a pandas frame of a closure, read a day ahead",
        pandas_frame(),
        pandas_frame(of_the_day),
        "truncation perturbation",
    ),
    held_mutant(
        "arrow_table",
        "an Arrow table of a closure, read a day ahead",
        arrow_table(),
        arrow_table(of_the_day),
        "truncation perturbation",
    ),
    held_mutant("bytes", "values in pickled bytes", in_bytes()),
    held_mutant("text", "values in a text", text_of_numbers()),
    held_mutant(
        "default_argument", "values as a default argument", default_argument(), default_argument_clean()
    ),
    held_mutant("function_attribute", "values as an attribute of the function", function_attribute()),
    held_mutant("base_class", "values of the class that an instance derives from", Derived(), Windowed()),
    held_mutant("expression", "values as a literal in an expression", in_an_expression()),
    model_mutant("tree", "a tree of scikit-learn fitted beforehand", fitted_model, fitted_inside()),
    model_mutant("booster", "a booster of LightGBM fitted beforehand", booster),
    model_mutant("tensor", "values in a tensor", tensor),
    held_mutant(
        "cache", "values in the cache of a function", cache_of_values(), cache_of_settings(), origin=MODELS
    ),
    held_mutant("generator", "values that a generator gives", generator()),
    held_mutant("context_variable", "values in a context variable", context_variable()),
    held_mutant("thread_local", "values of the thread", thread_local()),
    held_mutant("weak_reference", "values behind a weak reference", weak_reference()),
    held_mutant("made_up_name", "values found by a name that is made up", by_a_name_made_up()),
    held_mutant("buffer", "a file in memory", buffer()),
    held_mutant("database", "a database in memory", database()),
    held_mutant("partial", "values bound by functools.partial", given_by_partial()),
    held_mutant("file", "a file beside the code", opened),
    held_mutant("file_swallowed", "a file beside the code, and the refusal is caught", swallowed),
    Mutant(
        "ingest/weights_of_today",
        "the index weights of today, without a date",
        f"{GITHUB}TauricResearch/TradingAgents/pull/1163",
        frozenset({"not audited"}),
        static_weights,
    ),
    Mutant(
        "features/sealed_file",
        "a file beside the code of a function that is audited by its name",
        PICKLE,
        frozenset({"error"}),
        by_its_name("file_beside"),
    ),
    Mutant(
        "features/sealed_module",
        "a module of numbers beside the code",
        PICKLE,
        frozenset({"not audited", "error"}),
        by_its_name("module_beside"),
    ),
]
