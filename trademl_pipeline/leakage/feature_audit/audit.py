"""Does a feature know the future? Four probes of one function from bars to features.

The property tested: **the value at (symbol, session) is a function of what was known at that session.**

- truncation: everything later than a cut-off is deleted, rows and keys, in all sources. What was computed for
  the cut-off and before must come out the same. Finds whatever the published values did take from the future,
  key-derived knowledge (how long a symbol will trade, who survives) included.
- perturbation: later values are replaced by synthetic ones, keys stay. Finds peeks that the real future did not
  happen to trigger, such as a filter on crashes.
- adjustment: all history is restated for a synthetic later split. Features that move know price levels, and
  today's price level of an adjusted history knows every later split.
- incremental: each month is computed alone from its declared warm-up. Finds undeclared look-back and state
  that is carried from one call to the next.

What it deliberately does not catch: knowledge that is already in a value of the bars at its own session (a
column of later restated prices, a constant fitted on the whole sample before the extractor was built), files
and databases that the extractor opens itself, and an unrealized peek that no synthetic future triggers.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.compare import Tolerance
from trademl_pipeline.leakage.feature_audit.extractor import Extractor
from trademl_pipeline.leakage.feature_audit.input_sensitivity import input_sensitivity_or_reason
from trademl_pipeline.leakage.feature_audit.probes import FeatureAudit, Progress
from trademl_pipeline.leakage.feature_audit.views import Panel, session_window
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.leakage.tables import check_bars

PROBES = ("truncation", "perturbation", "adjustment", "incremental")


def audit_features(
    extract: Callable[..., pl.DataFrame],
    bars: pl.DataFrame,
    *,
    sources: Mapping[str, pl.DataFrame] | None = None,
    probes: Sequence[str] = PROBES,
    cutoffs: str | int | Sequence[date] = "all",
    warmup: int | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    seed: int = 0,
    sessions: Sequence[date] | None = None,
    published: pl.DataFrame | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit a function from bars to features for knowledge of the future.

    Args:
        extract: takes bars and returns features, `pl.DataFrame -> pl.DataFrame`, both with `symbol` and
            `session`; the output's rows are rows of the bars (it may drop some), its other columns numeric,
            boolean or dates. With `sources` it is called `extract(bars, **sources)` if it takes their names
            as keywords, otherwise `extract(bars, sources)` with a dict. Frames that it holds itself (closure,
            global, attribute, partial) are found and cut with the bars. It is called many times, on short
            panels too; it may raise on a panel so short that it publishes nothing but missing values for its
            sessions, and on no other.
        bars: one row per (symbol, session), sorted or not. Prices named open, high, low, close, vwap, adj_*
            and `volume` are restated by the adjustment probe; `knowledge_time` and `event_time` (UTC) are
            respected: a bar known later than usual is not there until then. Further columns travel along.
        sources: further frames by name. A row is visible once its `session` (or `date`, `event_time`, …) is
            reached and its `knowledge_time`, if any, has passed. In frames of membership intervals (`start_date`,
            `end_date`) an end that lies ahead is unknown. Frames without any time cannot be cut and are named
            in the coverage.
        probes: any of "truncation", "perturbation", "adjustment", "incremental".
        cutoffs: "all": every session. An int: that many sessions drawn with `seed`, spread over the window. A
            list of dates: these.
        warmup: sessions of history that a value needs, as the extractor declares it. Needed by the
            incremental probe, which is otherwise reported as not run; makes exhaustive cut-offs cheaper.
        rtol, atol: a cell moved if |a - b| > rtol * max(|a|, |b|) + atol * (median magnitude of the column).
            The adjustment and incremental probes, whose computations differ in rounding or start, use at
            least 1e-4 and 4e-6 of the feature's size.
        seed: of every draw.
        sessions: first and last session to audit, both inclusive (longer sequences give their first and
            last); None: all. Bars before serve as history, so that a partition can be audited with its
            warm-up. Then every session means every row: symbols do not take turns, as they do on large panels
            (see `sweep`), so that one peek of one symbol on one day is seen.
        published: the extractor's rows as a store holds them, or is about to. They are compared with the output on
            all bars, which adds the probe "incremental" as `audit_published` does, and takes the place of the
            second call that shows that the extractor agrees with itself: a publish that audits what it wrote gives
            this instead of computing the month once more.
        progress: called with the probe, the number of cut-offs (months, splits) done and that of all, as the
            audit goes on.

    Returns:
        The report. `report.assert_clean()` raises with the violations; the coverage tells what was tested.

    Raises:
        AuditInputError: bars, sources or settings are wrong.
        ExtractorError: the extractor raised, on whichever view.
        ExtractorOutputError: it returned no frame, no rows, foreign or duplicate rows, or columns of other
            types.
        NonDeterministicExtractorError: two calls on the same bars differ.
        OutsideDataError: the output does not come from the bars and sources, see `input sensitivity`.
    """
    probes = _checked_probes(probes, warmup)
    panel = Panel(check_bars(bars), sources)
    extractor = Extractor(extract, panel)
    window = session_window(panel, _span(sessions, panel))
    chosen, exhaustive = _cutoffs(panel, window, cutoffs, seed)
    try:
        base, same = extractor.base(panel, rtol, atol, published)
        tolerance = Tolerance.of(base, rtol, atol)
        input_sensitivity = input_sensitivity_or_reason(extractor, panel, base, window, tolerance, seed)
        audit = FeatureAudit(
            panel, extractor, base, window, chosen, exhaustive, warmup, rtol, atol, seed, progress
        )
        audit.input_sensitivity = input_sensitivity
        audit.take_turns = sessions is None
        run = {
            "truncation": audit.truncation,
            "perturbation": audit.perturbation,
            "adjustment": audit.adjustment,
            "incremental": audit.incremental,
        }
        return sum((run[p]() for p in probes), AuditReport()) + same
    finally:
        extractor.close()


