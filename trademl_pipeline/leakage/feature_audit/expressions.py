"""The inside of a Polars expression: literal values, and Python functions."""

import json
import pickle
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import polars as pl

from trademl_pipeline.leakage.feature_audit.constants import FEW

_PICKLE = b"\x80"
_LITERAL = '"Literal"'
# A text as long as would be read for its figures.
_TEXT = re.compile(rf'"String(Owned)?":"[^"]{{{FEW},}}')
_MARKS = ("Series", "List", "Anonymous", "Map", "Python", "Udf", "Binary")


def parts_of_expression(expression: pl.Expr) -> tuple[Any, ...]:
    """Return the series that an expression has in it, and copies of the functions that it calls, as they are now.

    Of an expression that cannot be written down, and so not be looked into, bytes too long to be a setting.
    """
    try:
        return tuple(_parts_of(expression))
    except RecursionError:
        return (bytes(1 << 16),)


def _parts_of(expression: pl.Expr) -> Iterator[Any]:
    try:
        written = expression.meta.serialize(format="json")
        long = written.count(_LITERAL) > FEW or _TEXT.search(written) is not None
        # Most have room for neither values nor functions.
        tree = json.loads(written) if long or any(mark in written for mark in _MARKS) else None
    except (pl.exceptions.PolarsError, ValueError, TypeError, AttributeError):
        yield bytes(1 << 16)
        return
    yield from _parts(tree)
    if long:
        yield Literals(_literals(tree))


class Literals(tuple[Any, ...]):
    """The numbers and texts that are written into one expression, which has many or long ones."""


def _literals(tree: Any) -> Iterator[Any]:
    stack = [(tree, False)]
    while stack:
        node, literal = stack.pop()
        if isinstance(node, dict):
            items = cast(dict[str, Any], node).items()
            stack.extend((inside, literal or name == "Literal") for name, inside in items)
        elif isinstance(node, list):
            if not _is_bytes(cast(list[Any], node)):
                stack.extend((inside, literal) for inside in cast(list[Any], node))
        elif literal and isinstance(node, int | float | str):
            yield node


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
