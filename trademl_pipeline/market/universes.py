"""Universes: named lists of symbols and, where membership changes, who belonged to them when.

A universe is a table of membership intervals: symbol, start_date and end_date. A symbol belongs to it on every day from
start_date on and before end_date (null: it still belongs). A name that left stays in the table, so the past is
seen with its dead. What a caller may know depends on the day it asks as of: ends that lie ahead are hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from trademl_pipeline.market import symbols as lists
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, FIRST_DAY
from trademl_pipeline.market.errors import UniverseError

MEMBERSHIP_INTERVALS = pl.Schema({"symbol": pl.String, "start_date": pl.Date, "end_date": pl.Date})


@dataclass(frozen=True)
class _Named:
    """A built-in universe: its symbols (None where they come from a file or the source) and its calendar."""

    symbols: tuple[str, ...] | None
    what: str
    calendar: str = DEFAULT_CALENDAR


_NAMED = {
    "TEST": _Named(lists.TEST, "3 names for a quick trial"),
    "TIER_1": _Named(lists.TIER_1, "50 large caps"),
    "MAG7": _Named(lists.MAG7, "the seven largest technology names"),
    "PATTERN_34": _Named(
        lists.PATTERN_34, "31 technology names and 3 funds, of the pattern confidence design"
    ),
    "CRYPTO_8": _Named(lists.CRYPTO_8, "8 pairs against USDT, traded around the clock", "24/7"),
    "REFERENCES": _Named(lists.REFERENCES, "index and sector funds, VIX and VIX3M"),
    "SP500": _Named(None, "the S&P 500 point in time, from membership intervals"),
    "ALL": _Named(None, "everything that the source has"),
}


def universe_names() -> dict[str, str]:
    """The built-in universes and what they are."""
    return {name: named.what for name, named in _NAMED.items()}


def universe_calendar(name: str) -> str:
    """Calendar that a universe trades on: "24/7" for CRYPTO_8, XNYS for all others and for lists."""
    named = _NAMED.get(name)
    return named.calendar if named else DEFAULT_CALENDAR


def universe(
    name: str,
    *,
    as_of: date | None = None,
    membership: str | Path | None = None,
    known: Sequence[str] | None = None,
) -> list[str]:
    """The symbols of a universe.

    Args:
        name: one of `universe_names()`; or a list of symbols and universes, "AAPL,MSFT", "TIER_1,REFERENCES" (one
            symbol: "AAPL,"); or a file of symbols, one a line, or a CSV with `symbol` and optionally `start_date`
            and `end_date`.
        as_of: who belonged to it on that day. None: everyone who ever did, those that left included, which is
            what one fetches, and never what one trades.
        membership: CSV of the membership intervals of SP500; no other universe needs it.
        known: the source's symbols, needed by ALL.

    Returns:
        Symbols without repetition: the fixed lists in their own order, others sorted.

    Raises:
        UniverseError: there is no such universe, its file is missing or wrong, or no one belonged to it then.
    """
    membership_intervals = _membership_intervals(name, membership, known)
    if as_of is not None:
        end = pl.col("end_date")
        belongs = (pl.col("start_date") <= as_of) & (end.is_null() | (end > as_of))
        if membership_intervals.filter(belongs).is_empty():
            raise UniverseError(
                f"universe {name} has no member on {as_of}: it begins on {membership_intervals['start_date'].min()}"
                + (
                    ""
                    if membership_intervals["end_date"].has_nulls()
                    else f" and ends with {membership_intervals['end_date'].max()}"
                )
            )
        membership_intervals = membership_intervals.filter(belongs)
    return membership_intervals["symbol"].unique(maintain_order=True).to_list()


def members(
    name: str,
    start: date,
    end: date,
    *,
    membership: str | Path | None = None,
    known: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The membership intervals of a universe that touch [start, end], as known on `end`.

    Args:
        name, membership, known: as in `universe`.
        start, end: days, both inclusive.

    Returns:
        symbol, start_date, end_date (Date; the first day on which it no longer belonged, null if it did on
        `end`), sorted. Ends after `end` are hidden, starts after it left out: nothing here knows what came later.

    Raises:
        UniverseError: as in `universe`, or `end` lies before `start`.
    """
    if end < start:
        raise UniverseError(f"members of {name} from {start} to {end}: the range runs backwards")
    ends = pl.col("end_date")
    return (
        _membership_intervals(name, membership, known)
        .filter((pl.col("start_date") <= end) & (ends.is_null() | (ends > start)))
        .with_columns(pl.when(ends <= end).then(ends).alias("end_date"))
        .sort("symbol", "start_date")
    )


