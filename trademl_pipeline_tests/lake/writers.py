"""Frames for the tests of the lake, and the bodies of the processes that write to it at the same time."""

import multiprocessing
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from typing import Any

import polars as pl

from trademl_pipeline.lake import Lake, LakeConfig, TableSchema
from trademl_pipeline.lake.schema import copied_table
from trademl_pipeline.tables import feature_table

# The columns of features, before which no gate stands: what the lake does is the same for every table.
FEATURES = copied_table(feature_table("test", ["alpha", "beta"]))
COMPANION = copied_table(feature_table("companion", ["alpha", "beta"]))


def make_frame(
    month: str,
    value: float = 1.0,
    *,
    symbols: int = 5,
    sessions: int = 4,
    schema: TableSchema = FEATURES,
) -> pl.DataFrame:
    """A feature frame of one month whose features all hold `value`; rows = symbols * sessions."""
    first = date.fromisoformat(month)
    keys = [(f"S{i:03d}", first + timedelta(days=d)) for i in range(symbols) for d in range(sessions)]
    close = [datetime(s.year, s.month, s.day, 21, tzinfo=UTC) for _, s in keys]
    features = [
        c for c in schema.columns if c not in ("symbol", "session", "decision_time", "knowledge_time")
    ]
    return pl.DataFrame(
        {
            "symbol": [symbol for symbol, _ in keys],
            "session": [session for _, session in keys],
            "decision_time": close,
            "knowledge_time": close,
            **{name: [value] * len(keys) for name in features},
        },
        schema=schema.polars_schema,
    )


def publish_months(config: LakeConfig, months: list[str], values: list[float], results: Any) -> None:
    """Process body: publish the months with each value in turn; the attempts go on the queue."""
    with Lake(config) as lake:
        done = [
            lake.publish(FEATURES, make_frame(month, value), month, audit=lambda _: time.sleep(0.02))
            for value in values
            for month in months
        ]
    results.put([result.attempts for result in done])


def publish_for_ever(config: LakeConfig, month: str, start: int, log: str) -> None:
    """Process body: publish ever new versions of one month of two tables, logging before and after each."""
    with Lake(config) as lake, open(log, "a", buffering=1) as journal:
        version = start
        while True:
            version += 1
            journal.write(f"begin {version}\n")
            items = [
                (s, make_frame(month, float(version), symbols=200, schema=s), month)
                for s in (FEATURES, COMPANION)
            ]
            lake.publish_many(items)
            journal.write(f"end {version}\n")


def start_processes(target: Callable[..., None], arguments: Iterable[tuple]) -> list[ForkServerProcess]:
    """Start one process per tuple of arguments; they share no memory and no connection with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    processes = [context.Process(target=target, args=a) for a in arguments]
    for process in processes:
        process.start()
    return processes


def publish_from_processes(
    config: LakeConfig, months_of: list[list[str]], values: list[float]
) -> list[list[int]]:
    """Publish each list of months from a process of its own, all at once; the attempts each publish took."""
    context = multiprocessing.get_context("forkserver")
    results = context.Queue()
    processes = start_processes(publish_months, [(config, months, values, results) for months in months_of])
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert codes == [0] * len(processes), f"exit codes of the writers: {codes}"
    return [results.get() for _ in processes]
