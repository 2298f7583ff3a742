"""Does the extractor compute from what it is given?

Features that were computed beforehand and are only looked up (in a frame that the extractor holds, a file, an
array) come out the same whatever is deleted or made up, and would pass every probe. So, once per audit, all
values are made up and both ends of the bars are deleted. A column that does not move by one cell, in none of a
few synthetic histories, comes from elsewhere, unless it is such as a calendar or a list of sectors gives: the same
for all symbols of a session, or for all sessions of a symbol.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import ExtractorError, OutsideDataError
from trademl_pipeline.leakage.feature_audit.compare import Tolerance, moved_columns
from trademl_pipeline.leakage.feature_audit.corrupt import corrupt_future, corrupt_source
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline.leakage.feature_audit.holdings import CAPTURED
from trademl_pipeline.leakage.feature_audit.views import Panel, Timed
from trademl_pipeline.leakage.tables import Table

MIN_SESSIONS = 8

# A column of few and small whole numbers, such as a count of rare events, can come out the same by chance.
DRAWS = 4

# Bars that are enough to see whether a column moves; of larger panels some symbols are taken.
ENOUGH_BARS = 50_000
CLOCKS = frozenset(("session", "event_time", "knowledge_time", "decision_time", "ingested_at"))


def input_sensitivity_or_reason(
    extractor: Extractor,
    panel: Panel,
    base: Table,
    window: tuple[int, int],
    tolerance: Tolerance,
    seed: int,
) -> str | None:
    """Check what the module says, unless the extractor refuses synthetic bars with gaps; then return its refusal.

    Args:
        extractor: under audit.
        panel: everything it may read.
        base: its output on that.
        window: first and last session index of the audited window, both inclusive.
        tolerance: within which two values are equal.
        seed: of the synthetic values.

    Returns:
        None where the output moves with its input, else why that was not tested.

    Raises:
        OutsideDataError: as `check_input_sensitivity`.
    """
    try:
        extractor.settle(synthetic_view(panel, window, seed), base, tolerance)
        check_input_sensitivity(extractor, panel, base, window, tolerance, seed)
    except ExtractorError as refusal:
        return f"not tested: {refusal}"
    return None


def check_input_sensitivity(
    extractor: Extractor, panel: Panel, base: Table, window: tuple[int, int], tolerance: Tolerance, seed: int
) -> None:
    """Refuse an extractor whose output does not come from its input. Panels of few sessions are not tested.

    Args:
        extractor: under audit.
        panel: everything it may read.
        base: its output on that.
        window: first and last session index of the audited window, both inclusive.
        tolerance: within which two values are equal.
        seed: of the synthetic values.

    Raises:
        OutsideDataError: a column comes from elsewhere, or only from a frame that the extractor holds, as it
            is.
    """
    if panel.last + 1 < MIN_SESSIONS:
        return
    still = _still(extractor, panel, base, window, tolerance, seed, everything=True)
    dead = [c for c, varies in still.items() if varies]
    if dead:
        raise OutsideDataError(
            f"{_names(dead)} did not move when all values were replaced by synthetic ones and both ends of the bars "
            "were deleted. What is computed elsewhere and only looked up cannot be audited: compute it from the "
            "bars, or pass what it reads with sources="
        )
    if not extractor.captured:
        return
    still = _still(extractor, panel, base, window, tolerance, seed, everything=False)
    dead = [c for c, varies in still.items() if varies]
    captured = ", ".join(extractor.captured)
    if dead and len(dead) == len(base.columns):
        raise OutsideDataError(
            "the output does not depend on the bars that the extractor is given, but on what it holds "
            f"itself ({captured}). Compute it from the bars, or pass what it reads with sources="
        )
    copied = [
        c
        for c in still
        if any(_copies(base, c, panel, s) for n, s in panel.sources.items() if n.startswith(CAPTURED))
    ]
    if copied:
        raise OutsideDataError(
            f"{_names(copied)} is copied from a frame that the extractor holds ({captured}), so what it was "
            "computed from cannot be audited. If it is data, pass it with sources="
        )


def _still(
    extractor: Extractor,
    panel: Panel,
    base: Table,
    window: tuple[int, int],
    tolerance: Tolerance,
    seed: int,
    *,
    everything: bool,
) -> dict[str, bool]:
    """Columns that come out the same where they have values; whether those vary as a calendar's cannot.

    One draw decides for most; only where it leaves a column that varies, others are drawn until all such have moved.
    """
    still: dict[str, bool] = {}
    for draw in range(DRAWS):
        view = synthetic_view(panel, window, seed + draw, everything=everything)
        other = extractor(view, "with synthetic values").arranged(base.columns)
        inside = base.take(np.isin(base.keys, other.keys, assume_unique=True))
        moved = {base.columns[j] for j in moved_columns(inside, other, tolerance)}
        if draw:
            still = {c: varies for c, varies in still.items() if c not in moved}
        else:
            present = np.any(np.isfinite(inside.values), axis=0)
            still = {
                c: _varies(inside, j, panel)
                for j, c in enumerate(base.columns)
                if c not in moved and present[j]
            }
        if not any(still.values()):
            break
    return still


def synthetic_view(panel: Panel, window: tuple[int, int], seed: int, *, everything: bool = True) -> View:
    """Return the panel with synthetic values, both ends deleted, and one bar in five deleted in between.

    The later end is that of the audited window, so that some of it is left.

    Args:
        panel: everything.
        window: first and last session index of the audited window, both inclusive.
        seed: of the draws.
        everything: make up what the extractor holds itself as well.
    """
    rng = np.random.default_rng([seed, 6])
    size = window[1] - window[0] + 1
    low, high = min((panel.last + 1) // 4, window[0] + size // 4), window[1] - size // 8
    keep = (panel.bars.index >= low) & (panel.bars.index <= high) & (rng.random(len(panel)) < 0.8)
    names = len(panel.axis.symbols)
    if len(panel) > ENOUGH_BARS:
        some = rng.permutation(names)[: max(names * ENOUGH_BARS // len(panel), 2)]
        keep &= np.isin(panel.axis.symbol_of(panel.keys), some)
    keys = panel.keys[keep]
    bars = panel.bars.frame.filter(pl.Series(keep))
    bars = corrupt_future(bars, np.ones(len(keys), dtype=bool), panel.axis.symbol_of(keys), rng)
    dates = [c for c, t in bars.schema.items() if isinstance(t, pl.Date | pl.Datetime) and c not in CLOCKS]
    bars = bars.with_columns(pl.col(c) + pl.duration(days=11) for c in dates)
    return View(bars, keys, _sources(panel.sources, rng, everything))


def _sources(
    sources: Mapping[str, Timed], rng: np.random.Generator, everything: bool
) -> dict[str, pl.DataFrame]:
    """Sources with synthetic numbers and half of their rows.

    Those that the extractor holds itself stay as they are without `everything`.
    """
    synthetic: dict[str, pl.DataFrame] = {}
    for name, source in sources.items():
        if name.startswith(CAPTURED) and not everything:
            synthetic[name] = source.frame
            continue
        half = source.frame.filter(pl.Series(rng.random(source.frame.height) < 0.5))
        synthetic[name] = corrupt_source(half, np.ones(half.height, dtype=bool), rng)
    return synthetic


def _varies(table: Table, column: int, panel: Panel) -> bool:
    """True if a column differs among the symbols of some session and among the sessions of some symbol."""
    frame = pl.DataFrame(
        {
            "symbol": panel.axis.symbol_of(table.keys),
            "session": panel.axis.session_of(table.keys),
            "x": table.values[:, column],
        }
    )
    return all(
        (frame.group_by(by).agg(pl.col("x").n_unique())["x"] > 1).any() for by in ("session", "symbol")
    )


def _copies(base: Table, column: str, panel: Panel, source: Timed) -> bool:
    """True if a column of the base is a column of a keyed frame, value for value."""
    frame = source.frame
    if not {"symbol", "session"} <= set(frame.columns) or frame.schema["session"] != panel.axis.dtype:
        return False
    keys = panel.axis.keys(frame)
    order = np.argsort(keys, kind="stable")
    at = np.searchsorted(keys[order], base.keys)
    if (
        not len(keys)
        or (at >= len(keys)).any()
        or (keys[order][np.minimum(at, len(keys) - 1)] != base.keys).any()
    ):
        return False
    mine = base.values[:, base.columns.index(column)]
    for name, dtype in frame.schema.items():
        if dtype.is_numeric():
            theirs = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()[order][at]
            if np.array_equal(mine, theirs, equal_nan=True):
                return True
    return False


def _names(columns: list[str]) -> str:
    return ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
