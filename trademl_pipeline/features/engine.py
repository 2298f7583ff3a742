"""Computes features: resolves what they read, orders it, and evaluates it symbol block by symbol block."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from trademl_pipeline.features.feature import Feature, Series
from trademl_pipeline.features.operators import AGE

CHUNK_ROWS = 400_000


def stages(
    wanted: Iterable[str], declared: Mapping[str, Feature | Series], given: Iterable[str]
) -> list[list[Feature | Series]]:
    """What must be computed for the wanted names, in stages: each reads only the panel and earlier stages.

    Raises:
        ValueError: a name is neither declared nor given, or names read each other in a circle.
    """
    level: dict[str, int] = dict.fromkeys(given, 0)
    open_names: list[str] = []

    def visit(name: str) -> int:
        if name in level:
            return level[name]
        if name in open_names:
            raise ValueError(f"features read each other in a circle: {' -> '.join([*open_names, name])}")
        if name not in declared:
            reader = f", which {open_names[-1]} reads," if open_names else ""
            raise ValueError(f"{name}{reader} is neither a column of the panel nor declared")
        open_names.append(name)
        level[name] = 1 + max((visit(n) for n in declared[name].reads), default=0)
        open_names.pop()
        return level[name]

    for name in wanted:
        visit(name)
    depth = max(level.values(), default=0)
    return [[declared[n] for n, at in level.items() if at == stage] for stage in range(1, depth + 1)]


def inputs(name: str, declared: Mapping[str, Feature | Series], given: Iterable[str]) -> tuple[str, ...]:
    """The panel columns that a declared name is made from in the end, AGE aside, sorted."""
    panel = set(given)
    found: set[str] = set()
    todo = list(declared[name].reads)
    while todo:
        read = todo.pop()
        if read in panel:
            found.add(read)
        else:
            todo.extend(declared[read].reads)
    return tuple(sorted(found - {AGE}))


def symbol_blocks(panel: pl.DataFrame, rows: int) -> list[pl.DataFrame]:
    """The panel cut at symbol borders into blocks of about `rows` rows; a symbol is never cut."""
    starts = np.flatnonzero(panel[AGE].to_numpy() == 0)
    cuts = [0]
    for start in starts[1:]:
        if start - cuts[-1] >= rows:
            cuts.append(int(start))
    cuts.append(panel.height)
    return [panel.slice(a, b - a) for a, b in pairwise(cuts)]


def evaluate(
    panel: pl.DataFrame,
    names: Sequence[str],
    declared: Mapping[str, Feature | Series],
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> pl.DataFrame:
    """Symbol, session and the named columns as Float64, one row per panel row; null where not defined.

    Blocks bound the memory that the shared steps take. Symbols are independent, so the blocks change no
    value.
    """
    steps = stages(names, declared, panel.columns)
    plan = [[step.expr.alias(step.name) for step in stage] for stage in steps]
    parts = []
    for block in symbol_blocks(panel, chunk_rows):
        for stage in plan:
            block = block.with_columns(stage)
        parts.append(_finite(block.select("symbol", "session", *(pl.col(n).cast(pl.Float64) for n in names))))
    return pl.concat(parts)


def _finite(values: pl.DataFrame) -> pl.DataFrame:
    """Null instead of infinite and NaN."""
    names = values.columns[2:]
    # A sum is finite only if every value is, and costs a fraction of testing each.
    sums = values.select(pl.col(names).sum()).row(0)
    suspect = [n for n, total in zip(names, sums, strict=True) if not math.isfinite(total or 0.0)]
    return values.with_columns(pl.when(pl.col(n).is_finite()).then(pl.col(n)) for n in suspect)