def members_on(membership_intervals: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """symbol, session: who belonged to a universe on each of some days, sorted by session and symbol."""
    sessions = pl.DataFrame({"session": sorted(set(days))}, schema={"session": pl.Date})
    end, day = pl.col("end_date"), pl.col("session")
    return (
        sessions.join_where(membership_intervals, day >= pl.col("start_date"), end.is_null() | (day < end))
        .select("symbol", "session")
        .unique()
        .sort("session", "symbol")
    )


def members_with_bars(
    membership_intervals: pl.DataFrame | None, bars: pl.DataFrame, name: str = "the universe"
) -> pl.DataFrame:
    """symbol, session: the bars' keys whose symbol belonged to the universe on that session, sorted.

    Args:
        membership_intervals: who belonged when; None: everyone, always.
        bars: symbol, session.
        name: of the universe, for the error.

    Raises:
        UniverseError: no one belonged to it who has a bar.
    """
    keys = bars.select("symbol", "session")
    if membership_intervals is not None:
        keys = keys.join(
            members_on(membership_intervals, bars["session"].unique().to_list()),
            on=["symbol", "session"],
            how="semi",
        )
    if keys.is_empty():
        raise UniverseError(
            f"no member of {name} has a bar between {bars['session'].min()} and {bars['session'].max()}: the bars' "
            f"symbols are {', '.join(bars['symbol'].unique().sort().head(5))}, ..."
        )
    return keys.sort("symbol", "session")


def _membership_intervals(
    name: str, membership: str | Path | None, known: Sequence[str] | None
) -> pl.DataFrame:
    named = _NAMED.get(name)
    if named is not None and named.symbols is not None:
        return _always(named.symbols)
    if name == "SP500":
        return _membership(membership)
    if name == "ALL":
        if known is None:
            raise UniverseError("universe ALL is everything that a source has; pass known=source.symbols()")
        return _always(sorted(known))
    if "," in name:
        parts = [part for part in (s.strip() for s in name.split(",")) if part]
        if not parts:
            raise UniverseError(f"{name!r} lists no symbol")
        return pl.concat(
            _membership_intervals(part, membership, known) if part in _NAMED else _always([part])
            for part in parts
        ).unique(maintain_order=True)
    path = Path(name)
    if path.is_file():
        return _read(path)
    if path.suffix or path.parent != Path():
        raise UniverseError(f"there is no file {path} to read a universe from")
    near = get_close_matches(name.upper(), _NAMED, n=1)
    raise UniverseError(
        f"there is no universe {name!r}{f'; did you mean {near[0]}?' if near else ''} Known: {', '.join(_NAMED)}. "
        f"Or give symbols separated by commas (for one: '{name},'), or a file with one symbol a line"
    )


def _always(symbols: Sequence[str]) -> pl.DataFrame:
    """Symbols that belong from their first trading day on."""
    starts = [lists.FIRST_TRADED.get(s, FIRST_DAY) for s in symbols]
    return pl.DataFrame(
        {"symbol": list(symbols), "start_date": starts, "end_date": [None] * len(starts)},
        schema=MEMBERSHIP_INTERVALS,
    )


def _membership(path: str | Path | None) -> pl.DataFrame:
    if not path:
        raise UniverseError(
            "universe SP500 needs the history of its membership: set universe.membership in trademl.yaml, or "
            "TRADEML_UNIVERSE__MEMBERSHIP, to a CSV with the columns symbol, start_date, end_date (empty: still a "
            "member)"
        )
    if not Path(path).is_file():
        raise UniverseError(f"there is no membership file {path}; universe.membership takes a CSV")
    membership_intervals = _read(Path(path))
    if membership_intervals["start_date"].max() == FIRST_DAY:
        raise UniverseError(f"{path} has no start_date: a list without dates is no history of membership")
    return membership_intervals


def _read(path: Path) -> pl.DataFrame:
    """Membership intervals from a CSV with a header that names `symbol`, or from a plain list of symbols."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UniverseError(f"{path} cannot be read as a list of symbols: {error}") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise UniverseError(f"{path} lists no symbol")
    header = [c.strip().strip('"').lower() for c in lines[0].split(",")]
    if "symbol" not in header:
        if any("," in line for line in lines):
            raise UniverseError(
                f"{path}: the first line is {lines[0]!r}; a CSV of a universe begins with a header that names symbol "
                "and, where membership changes, start_date and end_date"
            )
        return _always(list(dict.fromkeys(lines)))
    frame = pl.read_csv("\n".join(lines).encode(), infer_schema=False).rename(
        lambda c: c.strip().strip('"').lower()
    )
    return _dated(frame, path)


def _dated(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    columns = [pl.col("symbol").str.strip_chars()]
    for name in ("start_date", "end_date"):
        if name not in frame.columns:
            columns.append(pl.lit(None, pl.Date).alias(name))
            continue
        text = pl.col(name).str.strip_chars()
        bad = frame.filter((text != "") & text.str.to_date("%Y-%m-%d", strict=False).is_null())
        if bad.height:
            raise UniverseError(f"{path}: {name} holds {bad[name][0]!r}; write dates as YYYY-MM-DD")
        columns.append(text.str.to_date("%Y-%m-%d", strict=False))
    membership_intervals = frame.select(columns).with_columns(pl.col("start_date").fill_null(FIRST_DAY))
    if membership_intervals["symbol"].is_null().any() or (membership_intervals["symbol"] == "").any():
        raise UniverseError(f"{path}: a row has no symbol")
    backwards = membership_intervals.filter(pl.col("end_date") < pl.col("start_date"))
    if backwards.height:
        row = backwards.row(0, named=True)
        raise UniverseError(
            f"{path}: {row['symbol']} leaves on {row['end_date']}, before {row['start_date']}"
        )
    return membership_intervals.sort("symbol", "start_date")
