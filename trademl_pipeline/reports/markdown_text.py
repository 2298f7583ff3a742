"""Texts, lists and tables as Markdown in which nothing that comes from data acts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Code:
    """A text shown letter by letter, such as the name of a feature."""

    text: str

    @property
    def markdown(self) -> str:
        """The code span, between more backticks than stand together in the text."""
        text = _one_line(self.text)
        fence = "`" * (1 + _longest_run(text))
        # A span that begins or ends with a backtick needs a space, which is not shown.
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        return f"{fence}{pad}{text}{pad}{fence}"


def escaped(text: str) -> str:
    """Return a text on one line in which no HTML, link or picture acts.

    Asterisks, underscores and backticks stay: our own sentences use them, and they only change how letters look.
    """
    text = _TAG.sub("&lt;", _ENTITY.sub("&amp;", _one_line(text)))
    return text.replace("](", "]\\(")


def verdict_line(label: str, headline: str) -> str:
    """Return the verdict as the bold line that comes first."""
    return f"**{label.upper()}: {escaped(headline)}**"


def bullets(items: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {escaped(item)}" for item in items)


def fenced(code: str) -> str:
    """Return a block that is shown as it is, between fences longer than any in it."""
    fence = "`" * max(3, 1 + _longest_run(code))
    return f"{fence}\n{code}\n{fence}"


def table_of(head: Sequence[str], rows: Iterable[Sequence[str | Code]]) -> str:
    """Return a table; the first column to the left, the others to the right."""
    rule = "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|"
    return "\n".join([_line(head), rule, *map(_line, rows)])


def _line(cells: Sequence[str | Code]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str | Code) -> str:
    # A table takes "\|" for a pipe within code spans too.
    if isinstance(text, Code):
        return text.markdown.replace("|", "\\|")
    # "\\|" would be a backslash and the end of the cell.
    return escaped(text).replace("\\|", "&#92;|").replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
