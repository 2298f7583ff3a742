"""Several views in one call: copies of the panel side by side, each cut at its own session, under names of their own.

A call costs more than its rows, so one call on ten short panels is cheaper than ten calls. To a function that works
symbol by symbol a copy under another name is another symbol, and comes out as it would alone. Copies are cut at
different sessions, so that one copy lies beside later rows of others: under other names, but in the same frame. A
function that pools over names would have them. So two symbols with made-up bars, absurdly high and low, lie beside the
copies, at both ends of the rows: a mean, an extreme, a rank or a count over all of them is not what it was without, the
cell does not come out as it was published, and the view alone decides, as it does for everything that disagrees.

What this can hide is a row that takes from the later rows of other symbols by a way that the made-up bars do not
disturb, in a function that is seen to work symbol by symbol on samples (`plans.separable`).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.corrupt import impulse
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.tables import Axis, Table

# Bars of one call: in computations of the panel, and in all.
TIMES = 12
MOST_ROWS = 200_000

# Made-up prices are this many times higher or lower than any, from one row to the next.
ABSURD = 1_000.0


def stackable(panel: Panel) -> bool:
    """Return whether copies of a panel can lie side by side: every source is by symbol, and can be copied with it."""
    return all(s.frame.schema.get("symbol") == pl.String for s in panel.sources.values())


def room(panel: Panel) -> int:
    """Return how many bars one call may be handed."""
    return min(TIMES * len(panel), MOST_ROWS)


def together(extractor: Extractor, panel: Panel, views: Sequence[View], where: str, seed: int) -> list[Table]:
    """Return the output on each of several views of a panel, computed in one call.

    Args:
        extractor: under audit.
        panel: that the views are of.
        views: any number, none without bars.
        where: for messages.
        seed: of the made-up bars beside them.

    Raises:
        ExtractorError: it raised, which it may not on each of them alone.
        ExtractorOutputError: it returned something that cannot be compared.
    """
    width = len(str(len(views) + 1))
    prefixes = [f"{number:0{width}d}." for number in range(len(views) + 2)]
    covered = pl.concat(v.bars.select("session") for v in views).unique()
    ends = [_absurd(panel, seed, sign).join(covered, on="session", how="semi") for sign in (1, -1)]
    frames = [
        _renamed(f, p) for f, p in zip([ends[0], *(v.bars for v in views), ends[1]], prefixes, strict=True)
    ]
    bars = pl.concat(frames).sort("symbol", "session")
    sources = {
        name: pl.concat(_renamed(v.sources[name], p) for v, p in zip(views, prefixes[1:-1], strict=True))
        for name in panel.sources
    }
    axis = Axis(bars)
    table = extractor(View(bars, axis.keys(bars), sources), where, axis=axis)
    copies = np.array([int(name[:width]) for name in axis.symbols])
    codes = {name: code for code, name in enumerate(panel.axis.symbols)}
    symbols = np.array([codes[name[width + 1 :]] for name in axis.symbols])
    days = {day: index for index, day in enumerate(panel.axis.sessions)}
    sessions = np.array([days[day] for day in axis.sessions])
    symbol, session = axis.symbol_of(table.keys), axis.session_of(table.keys)
    keys = symbols[symbol] * len(panel.axis.sessions) + sessions[session]
    return [
        _part(table, keys, np.flatnonzero(copies[symbol] == number)) for number in range(1, len(views) + 1)
    ]


def _renamed(frame: pl.DataFrame, prefix: str) -> pl.DataFrame:
    return frame.with_columns((pl.lit(prefix) + pl.col("symbol")).alias("symbol"))


def _part(table: Table, keys: np.ndarray, rows: np.ndarray) -> Table:
    """The rows of one copy, under the keys of the panel."""
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return Table(keys[rows], table.values[rows], table.nulls[rows], table.columns, table.single)


def _absurd(panel: Panel, seed: int, sign: int) -> pl.DataFrame:
    """The bars of the symbol that has most of them, with values that are none; of the other sign, high for low."""
    symbol = panel.axis.symbol_of(panel.keys)
    mine = symbol == np.argmax(np.bincount(symbol))
    bars = panel.bars.frame.filter(pl.Series(mine))
    rng = np.random.default_rng([seed, 8])
    rows = np.arange(bars.height)
    power = sign * np.where(rng.random(bars.height) < 0.5, -1.0, 1.0) * rng.uniform(1.0, 1.5, bars.height)
    return impulse(bars, rows, ABSURD**power, rng)
