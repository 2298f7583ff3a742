"""Docstrings and annotations: data where the code can read them.

Nearly all code has them and nearly none reads them, so they are looked into only after a walk that has met code which
names a way to them.
"""

import types
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, cast

from trademl_pipeline.leakage.feature_audit.bindings import Binding, codes
from trademl_pipeline.leakage.feature_audit.kinds import ATTRIBUTES_BY_NAME, BY_NAME
from trademl_pipeline.leakage.feature_audit.libraries import Libraries

# By which code comes to either, whatever names it makes up.
_ANY = ATTRIBUTES_BY_NAME | BY_NAME
_TO_DOCS = _ANY | {"__doc__", "getdoc", "getsource", "help", "render_doc"}
_TO_ANNOTATIONS = _ANY | {
    "__annotations__",
    "get_type_hints",
    "get_annotations",
    "signature",
    "getfullargspec",
}


class Descriptions:
    """Docstrings and annotations that a walk has met, and whether any code can read them.

    Args:
        libraries: of which neither is looked into.
    """

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries
        self._docs = self._annotations = False
        self._docs_done = self._annotations_done = 0

    def note(self, names: Iterable[str], code: types.CodeType) -> None:
        """Take notice of the names and the texts in a function's code."""
        texts = {c for part in codes(code) for c in part.co_consts if isinstance(c, str)}
        words = texts.union(names)
        self._docs |= not _TO_DOCS.isdisjoint(words)
        self._annotations |= not _TO_ANNOTATIONS.isdisjoint(words)

    def unread(self, met: Iterable[Any], number: int) -> list[Binding]:
        """Return docstrings and annotations that code can read and that were not returned before.

        Args:
            met: all objects that a walk has met, in their order.
            number: of them.
        """
        bindings: list[Binding] = []
        if self._docs:
            bindings += [b for thing in islice(met, self._docs_done, number) for b in self._docs_of(thing)]
            self._docs_done = number
        if self._annotations:
            there = islice(met, self._annotations_done, number)
            bindings += [b for thing in there for b in self._annotations_of(thing)]
            self._annotations_done = number
        return bindings

    def _docs_of(self, thing: Any) -> Iterator[Binding]:
        kind = cast(type[Any], type(thing))
        if issubclass(kind, property):
            yield Binding("docstring of a property", lambda: thing.__doc__, None)
        elif issubclass(kind, types.FunctionType | type) and not self._libraries.has_code(thing):
            yield Binding(f"docstring of {thing.__name__}", lambda: thing.__doc__, None)

    def _annotations_of(self, thing: Any) -> Iterator[Binding]:
        kind = cast(type[Any], type(thing))
        if issubclass(kind, types.FunctionType | type) and not self._libraries.has_code(thing):
            label = f"annotations of {thing.__name__}"
            # To ask a class for them puts them there.
            of_class = issubclass(kind, type)
            yield Binding(
                label,
                lambda: _written(thing) if of_class else thing.__annotations__,
                None,
            )


def _written(owner: type) -> Any:
    return vars(owner).get("__annotations__")
