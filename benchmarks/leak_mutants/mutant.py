"""What a mutant is, and the panel that most of them run on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl

from trademl_pipeline.leakage import AuditReport, audit_features
from trademl_pipeline.market.calendar import close_utc, sessions

Extract = Callable[..., pl.DataFrame]


@dataclass(frozen=True)
class Mutant:
    """A leaky copy of a pipeline part, and its clean twin.

    Attributes:
        name: stage/what, unique.
        title: what leaks, in one line.
        origin: the public project, issue or paper that had it, as a link, with what is said there.
        kills: probes of which at least one must refuse the leaky copy; "error" where an exception refuses it.
        audit: true for the leaky copy, false for the twin; returns the report, or raises.
        extract: leaky and clean extractor, for auditors that take nothing else; None where there is none.
        bars, sources: what the extractors take.
        split: leaky or clean training and test rows, for auditors that look at nothing else; None where there are none.
        survives: why no probe refuses it, where that is known; "" for all that have to be killed.
    """

    name: str
    title: str
    origin: str
    kills: frozenset[str]
    audit: Callable[[bool], AuditReport]
    extract: tuple[Extract, Extract] | None = None
    bars: Callable[[], pl.DataFrame] | None = None
    sources: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    split: Callable[[bool], tuple[pl.DataFrame, pl.DataFrame]] | None = None
    survives: str = ""

    @property
    def stage(self) -> str:
        return self.name.split("/")[0]


START = date(2019, 1, 2)
N_SESSIONS = 72
DAYS = sessions(START, date(2019, 12, 31))[:N_SESSIONS]

CLOSE, OPEN, HIGH, LOW, VOLUME = (pl.col(c) for c in ("close", "open", "high", "low", "volume"))
RETURN = CLOSE / CLOSE.shift(1) - 1


@cache
def panel(n_symbols: int = 8, n_sessions: int = N_SESSIONS, seed: int = 5) -> pl.DataFrame:
    """Split-adjusted random walks with clocks; S2 and S5 stop trading early, S3 starts late."""
    rng = np.random.default_rng(seed)
    days = pl.Series("session", DAYS[:n_sessions])
    closes = close_utc(days)
    parts = []
    for i in range(n_symbols):
        close = rng.uniform(20, 80) * np.exp(np.cumsum(rng.normal(0, 0.02, n_sessions)))
        opening = close * np.exp(rng.normal(0, 0.006, n_sessions))
        part = pl.DataFrame(
            {
                "symbol": f"S{i}",
                "session": days,
                "open": opening,
                "high": np.maximum(opening, close) * (1 + rng.uniform(0, 0.01, n_sessions)),
                "low": np.minimum(opening, close) * (1 - rng.uniform(0, 0.01, n_sessions)),
                "close": close,
                "volume": np.exp(rng.normal(12, 0.5, n_sessions)),
                "event_time": closes,
                "knowledge_time": closes + timedelta(minutes=15),
            }
        )
        cut = {2: slice(0, n_sessions - 22), 5: slice(0, n_sessions - 9), 3: slice(17, n_sessions)}
        parts.append(part[cut.get(i, slice(None))])
    return pl.concat(parts)


def columns(*expressions: pl.Expr, sort: bool = True) -> Extract:
    """An extractor of expressions within each symbol, named x0, x1, …"""
    named = [e.over("symbol").alias(f"x{i}") for i, e in enumerate(expressions)]

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        ordered = bars.sort("symbol", "session") if sort else bars
        return ordered.select("symbol", "session", *named)

    return extract


def per_symbol(fn: Callable[[pl.DataFrame], np.ndarray]) -> Extract:
    """An extractor of one column from a function of each symbol's bars in order."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        parts = [
            part.select("symbol", "session", x=pl.Series(fn(part), dtype=pl.Float64))
            for part in bars.sort("symbol", "session").partition_by("symbol", maintain_order=True)
        ]
        return pl.concat(parts)

    return extract


def trailing(fn: Callable[[np.ndarray], np.ndarray], length: int, column: str = "close") -> Extract:
    """The clean form of a whole-series transform: its last value on each trailing window."""

    def last(bars: pl.DataFrame) -> np.ndarray:
        x = bars[column].to_numpy()
        out = np.full(len(x), np.nan)
        for t in range(length - 1, len(x)):
            out[t] = fn(x[t - length + 1 : t + 1])[-1]
        return out

    return per_symbol(last)


def over_all(fn: Callable[[np.ndarray], np.ndarray], column: str = "close") -> Extract:
    """The leaky form: the transform of the whole series at once."""
    return per_symbol(lambda bars: fn(bars[column].to_numpy()))


def feature_mutant(
    name: str,
    title: str,
    origin: str,
    leaky: Extract,
    clean: Extract,
    kills: str,
    *,
    bars: Callable[[], pl.DataFrame] = panel,
    sources: Mapping[str, pl.DataFrame] | None = None,
    warmup: int | None = None,
    survives: str = "",
) -> Mutant:
    """A mutant of a function from bars to features, audited with all probes of `audit_features`."""

    def audit(is_leaky: bool) -> AuditReport:
        return audit_features(leaky if is_leaky else clean, bars(), sources=sources, warmup=warmup)

    expected = frozenset(kills.split())
    return Mutant(
        name, title, origin, expected, audit, (leaky, clean), bars, sources or {}, survives=survives
    )
