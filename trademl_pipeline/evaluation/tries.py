"""Counting looks at outcomes: how often the same rows were judged, and by how many different sets of predictions.

A look is one set of predictions whose outcomes were looked at. Two looks are the same where they agree row by row, or
where one goes on from where the other ends: predictions that are followed month after month are one set. Another set is
whatever differs in one value, by its seed, its settings or its training, and every other choice among the same rows.
Only looks that share a row with what is judged count, by the rows themselves and not by a hash of all of them.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from polars import selectors as cs

REPORT, ESTIMATOR, CHAMPION, CROSS_VALIDATION = "report", "estimator", "champion", "cross-validation"
_KEY = ("symbol", "session")


@dataclass(frozen=True)
class SessionRows:
    """The rows of one session in a look: the hash of their keys and values, and their symbols."""

    digest: str
    symbols: frozenset[str]


@dataclass(frozen=True)
class Look:
    """One set of predictions whose outcomes were looked at.

    Attributes:
        study: that looked.
        purpose: REPORT, ESTIMATOR, CHAMPION or CROSS_VALIDATION.
        model: whose predictions they are, in words.
        rows: session -> its rows.
        settings: by which the predictions were judged, where others give other figures, as text.
        within: digest of the report's look that this one was part of; empty where it stands for itself.
        runs: tracker's runs of the models that predicted.
        setup: with what the models were trained, in words.
    """

    study: str
    purpose: str
    model: str
    rows: Mapping[date, SessionRows]
    settings: str = ""
    within: str = ""
    runs: frozenset[str] = frozenset()
    setup: str = ""

    @cached_property
    def content(self) -> str:
        """Hash of all rows, keys and values, in the order of their sessions."""
        return self.prefixes[-1] if self.prefixes else ""

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """The `content` of the look up to each of its sessions."""
        contents: list[str] = []
        before = ""
        for session in sorted(self.rows):
            before = _text_digest(f"{before} {session.isoformat()} {self.rows[session].digest}")
            contents.append(before)
        return tuple(contents)

    @cached_property
    def digest(self) -> str:
        """Hash of rows and settings: equal for the same look."""
        return _text_digest(f"{self.content} {self.settings}")

    def shares_rows(self, other: "Look") -> bool:
        """Return whether a symbol's session is in both looks."""
        fewer, more = sorted((self.rows, other.rows), key=len)
        return any(
            session in more and not one.symbols.isdisjoint(more[session].symbols)
            for session, one in fewer.items()
        )


@dataclass(frozen=True)
class Tries:
    """How often outcomes were looked at.

    Attributes:
        tries: different looks that stand for themselves: those of reports, and of champions and cross-validations by
            models that are not the judged ones.
        scored: different sets of predictions that were scored in all looks, estimators and benchmark models included.
        alternatives: sets among which the judged one may have been chosen: itself, and those of other looks.
        searched: configurations that searches tried on inner rows of training sets, which are no test rows.
        complete: all looks are on record; False: there were others, of which nobody knows.
        missing: why they may be missing, in words.
    """

    tries: int
    scored: int
    alternatives: int
    searched: int = 0
    complete: bool = True
    missing: str = ""

    @property
    def trials(self) -> int:
        """Configurations for which the Sharpe ratio is deflated."""
        return self.scored + self.searched

    def to_plain(self) -> dict[str, int | bool | str]:
        """The counts as plain data, with the number of trials that they make."""
        return {**asdict(self), "trials": self.trials}


def count(scored_sets: Iterable[Look], evaluated: Look | None = None) -> Tries:
    """Count the different looks among some, of which all share rows with what is judged.

    Args:
        scored_sets: that are on record, and that of the judged predictions with what was looked at beside it.
        evaluated: the look that a verdict is about, one of them; None: only to count.
    """
    everyone = list(scored_sets)
    roots = _roots(everyone)
    groups: dict[tuple[str, str], list[Look]] = {}
    for look in everyone:
        groups.setdefault(roots[_key(look)], []).append(look)
    by_digest = {look.digest: roots[_key(look)] for look in everyone}
    root = None if evaluated is None else roots[_key(evaluated)]
    evaluated_runs: frozenset[str] = evaluated.runs if evaluated is not None else frozenset()

    def is_part(look: Look) -> bool:
        """True for the judged look, what it shows beside it, and what its own models were asked for elsewhere."""
        if look.purpose == REPORT:
            return roots[_key(look)] == root
        if look.purpose == ESTIMATOR:
            return root is not None and by_digest.get(look.within) == root
        return bool(look.runs) and look.runs <= evaluated_runs

    def is_other(name: tuple[str, str], scored_sets: list[Look]) -> bool:
        """True for what the judged look may have been chosen from; a report of its own is, whoever shows it again."""
        return name != root and (
            any(x.purpose == REPORT for x in scored_sets) or not any(map(is_part, scored_sets))
        )

    others = {name for name, scored_sets in groups.items() if is_other(name, scored_sets)}
    independent = [
        name
        for name, scored_sets in groups.items()
        if any(look.purpose == REPORT for look in scored_sets)
        or (name in others and any(look.purpose != ESTIMATOR for look in scored_sets))
    ]
    return Tries(len(independent), len(groups), len(others) + (evaluated is not None))


