"""Settings or data: a value that an extractor holds is a setting as long as it is small and names no day and no symbol.

Nothing tells a window of 20 sessions from a mean that was taken of all bars, both are one number. What can be told is
a table: more numbers than settings have, numbers by day or by symbol, a list of days or of symbols, a long text.
"""

import enum
import logging
import re
import threading
import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any, NamedTuple, cast
from uuid import UUID

import numpy as np
import polars as pl

from trademl_pipeline.leakage.feature_audit.bindings import PLAIN, codes

# Numbers in one container, or apart from each other in the code of one function, that are still settings.
FEW = 32
FEW_IN_CODE = 96
# Days, and symbols of the panel, that a setting may name.
FEW_NAMES = 2
LONG_TEXT = 4096
LONG_BYTES = 256
# Bits of a whole number that is a number.
NUMBER_BITS = 64
DIGITS = 40
# A number written down has one of these in front.
NUMBER_BEGINS = "+-.0123456789"
MAX_LEAVES = 100_000

_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}([T ].*)?")
_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_FIGURES = re.compile(r"[-+\d\s.,;:|eE\[\](){}]+")


class _Row(NamedTuple):
    field: int


_NUMBERS: tuple[type, ...] = (int, float, complex, timedelta, time, timezone, UUID, range)
# Kinds of objects that hold one value, or none.
SETTINGS: tuple[Any, ...] = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    date,
    time,
    timedelta,
    tzinfo,
    Decimal,
    Fraction,
    enum.Enum,
    re.Pattern,
    range,
    slice,
    UUID,
    PurePath,
    np.generic,
    np.dtype,
    pl.DataType,
    logging.Logger,
    logging.LoggerAdapter,
    type(Ellipsis),
    type(NotImplemented),
    type(threading.Lock()),
    type(threading.RLock()),
    # What a method or a slot of a built-in class is read by: no object's.
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    cast(type[Any], type(vars(_Row)["field"])),
)


@dataclass(frozen=True)
class Shape:
    """The panel that an extractor is audited on, as far as a held value can be compared with it.

    Attributes:
        symbols: of the panel.
        days: of its sessions, ascending.
    """

    symbols: frozenset[str]
    days: tuple[date, ...]

    @property
    def sessions(self) -> int:
        """Number of sessions."""
        return len(self.days)


