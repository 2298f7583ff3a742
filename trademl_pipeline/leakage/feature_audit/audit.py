"""Does a feature know the future? Probes of one function from bars to features.

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
- plausibility: no column knows more of the next return than honest features do. A warning, since it shows no leak.

What it deliberately does not catch: knowledge that is already in a value of the bars at its own session (a
column of later restated prices), a few numbers fitted on the whole sample before the extractor was built, which
look like its settings, and an unrealized peek that no synthetic future triggers.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.compare import Tolerance
from trademl_pipeline.leakage.feature_audit.cutoffs import cutoffs_of, events_first, span_of
from trademl_pipeline.leakage.feature_audit.extractor import Extractor
from trademl_pipeline.leakage.feature_audit.input_sensitivity import input_sensitivity_or_reason
from trademl_pipeline.leakage.feature_audit.loading import taking_pandas
from trademl_pipeline.leakage.feature_audit.origins import with_origins
from trademl_pipeline.leakage.feature_audit.probes import FeatureAudit, Progress
from trademl_pipeline.leakage.feature_audit.sealed_function import SealedFunction
from trademl_pipeline.leakage.feature_audit.views import Panel, session_window
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.leakage.tables import check_bars

PROBES = ("truncation", "perturbation", "adjustment", "incremental", "plausibility")


def audit_features(
    extract: Callable[..., pl.DataFrame] | str,
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
    allow: Sequence[str] = (),
    pandas: bool = False,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit a function from bars to features for knowledge of the future.

    Args:
        extract: takes bars and returns features, `pl.DataFrame -> pl.DataFrame`, both with `symbol` and
            `session`; the output's rows are rows of the bars (it may drop some), its other columns numeric,
            boolean or dates. With `sources` it is called `extract(bars, **sources)` if it takes their names
            as keywords, otherwise `extract(bars, sources)` with a dict. Tables that it holds itself (closure,
            global, attribute, partial) are cut with the bars; other data that it holds, such as an array, a dict
            of numbers or a fitted model, is named and then nothing is audited, see `reach`. It may open no file
            and no connection. It is called many times, on short panels too, and on several that lie side by side
            under other names of symbols (see `stacking`); it may raise on a panel so short
            that it publishes nothing but missing values for its sessions, and on no other. Given by its name,
            `file.py:function` or `package.module:function`, each call is made by a fresh process that can read no
            file but code, and has no connection: the kernel sees to that where it has Landlock. Tables that the
            module makes are not cut then, but named.
        bars: one row per (symbol, session), sorted or not. Prices, share volumes and cumulative factors are
            restated by the adjustment probe, whatever they are called (see `roles`); the coverage names the
            numeric columns that are not. `knowledge_time` and `event_time` (UTC) are respected: a bar known later
            than usual is not there until then. So is `decision_time`, of each row by itself; without it symbols
            are decided on at their usual delays (see `clocks`). Further columns travel along.
        sources: further frames by name. A row is visible once its `session` (or `date`, `event_time`, …) is
            reached and its `event_time` and `knowledge_time` (without that its `decision_time`) have passed. In
            frames of membership intervals (`start_date`, `end_date`) an end that lies ahead is unknown. Frames
            without any time cannot be cut, nor those whose only date names a period or belongs to a symbol: with
            one nothing is audited, unless `allow` has its name.
        probes: any of "truncation", "perturbation", "adjustment", "incremental", and "plausibility" beside them, which
            refuses nothing: see `probes.plausibility`.
        cutoffs: "all": every session. An int: that many sessions drawn with `seed`, those of rare events first and
            the others spread over the window. A list of dates: these.
        warmup: sessions of history that a value needs, as the extractor declares it. Needed by the
            incremental probe, which is otherwise reported as not run; makes exhaustive cut-offs cheaper.
        rtol, atol: a cell moved if |a - b| > rtol * max(|a|, |b|) + atol * (median magnitude of the column).
            The adjustment and incremental probes, whose computations differ in rounding or start, use at
            least 1e-4 and 4e-6 of the feature's size.
        seed: of every draw.
        sessions: first and last session to audit, both inclusive (longer sequences give their first and
            last); None: all. Bars before serve as history, so that a partition can be audited with its
            warm-up. Then every session means every row: symbols do not take turns, as they do on large panels
            and with made-up futures (see `sweep`), so that one peek of one symbol on one day is seen.
        published: the extractor's rows as a store holds them, or is about to. They are compared with the output on
            all bars, which adds the probe "incremental" as `audit_published` does, and takes the place of the
            second call that shows that the extractor agrees with itself: a publish that audits what it wrote gives
            this instead of computing the month once more.
        allow: what the caller vouches for, by the name under which the report has it as not audited: data that
            the extractor holds, a source without time, the path of a file that it reads.
        pandas: the function takes and returns pandas frames.
        progress: called with the probe, the number of cut-offs (months, splits) done and that of all, as the
            audit goes on.

    Returns:
        The report. `report.assert_clean()` raises with the violations, and where something could not be audited;
        the coverage tells what was tested.

    Raises:
        AuditInputError: bars, sources or settings are wrong.
        ExtractorError: the extractor raised, on whichever view.
        ExtractorOutputError: it returned no frame, no rows, foreign or duplicate rows, or columns of other
            types.
        NonDeterministicExtractorError: two calls on the same bars differ.
        OutsideDataError: the output does not come from the bars and sources, see `input sensitivity`, or the
            extractor opens a file or a connection.
    """
    probes = _checked_probes(probes, warmup)
    panel = Panel(check_bars(bars), sources)
    with contextlib.ExitStack() as stack:
        if isinstance(extract, str):
            given = stack.enter_context(SealedFunction(extract, panel, allow, pandas=pandas))
        else:
            given = taking_pandas(extract) if pandas else extract
        extractor = Extractor(given, panel, allow)
        window = session_window(panel, span_of(sessions, panel))
        requested = cutoffs_of(panel, window, cutoffs, seed)
        try:
            base, same = extractor.base(panel, rtol, atol, published)
            tolerance = Tolerance.of(base, rtol, atol)
            chosen = events_first(requested, panel, base, window, seed)
            input_sensitivity = input_sensitivity_or_reason(extractor, panel, base, window, tolerance, seed)
            audits = [
                FeatureAudit(part, extractor, base, window, chosen, warmup, rtol, atol, seed, progress)
                for part in panel.by_clock()
            ]
            for audit in audits:
                audit.input_sensitivity = input_sensitivity
                audit.take_turns = sessions is None
            # What needs no cut within a session is asked once, of the last decisions.
            whole_day = audits[0] if len(audits) == 1 else audits[0].on(panel)
            run = {
                "truncation": lambda: _of_clocks(audits, FeatureAudit.truncation),
                "perturbation": lambda: _of_clocks(audits, FeatureAudit.perturbation),
                "adjustment": whole_day.adjustment,
                "incremental": whole_day.incremental,
                "plausibility": whole_day.plausibility,
            }
            report = with_origins(sum((run[p]() for p in probes), AuditReport()), extractor.origin) + same
            extractor.holdings.look_again()
            return report.with_unaudited(_unaudited(extractor, panel, allow))
        finally:
            extractor.close()


