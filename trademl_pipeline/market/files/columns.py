"""Reading a table of bars whose columns have other names and types than ours.

Names are recognised without regard to case, spaces, dashes and underscores. What cannot be read in a row
(text in a price, a date that is none) becomes null and is told in the row's `defect`, so that the row can
be quarantined.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from trademl_pipeline.market.calendar import FIRST_DAY, LAST_DAY, time_zone
from trademl_pipeline.market.errors import BarsSchemaError, MissingColumnsError, SourceFileError
from trademl_pipeline.market.schema import DEFECT, PRICE_COLUMNS

REQUIRED = ("symbol", "session", *PRICE_COLUMNS, "volume")
OPTIONAL = ("split_factor", "dividend", "adjusted", "source")
_ALIASES = {
    "symbol": ("ticker", "sym", "instrument", "code", "act_symbol"),
    "session": ("date", "day", "trade_date", "timestamp", "datetime", "time"),
    "open": ("open_price", "o"),
    "high": ("high_price", "h"),
    "low": ("low_price", "l"),
    "close": ("close_price", "c", "last"),
    "volume": ("vol", "v"),
    "split_factor": ("split", "splits", "stock_splits", "split_ratio"),
    "dividend": ("dividends", "div", "cash_dividend"),
    "adjusted": (),
    "source": (),
}
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y")
_STAMP_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M")
_ZONED_STAMP_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")


@dataclass(frozen=True)
class Layout:
    """Which column of a table holds which of ours: `names` maps ours to theirs; `dtypes` are theirs."""

    names: Mapping[str, str]
    dtypes: Mapping[str, pl.DataType]


def recognise(schema: Mapping[str, pl.DataType], mapping: Mapping[str, str], where: str) -> Layout:
    """Find our columns among a table's.

    Args:
        schema: the table's columns.
        mapping: ours -> theirs, which goes before recognition.
        where: what to call the table in an error.

    Raises:
        SourceFileError: `mapping` names something that is no column of ours.
        MissingColumnsError: a needed column is not there, or the table lacks one that `mapping` names.
    """
    known = (*REQUIRED, *OPTIONAL)
    strange = [ours for ours in mapping if ours not in known]
    if strange:
        raise SourceFileError(f"{', '.join(strange)}: no column of bars; one can map {', '.join(known)}")
    plain = {}
    for theirs in schema:
        plain.setdefault(_plain(theirs), theirs)
    names = {}
    for ours in known:
        if ours in mapping:
            if mapping[ours] not in schema:
                raise MissingColumnsError(f"{where}, asked for {mapping[ours]!r},", [ours], list(schema))
            names[ours] = mapping[ours]
            continue
        column = next(
            (plain[_plain(alias)] for alias in (ours, *_ALIASES[ours]) if _plain(alias) in plain), None
        )
        if column is not None:
            names[ours] = column
    missing = [ours for ours in REQUIRED if ours not in names]
    if missing:
        raise MissingColumnsError(where, missing, list(schema))
    return Layout(names, {ours: schema[theirs] for ours, theirs in names.items()})


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name.strip().lower())


def expressions(layout: Layout, calendar: str, where: str) -> list[pl.Expr]:
    """Our columns out of a table's, with `defect`; those that the table does not have are left out.

    Raises:
        BarsSchemaError: a column has a type in which there can be no such value, such as a list of prices.
    """
    columns, defects = [], []
    for ours, theirs in layout.names.items():
        raw, dtype = pl.col(theirs), layout.dtypes[ours]
        if ours in ("symbol", "source"):
            value = raw.cast(pl.String).str.strip_chars()
            columns.append((pl.when(value != "").then(value) if ours == "symbol" else value).alias(ours))
        elif ours == "session":
            value = session(layout, calendar, where)
            columns.append(value.alias(ours))
            if not dtype.is_temporal():
                defects.append(_unread(raw, dtype, value, "not_a_date", ours))
        elif ours == "adjusted":
            flag = raw.str.strip_chars().str.to_lowercase().is_in(["true", "t", "yes", "1"])
            columns.append((flag if dtype == pl.String else raw.cast(pl.Boolean)).alias(ours))
        else:
            if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
                raise BarsSchemaError(
                    f"{where}: column {theirs!r} is {dtype}, but {ours} takes numbers", ours
                )
            text = raw.str.strip_chars() if dtype == pl.String else raw
            value = text.cast(pl.Float64, strict=False)
            if dtype == pl.String:
                defects.append(_unread(text, dtype, value, "not_a_number", ours))
            if ours == "split_factor":
                # Vendors write 0 where there is no split.
                value = pl.when(value == 0).then(1.0).otherwise(value.fill_null(1.0))
            elif ours == "dividend":
                value = value.fill_null(0.0)
            columns.append(value.alias(ours))
    flag = pl.concat_str(defects, separator="; ", ignore_nulls=True) if defects else pl.lit("")
    return [*columns, pl.when(flag != "").then(flag).otherwise(pl.lit(None, pl.String)).alias(DEFECT)]


def _unread(raw: pl.Expr, dtype: pl.DataType, value: pl.Expr, code: str, ours: str) -> pl.Expr:
    present = raw.is_not_null() & (raw != "" if dtype == pl.String else pl.lit(True))
    return pl.when(present & value.is_null()).then(pl.format(f"{code}: {ours}='{{}}'", raw.cast(pl.String)))


def session(layout: Layout, calendar: str, where: str) -> pl.Expr:
    """The session that a row belongs to, as a Date.

    A date is taken as it is, and so is a time stamp at midnight of its own zone, which is how a date looks
    in many files. Any other time stamp with a zone is the local day at the exchange; without a zone, the
    day it shows. Text may be ISO, 2016/01/04, 20160104, 01/04/2016 (month first), 04.01.2016 or
    04-Jan-2016, with or without a time; a whole number is 20160104, or seconds or milliseconds since 1970.
    """
    raw, dtype = pl.col(layout.names["session"]), layout.dtypes["session"]
    if dtype == pl.Date:
        return raw
    if isinstance(dtype, pl.Datetime):
        return _day(raw, dtype.time_zone, calendar)
    if dtype == pl.String:
        text = raw.str.strip_chars()
        days = [text.str.to_date(form, strict=False, exact=True) for form in _DATE_FORMATS]
        days += [
            text.str.to_datetime(form, strict=False, time_unit="us").dt.date() for form in _STAMP_FORMATS
        ]
        days += [
            _day(text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC"), "UTC", calendar)
            for form in _ZONED_STAMP_FORMATS
        ]
        return pl.coalesce(days)
    if dtype.is_integer():
        number = raw.cast(pl.Int64)
        day = number.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        second = _day(pl.from_epoch(number, time_unit="s").dt.replace_time_zone("UTC"), "UTC", calendar)
        milli = _day(pl.from_epoch(number, time_unit="ms").dt.replace_time_zone("UTC"), "UTC", calendar)
        return (
            pl.when(number < 10**8)
            .then(day)
            .when(number.is_between(10**8, 10**11))
            .then(second)
            .when(number.is_between(10**11, 10**14))
            .then(milli)
        )
    raise BarsSchemaError(
        f"{where}: column {layout.names['session']!r} is {dtype}, but session takes dates", "session"
    )


def _day(stamp: pl.Expr, zone: str | None, calendar: str) -> pl.Expr:
    if zone is None:
        return stamp.dt.date()
    local = stamp.dt.convert_time_zone(time_zone(calendar)).dt.date()
    midnight = stamp.dt.time() == pl.time(0, 0)
    return pl.when(midnight).then(stamp.dt.date()).otherwise(local)


def in_range(layout: Layout, calendar: str, where: str, start: date, end: date) -> pl.Expr:
    """Return the condition that a row's session lies in [start, end].

    Where the raw column is ordered as the sessions are, it is asked too, so that a reader can skip what is
    out of range by the statistics of the file.

    Args:
        layout: which column of the table holds which of ours.
        calendar: exchange calendar that sessions are on, such as "XNYS".
        where: name of the table in an error.
        start, end: days, both inclusive.
    """
    raw, dtype = pl.col(layout.names["session"]), layout.dtypes["session"]
    exact = session(layout, calendar, where).is_between(start, end)
    if not isinstance(dtype, pl.Datetime):
        return exact
    # A local day may begin up to a day before or after the day of its UTC stamp.
    low = datetime(start.year, start.month, start.day) - timedelta(days=1)
    high = datetime(end.year, end.month, end.day) + timedelta(days=2)
    bounds = [pl.lit(x).cast(pl.Datetime(dtype.time_unit)) for x in (low, high)]
    if dtype.time_zone:
        bounds = [x.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone) for x in bounds]
    return raw.is_between(bounds[0], bounds[1]) & exact


def undated(layout: Layout, calendar: str, where: str) -> pl.Expr:
    """Return the condition that a row has no readable date, or one that no calendar of this project reaches."""
    day = session(layout, calendar, where)
    return day.is_null() | ~day.is_between(FIRST_DAY, LAST_DAY)


def stamps(layout: Layout) -> pl.Expr | None:
    """The raw time stamp, where the table has one finer than a day."""
    if isinstance(layout.dtypes["session"], pl.Datetime):
        return pl.col(layout.names["session"])
    return None