def data_in(value: Any, shape: Shape, few: int = FEW) -> str | None:
    """Return in words what data a plain value or a built-in container of such carries; None for a setting.

    Args:
        value: text, bytes, a number, a day, or containers of these; other objects in it are passed over.
        shape: of the panel under audit.
        few: numbers that are still settings.
    """
    if type(value) in PLAIN:
        return _large(value, shape)
    if isinstance(value, Mapping):
        keys = list(cast(Mapping[Any, Any], value))
        if any(_plain(v) for v in cast(Mapping[Any, Any], value).values()):
            if sum(_is_symbol(key, shape) for key in keys) > FEW_NAMES:
                return f"values by symbol, of {len(keys)}"
            if sum(_is_day(key) for key in keys) > FEW_NAMES:
                return f"values by day, of {len(keys)}"
    numbers = 0
    written = 0
    days: set[str] = set()
    symbols: set[str] = set()
    for count, leaf in enumerate(_leaves(value)):
        if count >= MAX_LEAVES:
            return f"more than {MAX_LEAVES:,} values"
        if type(leaf) is float:
            numbers += 1
            continue
        reason = _large(leaf, shape)
        if reason is not None:
            return reason
        if isinstance(leaf, bytes):
            written += len(leaf)
            continue
        if _is_day(leaf):
            days.add(str(leaf)[:10])
        elif issubclass(cast(type[Any], type(leaf)), _NUMBERS) or _is_number(leaf):
            numbers += 1
        elif _is_symbol(leaf, shape):
            symbols.add(leaf)
        elif type(leaf) is str and leaf[:1] in NUMBER_BEGINS and _NUMBER.fullmatch(leaf):
            numbers += 1
    if written > 4 * LONG_BYTES:
        return f"{written:,} bytes"
    if numbers > min(few, max(shape.sessions // 2, FEW // 2)):
        return f"{numbers:,} numbers"
    if len(days) > FEW_NAMES and not _is_calendar(days, shape):
        return f"{len(days):,} days"
    if len(symbols) > FEW_NAMES:
        return f"{len(symbols):,} symbols of the panel by name"
    return None


def _is_calendar(days: set[str], shape: Shape) -> bool:
    """Return whether days leave out none of the panel's between their first and last, as days with an event do."""
    if not all(_WRITTEN.fullmatch(day) for day in days):
        return False
    sessions = {str(day)[:10] for day in shape.days}
    first, last = min(days), max(days)
    between = {day for day in sessions if first <= day <= last}
    return bool(between) and between <= days


def _leaves(value: Any) -> Iterator[Any]:
    stack = [value]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        kind = cast(type[Any], type(item))
        if kind in PLAIN or issubclass(kind, str | bytes | bytearray):
            yield item
        elif issubclass(kind, Mapping):
            if id(item) not in seen:
                seen.add(id(item))
                stack.extend(item.values())
                stack.extend(item.keys())
        elif issubclass(kind, list | tuple | set | frozenset | deque):
            if id(item) not in seen:
                seen.add(id(item))
                stack.extend(item)
        elif issubclass(kind, slice):
            stack.extend((item.start, item.stop, item.step))
        elif issubclass(kind, types.GenericAlias):
            stack.append(item.__args__)
        elif issubclass(kind, np.void) and item.dtype.names:
            stack.append(item.item())
        else:
            yield item


def _large(leaf: Any, shape: Shape) -> str | None:
    # By its type: what an object says that it is may be a lie.
    kind = cast(type[Any], type(leaf))
    if issubclass(kind, str):
        if len(leaf) > LONG_TEXT:
            return f"a text of {len(leaf):,} characters"
        # A digit or a sign a session.
        if len(leaf) >= max(shape.sessions // 2, FEW) and (
            _FIGURES.fullmatch(leaf) or len(set(leaf)) <= FEW_NAMES + 1
        ):
            return f"a text of {len(leaf):,} figures"
    elif issubclass(kind, bytes | bytearray):
        return f"{len(leaf):,} bytes" if len(leaf) > LONG_BYTES else None
    elif issubclass(kind, PurePath):
        return _large(str(leaf), shape)
    elif issubclass(kind, re.Pattern):
        return _large(leaf.pattern, shape)
    elif issubclass(kind, timezone):
        return _large(leaf.tzname(None), shape)
    elif issubclass(kind, Decimal):
        digits = len(leaf.as_tuple().digits)
        return f"a number of {digits:,} digits" if digits > DIGITS else None
    elif issubclass(kind, Fraction):
        bits = max(leaf.numerator.bit_length(), leaf.denominator.bit_length())
        return f"a number of {bits:,} bits" if bits > 2 * NUMBER_BITS else None
    elif issubclass(kind, int) and leaf.bit_length() > NUMBER_BITS:
        return f"a number of {leaf.bit_length():,} bits"
    return None


def _plain(value: Any) -> bool:
    return isinstance(
        value, int | float | complex | str | bytes | date | timedelta | list | tuple | dict
    ) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value).__module__ in ("numpy", "decimal", "fractions") and hasattr(value, "__float__")


def _is_symbol(value: Any, shape: Shape) -> bool:
    return issubclass(cast(type[Any], type(value)), str) and value in shape.symbols


def _is_day(value: Any) -> bool:
    kind = cast(type[Any], type(value))
    if issubclass(kind, str):
        return value[:1].isdecimal() and _DAY.fullmatch(value) is not None
    return issubclass(kind, date) or kind.__name__ in ("datetime64", "Timestamp", "Period")


def constants_of(fn: types.FunctionType) -> Iterator[tuple[Any, int]]:
    """Yield what is written into a function's code, with how many numbers of it are settings still.

    Each constant is judged, and all loose ones of a function together.
    """
    for code in codes(fn.__code__):
        constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        if constants and constants[0] == fn.__doc__:
            constants = constants[1:]
        yield from ((constant, FEW) for constant in constants)
        yield [c for c in constants if not isinstance(c, str | tuple)], FEW_IN_CODE
