"""Facts that the templates need of tables and sentences beyond their text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trademl_pipeline.reports.section import Table

BAD = frozenset({"failed", "refused"})
WIDE, LONG = 5, 36
"""More columns than WIDE put intervals below their figures; texts longer than LONG characters wrap."""
WITH_INTERVAL = re.compile(r"(.+?) \((.+ to .+)\)")


@dataclass(frozen=True)
class Cell:
    """A cell of a table, as plain text.

    Attributes:
        text: what it says.
        kind: its CSS classes, or "".
        under: a second, smaller line, or "".
        bad: shown as something refused.
    """

    text: str
    kind: str = ""
    under: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as its template lays it out: the first cell of a row names the row, a heading is (text, CSS class)."""

    title: str
    head: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    note: str


def grid(table: Table) -> Grid:
    """Return a table with what decides how each cell looks."""
    folded = len(table.head) > WIDE

    def cell(number: int, text: str) -> Cell:
        left = number > 0 and number in table.left
        kind = "" if not left else "left text" if len(text) > LONG else "left"
        parts = WITH_INTERVAL.fullmatch(text) if folded else None
        if text in BAD:
            return Cell(text, kind, bad=True)
        return Cell(parts[1], kind, parts[2]) if parts else Cell(text, kind)

    return Grid(
        table.title,
        [(text, "left" if i in table.left else "") for i, text in enumerate(table.head)],
        [[cell(i, text) for i, text in enumerate(row)] for row in table.rows],
        table.note,
    )


def leading_word(sentence: str) -> tuple[str, str]:
    """Return the single word before a leading colon and the rest; ("", the sentence) where there is none."""
    word, colon, rest = sentence.partition(": ")
    if not colon or " " in word:
        return "", sentence
    return word, rest[:1].upper() + rest[1:]
