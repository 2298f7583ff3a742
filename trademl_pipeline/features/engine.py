"""Computes features: resolves what they read, orders it, and evaluates it symbol block by symbol block."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from trademl_pipeline.features.feature import Feature, Series
from trademl_pipeline.features.operators import AGE

CHUNK_ROWS = 400_000

# Below this many rows handing expressions to other threads costs more than they save.
SMALL_ROWS = 20_000


@dataclass(frozen=True)
class Plan:
    """How columns are computed.

    Attributes:
        stages: expressions that are added to the panel, stage after stage; see `stages`.
        output: the keys, and the columns wanted as Float64.
    """

    stages: tuple[tuple[pl.Expr, ...], ...]
    output: tuple[pl.Expr, ...]


def stages(
    names: Iterable[str], declared: Mapping[str, Feature | Series], panel_columns: Iterable[str]
) -> list[list[Feature | Series]]:
    """Sort what the wanted names need into stages: each reads only the panel and earlier stages.

    Raises:
        ValueError: a name is neither declared nor given, or names read each other in a circle.
    """
    level: dict[str, int] = dict.fromkeys(panel_columns, 0)
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

    for name in names:
        visit(name)
    depth = max(level.values(), default=0)
    return [[declared[n] for n, at in level.items() if at == stage] for stage in range(1, depth + 1)]


def inputs(name: str, declared: Mapping[str, Feature | Series], given: Iterable[str]) -> tuple[str, ...]:
    """The panel columns that a declared name is made from in the end, AGE aside, sorted."""
    panel = set(given)
    panel_columns: set[str] = set()
    todo = list(declared[name].reads)
    while todo:
        read = todo.pop()
        if read in panel:
            panel_columns.add(read)
        else:
            todo.extend(declared[read].reads)
    return tuple(sorted(panel_columns - {AGE}))


def symbol_blocks(panel: pl.DataFrame, rows: int) -> list[pl.DataFrame]:
    """The panel cut at symbol borders into blocks of about `rows` rows; a symbol is never cut."""
    starts = np.flatnonzero(panel[AGE].to_numpy() == 0)
    cuts = [0]
    for start in starts[1:]:
        if start - cuts[-1] >= rows:
            cuts.append(int(start))
    cuts.append(panel.height)
    return [panel.slice(a, b - a) for a, b in pairwise(cuts)]


def plan(
    names: Sequence[str], declared: Mapping[str, Feature | Series], panel_columns: Iterable[str]
) -> Plan:
    """The plan for the named columns of a panel with the given ones; raises as `stages` does."""
    return Plan(
        tuple(
            tuple(step.expr.alias(step.name) for step in s) for s in stages(names, declared, panel_columns)
        ),
        (pl.col("symbol", "session"), pl.col(names).cast(pl.Float64)),
    )


def evaluate(
    panel: pl.DataFrame,
    names: Sequence[str],
    declared: Mapping[str, Feature | Series],
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> pl.DataFrame:
    """Compute the named columns of a panel: symbol, session and the columns as Float64, null where not defined.

    Blocks bound the memory that the shared steps take. Symbols are independent, so the blocks change no
    value.

    Args:
        panel: as `prepare` makes it, sorted by symbol and session.
        names: features or series to return, in this order.
        declared: every feature and series that may be needed on the way, by name.
        chunk_rows: rows of a block; a symbol is never cut.

    Returns:
        One row per row of the panel.

    Raises:
        ValueError: a name is neither declared nor a column of the panel, or names read each other in a
            circle.
    """
    return carry_out(plan(names, declared, panel.columns), panel, chunk_rows=chunk_rows)


def carry_out(steps: Plan, panel: pl.DataFrame, *, chunk_rows: int = CHUNK_ROWS) -> pl.DataFrame:
    """`evaluate` with a plan made beforehand."""
    blocks = symbol_blocks(panel, chunk_rows) if panel.height > chunk_rows else [panel]
    return pl.concat([_finite(_block(steps, block)) for block in blocks])


def _block(steps: Plan, block: pl.DataFrame) -> pl.DataFrame:
    if block.height <= SMALL_ROWS:
        for stage in steps.stages:
            block = block.with_columns_seq(stage)
        return block.select_seq(steps.output)
    for stage in steps.stages:
        block = block.with_columns(stage)
    return block.select(steps.output)


def _finite(values: pl.DataFrame) -> pl.DataFrame:
    """Null instead of infinite and NaN."""
    # A sum is finite only if every value is, and costs a fraction of testing each.
    sums = [(s.name, s.sum()) for s in values.get_columns()[2:]]
    suspect = [name for name, total in sums if not math.isfinite(total or 0.0)]
    if not suspect:
        return values
    return values.with_columns(pl.when(pl.col(n).is_finite()).then(pl.col(n)) for n in suspect)
