"""The inside of a Polars expression: literal values, and Python functions."""

import json
import pickle
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import polars as pl

_PICKLE = b"\x80"
_MARKS = ("Series", "List", "Anonymous", "Map", "Python", "Udf", "Binary")


def parts_of_expression(expression: pl.Expr) -> tuple[Any, ...]:
    """Return the series that an expression has in it, and copies of the functions that it calls, as they are now.

    Of an expression that cannot be written down, and so not be looked into, bytes too long to be a setting.
    """
    return tuple(_parts_of(expression))


def _parts_of(expression: pl.Expr) -> Iterator[Any]:
    try:
        written = expression.meta.serialize(format="json")
        # Most have room for neither values nor functions.
        tree = json.loads(written) if any(mark in written for mark in _MARKS) else None
    except (pl.exceptions.PolarsError, ValueError, TypeError, AttributeError):
        yield bytes(1 << 16)
        return
    yield from _parts(tree)


def _parts(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for _name, inside in cast(dict[str, Any], node).items():
            if isinstance(inside, list) and _is_bytes(cast(list[Any], inside)):
                yield _read(bytes(cast(list[int], inside)))
            else:
                yield from _parts(inside)
    elif isinstance(node, list):
        if _is_bytes(cast(list[Any], node)):
            yield _read(bytes(cast(list[int], node)))
            return
        for inside in cast(list[Any], node):
            yield from _parts(inside)


def _is_bytes(items: list[Any]) -> bool:
    return len(items) > 16 and all(isinstance(i, int) and 0 <= i < 256 for i in items)


def _read(written: bytes) -> Any:
    """A series or a function out of its bytes; the bytes themselves where they are neither."""
    try:
        return pl.read_ipc_stream(BytesIO(written)).to_series().to_list()
    except (pl.exceptions.PolarsError, OSError, ValueError):
        pass
    start = written.find(_PICKLE)
    try:
        return pickle.loads(written[start:])
    except Exception:
        return written