def _of_clocks(audits: Sequence[FeatureAudit], probe: Callable[[FeatureAudit], AuditReport]) -> AuditReport:
    """The report of a probe that cuts, of every clock that has rows to compare."""
    return sum((probe(audit) for audit in audits if len(audit.cells)), AuditReport())


def _unaudited(extractor: Extractor, panel: Panel, allow: Sequence[str]) -> list[str]:
    """Data of the extractor that nothing could cut, each with the reason."""
    inside = [f"{label}: {reason}" for label, reason in extractor.holdings.unaudited.items()]
    static = [f"{name}: {reason}" for name, reason in panel.static.items() if name not in allow]
    return inside + static


def _checked_probes(probes: Sequence[str], warmup: object) -> list[str]:
    names = [probes] if isinstance(probes, str) else list(dict.fromkeys(probes))
    unknown = [p for p in names if p not in PROBES]
    if unknown or not names:
        raise AuditInputError(f"unknown probes {unknown}; choose from {', '.join(PROBES)}")
    if warmup is not None and (isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0):
        raise AuditInputError(f"warmup is {warmup!r}; it must be a number of sessions, 0 or more")
    if names == ["plausibility"]:
        raise AuditInputError("the plausibility probe refuses nothing by itself: name another probe with it")
    if set(names) <= {"incremental", "plausibility"} and warmup is None:
        raise AuditInputError("the incremental probe needs the declared warm-up: give warmup=")
    return names