def on_the_rows_of(scored_sets: Iterable[Look], evaluated: Look) -> list[Look]:
    """Return the looks that share a row with another."""
    return [look for look in scored_sets if look.shares_rows(evaluated)]


def _roots(scored_sets: Sequence[Look]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return, for each look's settings and content, those of the look that goes on from it the furthest."""
    prefixes: dict[str, list[tuple[str, str]]] = {}
    length: dict[tuple[str, str], int] = {}
    for look in {_key(look): look for look in scored_sets}.values():
        length[_key(look)] = len(look.rows)
        for content in look.prefixes:
            prefixes.setdefault(content, []).append(_key(look))
    roots: dict[tuple[str, str], tuple[str, str]] = {}
    for key in length:
        settings, content = key
        # What is shown beside a report has no settings, and is no other set where it is just the report's.
        same = [k for k in prefixes.get(content, [key]) if not settings or k[0] == settings]
        roots[key] = max(same, key=lambda k: (length[k], bool(k[0]), k))
    return roots


def _key(look: Look) -> tuple[str, str]:
    return look.settings, look.content


def session_rows(frame: pl.DataFrame) -> dict[date, SessionRows]:
    """Return the rows of predictions by session; the order of rows and columns is nothing.

    Args:
        frame: symbol, session, and whatever makes these predictions differ from others; numbers, texts and dates.
    """
    names = sorted(frame.columns)
    # One value for all NaN, and one for both zeros.
    frame = frame.select(names).with_columns(
        pl.when(pl.col(c) != 0).then(pl.col(c).fill_nan(float("nan"))).otherwise(pl.col(c).abs())
        for c in names
        if frame.schema[c].is_float()
    )
    frame = frame.sort("session", "symbol", *(c for c in names if c not in _KEY))
    header = " ".join(f"{c}:{frame.schema[c]}" for c in names)
    missing = frame.select(pl.all().is_null()).to_numpy()
    numbers = frame.select(
        (cs.numeric() | cs.temporal()).to_physical().fill_null(0), cs.boolean().cast(pl.UInt8).fill_null(0)
    )
    arrays = [np.ascontiguousarray(numbers[c].to_numpy()) for c in numbers.columns]
    texts = [frame[c].fill_null("").to_list() for c in names if c not in numbers.columns]
    symbols: list[str] = frame["symbol"].to_list()
    days = frame["session"].rle().struct.unnest()
    rows: dict[date, SessionRows] = {}
    start = 0
    for length, session in days.iter_rows():
        part = slice(start, start + length)
        digest = hashlib.blake2b(f"{header} {length}".encode(), digest_size=8)
        digest.update(np.ascontiguousarray(missing[part]).tobytes())
        for array in arrays:
            digest.update(array[part].tobytes())
        for text in texts:
            digest.update(json.dumps(text[part]).encode())
        rows[session] = SessionRows(digest.hexdigest(), frozenset(symbols[part]))
        start += length
    return rows


def packed(rows: Mapping[date, SessionRows]) -> str:
    """Return the rows of a month as a short text: each symbol's session, and a hash of the values of each session."""
    symbols = sorted({symbol for one in rows.values() for symbol in one.symbols})
    place = {symbol: 1 << number for number, symbol in enumerate(symbols)}
    sessions = {
        session.isoformat(): [one.digest, f"{sum(place[symbol] for symbol in one.symbols):x}"]
        for session, one in sorted(rows.items())
    }
    text = json.dumps({"symbols": symbols, "sessions": sessions}, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> dict[date, SessionRows]:
    """Return the rows of which `packed` made a text."""
    plain = json.loads(zlib.decompress(base64.b64decode(text)))
    symbols: list[str] = plain["symbols"]
    known: dict[str, frozenset[str]] = {}
    rows: dict[date, SessionRows] = {}
    for session, (digest, bits) in plain["sessions"].items():
        if bits not in known:
            number = int(bits, 16)
            known[bits] = frozenset(s for place, s in enumerate(symbols) if number >> place & 1)
        rows[date.fromisoformat(session)] = SessionRows(digest, known[bits])
    return rows


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