def _checked_probes(probes: Sequence[str], warmup: object) -> list[str]:
    names = [probes] if isinstance(probes, str) else list(dict.fromkeys(probes))
    unknown = [p for p in names if p not in PROBES]
    if unknown or not names:
        raise AuditInputError(f"unknown probes {unknown}; choose from {', '.join(PROBES)}")
    if warmup is not None and (isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0):
        raise AuditInputError(f"warmup is {warmup!r}; it must be a number of sessions, 0 or more")
    if names == ["incremental"] and warmup is None:
        raise AuditInputError("the incremental probe needs the declared warm-up: give warmup=")
    return names


def _span(sessions: Sequence[Any] | None, panel: Panel) -> tuple[Any, Any] | None:
    if sessions is None:
        return None
    days = list(sessions)
    if len(days) < 2 or not all(isinstance(d, date) for d in days):
        raise AuditInputError(
            f"sessions is {sessions!r}; give the first and the last session to audit, both as dates"
        )
    return _like(min(days), panel, time.min), _like(max(days), panel, time.max)


def _like(day: date, panel: Panel, at: time) -> date:
    """A date as the panel's session type; for datetime sessions the start or the end of that day."""
    if isinstance(panel.axis.dtype, pl.Datetime) and not isinstance(day, datetime):
        zone = panel.axis.sessions[0].tzinfo
        return datetime.combine(day, at, zone)
    if panel.axis.dtype == pl.Date and isinstance(day, datetime):
        return day.date()
    return day


def _cutoffs(
    panel: Panel, window: tuple[int, int], cutoffs: str | int | Sequence[date], seed: int
) -> tuple[list[int], bool]:
    """Session indices of the cut-offs, ascending, and whether they are all there are."""
    first, last = window[0], min(window[1], panel.last - 1)
    if last < first:
        raise AuditInputError(
            f"no session lies after {panel.axis.sessions[window[0]]}, so nothing can be deleted; give more "
            "bars"
        )
    if isinstance(cutoffs, str):
        if cutoffs != "all":
            raise AuditInputError(
                f'cutoffs is {cutoffs!r}; give "all", a number of sessions, or a list of dates'
            )
        return list(range(first, last + 1)), True
    if isinstance(cutoffs, int):
        if isinstance(cutoffs, bool) or cutoffs < 1:
            raise AuditInputError(f"cutoffs is {cutoffs!r}; it must be at least 1")
        count = last - first + 1
        if cutoffs >= count:
            return list(range(first, last + 1)), True
        edges = [int(e) for e in np.linspace(first, last + 1, cutoffs + 1)]
        # The first is drawn from the first week: what is filled backwards shows near the beginning only.
        ends = [min(edges[1], first + 5), *edges[2:]]
        rng = np.random.default_rng([seed, 0])
        return [int(rng.integers(a, b)) for a, b in zip(edges[:-1], ends, strict=True)], False
    return _listed(panel, first, last, cutoffs), False


def _listed(panel: Panel, first: int, last: int, cutoffs: Sequence[Any]) -> list[int]:
    days = panel.axis.sessions
    chosen: set[int] = set()
    for day in cutoffs:
        if not isinstance(day, date):
            raise AuditInputError(f"cut-off {day!r} is {type(day).__name__}; give dates")
        at = bisect_right(days, _like(day, panel, time.max)) - 1
        if not first <= at <= last:
            raise AuditInputError(
                f"cut-off {day} is not between {days[first]} and {days[last]}, the audited sessions with a "
                "later one"
            )
        chosen.add(at)
    if not chosen:
        raise AuditInputError("cutoffs is an empty list; nothing would be tested")
    return sorted(chosen)
