"""Calling an extractor on views of a panel, and holding it to its contract."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.lake.sealed_files import SealedFileError, sealed_files
from trademl_pipeline.leakage.errors import (
    AuditError,
    AuditInputError,
    ExtractorError,
    ExtractorOutputError,
    NonDeterministicExtractorError,
    OutsideDataError,
)
from trademl_pipeline.leakage.feature_audit.compare import Difference, Tolerance, difference
from trademl_pipeline.leakage.feature_audit.holdings import Holdings
from trademl_pipeline.leakage.feature_audit.loading import called
from trademl_pipeline.leakage.feature_audit.origins import function_origin, source_line
from trademl_pipeline.leakage.feature_audit.sealed_function import RaisedError, SealedFunction
from trademl_pipeline.leakage.feature_audit.sealed_process import STEP
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.leakage.tables import KEY, Axis, Table, feature_table


@dataclass(frozen=True)
class View:
    """The input of an extractor's call: bars, their key codes, and every source, those that it holds itself too."""

    bars: pl.DataFrame
    keys: np.ndarray
    sources: Mapping[str, pl.DataFrame]


def as_of(panel: Panel, cutoff: int, low: int = 0) -> View:
    """The panel as known after the session with index `cutoff`, from session index `low` on."""
    sources = {n: s.as_of(cutoff, panel.axis, low) for n, s in panel.sources.items()}
    return View(panel.bars.as_of(cutoff, panel.axis, low), panel.rows_at(cutoff, low), sources)


def alone(panel: Panel, first: int, last: int, warmup: int) -> View:
    """Return the sessions with indices `first` to `last`, and `warmup` sessions of each symbol's own before them.

    A symbol with gaps gets as many rows as any other, and reaches further back for them.

    Args:
        panel: everything.
        first, last: session indices, both inclusive.
        warmup: rows of each symbol before `first`.
    """
    symbol = panel.axis.symbol_of(panel.keys)
    before = panel.bars.index < first
    # Position from the end among a symbol's rows before `first`: rows are sorted by symbol, then session.
    count = np.bincount(symbol[before], minlength=len(panel.axis.symbols))
    start = np.concatenate([[0], np.cumsum(np.bincount(symbol, minlength=len(count)))])[:-1]
    place = np.arange(len(panel)) - start[symbol]
    keep = (panel.bars.visible <= last) & np.where(before, place >= count[symbol] - warmup, True)
    low = int(panel.bars.index[keep].min(initial=last))
    sources = {n: s.as_of(last, panel.axis, low) for n, s in panel.sources.items()}
    return View(panel.bars.frame.filter(pl.Series(keep)), panel.keys[keep], sources)


def whole(panel: Panel) -> View:
    """The panel with everything in it."""
    return View(panel.bars.frame, panel.keys, {n: s.frame for n, s in panel.sources.items()})


