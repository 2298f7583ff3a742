"""All that an extractor holds, during an audit: rows are cut with the bars, state is put back, the rest is named."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.bindings import Binding
from trademl_pipeline.leakage.feature_audit.constants import Shape
from trademl_pipeline.leakage.feature_audit.places import State
from trademl_pipeline.leakage.feature_audit.reach import reach
from trademl_pipeline.leakage.feature_audit.reached import Reached
from trademl_pipeline.leakage.feature_audit.sealed_function import SealedFunction
from trademl_pipeline.leakage.feature_audit.tabular import ToNative, tabular
from trademl_pipeline.leakage.feature_audit.views import NO_TIME, Panel

CAPTURED = "held:"


@dataclass(frozen=True)
class _Cut:
    binding: Binding
    native: ToNative


class Holdings:
    """Everything that a function reaches besides its arguments, and what an audit does with it.

    Attributes:
        state: that calls may change, put back before each further call.
        unaudited: label -> why it carries data that nothing can cut.
        filled: labels of caches that earlier calls have filled.
    """

    def __init__(
        self, fn: Callable[..., Any] | SealedFunction, panel: Panel, allow: Iterable[str] = ()
    ) -> None:
        self._fn = fn
        self._shape = Shape(frozenset(panel.axis.symbols), tuple(panel.axis.sessions))
        self._allow = frozenset(allow)
        reached = Reached() if isinstance(fn, SealedFunction) else reach(fn, self._shape)
        self.filled = [label for label, cached in reached.caches if cached.cache_info().currsize]
        self.state = State(reached.places, reached.caches)
        self.unaudited: dict[str, str] = {}
        self._cuts: dict[str, _Cut] = {}
        self._known = set(reached.named) | {b.label for b in reached.tables}
        self._sources = frozenset(panel.sources)
        if not isinstance(fn, SealedFunction):
            self._check_allow()
        for label, reason in reached.named.items():
            self._report(label, reason)
        for binding in reached.tables:
            if binding.label not in self._allow:
                self._place(binding, panel)

    @property
    def cut(self) -> list[str]:
        """Labels of the tables that are cut with the bars."""
        return [name.removeprefix(CAPTURED) for name in self._cuts]

    @property
    def vouched(self) -> list[str]:
        """Names of what is left as it is since the user vouches for it: data, sources, paths."""
        known = self._known | self._sources
        return sorted(name for name in self._allow if name in known or Path(name).exists())

    def _check_allow(self) -> None:
        unknown = self._allow.difference(self.vouched)
        if unknown:
            raise AuditInputError(
                f"allow= has {', '.join(sorted(unknown))}, which is neither a file, nor a source, nor anything that "
                f"the extractor holds: {', '.join(sorted(self._known)) or 'it holds nothing of the kind'}"
            )

    def _report(self, label: str, reason: str) -> None:
        if label not in self._allow:
            self.unaudited[label] = reason

    def _place(self, binding: Binding, panel: Panel) -> None:
        label = binding.label
        rows = tabular(binding.get())
        if rows is None:
            self._report(label, f"{type(binding.get()).__name__} that has no time by which to cut it")
            return
        if _is_calendar(rows.frame):
            return
        try:
            timed = panel.timed(label, rows.frame)
        except AuditInputError as error:
            self._report(label, str(error))
            return
        if rows.frame.height and timed.untimed:
            undated = f"{rows.frame.height:,} rows without a time by which to cut them"
            self._report(label, undated if timed.untimed == NO_TIME else timed.untimed)
            return
        panel.sources[CAPTURED + label] = timed
        self._cuts[CAPTURED + label] = _Cut(binding, rows.native)

    @contextmanager
    def showing(self, sources: Mapping[str, pl.DataFrame]) -> Generator[None]:
        """Let the tables be those of a view while the function runs."""
        before = {name: cut.binding.get() for name, cut in self._cuts.items()}
        try:
            for name, cut in self._cuts.items():
                assert cut.binding.put is not None
                cut.binding.put(cut.native(sources[name]))
            yield
        finally:
            for name, value in before.items():
                put = self._cuts[name].binding.put
                assert put is not None
                put(value)

    def ask(self) -> None:
        """Name what a function in a process of its own holds, which is known once it was called."""
        if isinstance(self._fn, SealedFunction):
            self._known |= set(self._fn.holdings or {})
            self._check_allow()
            for label, reason in (self._fn.holdings or {}).items():
                self._report(label, reason)

    def look_again(self) -> None:
        """Name what calls have left behind where nothing puts it back, such as a module they have imported."""
        if isinstance(self._fn, SealedFunction):
            return
        self.state.restore(ignored=True)
        again: Reached = reach(self._fn, self._shape)
        for label, reason in again.named.items():
            if label not in self._known:
                self._report(label, f"{reason}, since it ran")
        for binding in again.tables:
            if binding.label not in self._known:
                self._report(binding.label, "a table that is there since it ran")


def _is_calendar(frame: pl.DataFrame) -> bool:
    """Days, and whole numbers that only count them: known in advance, so nothing to cut."""
    days = [c for c, t in frame.schema.items() if t.is_temporal()]
    others = [c for c in frame.columns if c not in days]
    if not days or not all(frame.schema[c].is_integer() for c in others):
        return False
    ordered = frame.sort(days[0])
    return all(_counts(ordered[days[0]], ordered[c].cast(pl.Int64)) for c in others)


def _counts(day: pl.Series, numbers: pl.Series) -> bool:
    """Return whether numbers are those of the rows, a part of their day, or count its weeks, months or years."""
    ranks = [pl.Series(range(len(day)))]
    ranks += [day.dt.truncate(every).rank("dense").cast(pl.Int64) for every in ("1w", "1mo", "1q", "1y")]
    parts = ("weekday", "day", "month", "quarter", "year", "week", "ordinal_day", "iso_year")
    same = [getattr(day.dt, part)().cast(pl.Int64) for part in parts]
    start = numbers[0] if len(numbers) else None
    return any((numbers - start == rank - rank[0]).all() for rank in ranks if start is not None) or any(
        (numbers == part).all() for part in same
    )