class Extractor:
    """An extractor under audit: every call checked, counted, and made from the state before the first.

    Attributes:
        axis: of the panel.
        calls, rows: calls made, and bars handed over in them.
        holdings: what it reaches besides its arguments.
        ignored: columns of the bars that are no numbers and come back as they were, such as a source's name.
        passed_through: numeric columns of the bars that come back as they were.
    """

    def __init__(
        self, fn: Callable[..., Any] | SealedFunction, panel: Panel, allow: Iterable[str] = ()
    ) -> None:
        if not isinstance(fn, SealedFunction) and not callable(fn):
            raise AuditInputError(f"the extractor is {type(fn).__name__}; give a function of the bars")
        self.axis: Axis = panel.axis
        self.calls = 0
        self.rows = 0
        self.ignored: frozenset[str] = frozenset()
        self.passed_through: frozenset[str] = frozenset()
        self._fn = fn
        self._names = list(panel.sources)
        self._files = [name for name in allow if Path(name).exists()]
        self.holdings = Holdings(fn, panel, allow)
        self._remembers = False
        self._state = self.holdings.state

    @property
    def stateful(self) -> list[str]:
        """Labels of state that calls change."""
        return ["what its process remembers"] if self._remembers else self._state.changed

    @property
    def captured(self) -> list[str]:
        """Labels of the tables that the extractor holds and that are cut with the bars."""
        return self.holdings.cut

    def origin(self, column: str) -> str:
        """Return `file:line` of the code that makes a column; empty where it cannot be told."""
        if isinstance(self._fn, SealedFunction):
            return source_line(*self._fn.source, column) if self._fn.source else ""
        return function_origin(self._fn, column)

    @property
    def sealed_by(self) -> str | None:
        """Say what keeps a function in a process of its own from files; None for one that was given as an object."""
        return self._fn.sealed_by() if isinstance(self._fn, SealedFunction) else None

    def __call__(
        self,
        view: View,
        where: str,
        *,
        fresh: bool = True,
        sessions: tuple[int, int] | None = None,
        axis: Axis | None = None,
    ) -> Table:
        """The extractor's output on a view.

        Args:
            view: what it is shown.
            where: for messages.
            fresh: put its state back first.
            sessions: first and last session index of the rows wanted; None for all.
            axis: that the view's keys are codes of; None: the panel's.

        Raises:
            ExtractorError: it raised.
            ExtractorOutputError: it returned something that cannot be compared.
        """
        output = self._output(view, where, fresh=fresh)
        return feature_table(output, axis or self.axis, view.bars, view.keys, where, sessions)

    def _output(self, view: View, where: str, *, fresh: bool = True) -> Any:
        if fresh:
            self._state.restore()
        self.calls += 1
        self.rows += view.bars.height
        sources = {n: view.sources[n] for n in self._names}
        with self.holdings.showing(view.sources):
            try:
                if isinstance(self._fn, SealedFunction):
                    output = self._fn.call(view.bars, sources, fresh=fresh)
                else:
                    with sealed_files(STEP, self._files):
                        output = called(self._fn, view.bars, sources)
            except SealedFileError as error:
                raise OutsideDataError(
                    f"{error.opened}, {where}. What a file or a connection holds has no clock: pass it with sources=, "
                    "or name its path in allow= to vouch for it"
                ) from error
            except AuditError:
                raise
            except RaisedError as error:
                place = f" (at {error.place})" if error.place else ""
                raise ExtractorError(
                    f"the extractor raised {error.kind} {where} ({view.bars.height} rows): {error}{place}"
                ) from error
            except Exception as error:
                raise ExtractorError(
                    f"the extractor raised {type(error).__name__} {where} ({view.bars.height} rows): {error}"
                ) from error
        if isinstance(output, pl.DataFrame) and self.ignored:
            output = output.drop(self.ignored, strict=False)
        return output

    def base(
        self, panel: Panel, rtol: float, atol: float, published: pl.DataFrame | None = None
    ) -> tuple[Table, AuditReport]:
        """Compute the output on everything, and compare it with what was published.

        It is made twice, unless it is what an earlier call published: two calls have agreed then.

        Args:
            panel: everything.
            rtol: relative tolerance between the two calls.
            atol: absolute tolerance, in units of each column's median magnitude.
            published: the extractor's rows as a store holds them; None: nothing was.

        Returns:
            The output, and the report of the comparison with the published rows (empty without them).

        Raises:
            NonDeterministicExtractorError: the two calls differ, or a cache that was filled before makes a difference.
            ExtractorOutputError: there is no row.
        """
        view = whole(panel)
        filled = self._output(view, "on all bars", fresh=False) if self.holdings.filled else None
        output = self._output(view, "on all bars")
        self.holdings.ask()
        if isinstance(output, pl.DataFrame):
            self.ignored, self.passed_through = _passed_through(output, view.bars)
            output = output.drop(self.ignored)
        first = feature_table(output, self.axis, view.bars, view.keys, "on all bars")
        if not len(first.keys):
            raise ExtractorOutputError(
                f"the extractor returned no rows on all {len(panel)} bars; nothing can be audited"
            )
        self._state.watch()
        if isinstance(filled, pl.DataFrame) and not filled.drop(self.ignored, strict=False).equals(output):
            raise NonDeterministicExtractorError(
                f"the cache of {', '.join(self.holdings.filled)} was filled before the audit, and the extractor gives "
                "other values without it. Clear it with cache_clear(), and compute what it holds from the bars"
            )
        same = AuditReport()
        if published is not None and isinstance(output, pl.DataFrame):
            same = audit_published(published, output)
            if same.passed:
                return first, same
        again = self._output(view, "on all bars, called again", fresh=False)
        if isinstance(again, pl.DataFrame) and again.equals(output):
            return first, same
        second = feature_table(again, self.axis, view.bars, view.keys, "on all bars, called again")
        diff = difference(first, second.arranged(first.columns), Tolerance.of(first, rtol, atol))
        if diff or set(second.columns) != set(first.columns):
            raise NonDeterministicExtractorError(_twice(diff, first, self.axis))
        return first, same

    def settle(self, view: View, base: Table, tolerance: Tolerance) -> None:
        """Stop putting state back if it makes no difference, such as a memo of dates.

        To be called after a call on all bars: what that leaves behind must not show on the view, another
        input.
        """
        in_process = isinstance(self._fn, SealedFunction)
        if not in_process and not self._state.changed:
            return
        after = self(view, "after a call on all bars", fresh=False)
        alone = self(view, "on other bars")
        same = not difference(alone.arranged(base.columns), after.arranged(base.columns), tolerance)
        same = same and set(alone.columns) == set(after.columns)
        self._remembers = in_process and not same
        if same:
            self._state.ignore()

    def close(self) -> None:
        """Leave the extractor as it was before the audit."""
        self._state.restore(ignored=True)


def _passed_through(output: pl.DataFrame, bars: pl.DataFrame) -> tuple[frozenset[str], frozenset[str]]:
    """Columns of the bars that an extractor hands back unchanged: the non-numeric and the numeric ones."""
    both = [c for c in output.columns if c not in KEY and output.schema[c] == bars.schema.get(c)]
    if not both or not set(KEY) <= set(output.columns) or output.schema["session"] != bars.schema["session"]:
        return frozenset(), frozenset()
    joined = output.select(*KEY, *both).join(bars.select(*KEY, *both), on=KEY, how="left", suffix="\0")
    same = {
        c
        for c in both
        if bars.schema[c] != pl.Object and joined.select(pl.col(c).eq_missing(pl.col(f"{c}\0")).all()).item()
    }
    numeric = {c for c in same if bars.schema[c].is_numeric()}
    plain = {c for c in same - numeric if not (bars.schema[c].is_temporal() or bars.schema[c] == pl.Boolean)}
    return frozenset(plain), frozenset(numeric)


def _twice(diff: Difference, table: Table, axis: Axis) -> str:
    what = "different columns"
    if len(diff.keys):
        symbol, session = axis.name(diff.keys[0])
        names = sorted({table.columns[int(j)] for j in diff.columns})
        what = (
            f"{len(diff.keys)} different values in {', '.join(names[:5])}, such as "
            f"{table.columns[diff.columns[0]]} of {symbol} {session}: {diff.before[0]:.6g}, then "
            f"{diff.after[0]:.6g}"
        )
    elif len(diff.missing) or len(diff.extra):
        what = f"{len(diff.missing) + len(diff.extra)} different rows"
    return (
        f"two calls of the extractor on the same bars gave {what}. Pass seeds in, and keep no state between "
        "calls; nothing can be concluded from an extractor that disagrees with itself"
    )
