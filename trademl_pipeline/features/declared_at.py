"""The line on which a feature is declared, for messages that say where to mend it."""

import ast
import re
from functools import cache
from pathlib import Path

from trademl_pipeline.features.registry import FEATURES

FOLDER = Path(__file__).parent


def declared_at(name: str) -> str:
    """Return `file:line` of the call that declares a feature, by its name or a pattern; empty where there is none."""
    if name not in FEATURES:
        return ""
    for exact in (True, False):
        for text, is_exact, place in _declarations():
            if is_exact == exact and re.fullmatch(text, name):
                return place
    return ""


@cache
def _declarations() -> list[tuple[str, bool, str]]:
    """Pattern, whether it is a whole name, and place of every text that a call in this package is given first."""
    places: list[tuple[str, bool, str]] = []
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            # A method is given the name of what it reads, such as `pl.col("gap")`.
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            named = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "name")]
            place = f"{FOLDER.parent.name}/{FOLDER.name}/{file.name}:{node.lineno}"
            places += [(*text, place) for argument in named if (text := _pattern(argument)) is not None]
    return places


def _pattern(argument: ast.expr) -> tuple[str, bool] | None:
    """A text as a pattern of names, and whether it is a whole name; None for what is no text."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return re.escape(argument.value), True
    if not isinstance(argument, ast.JoinedStr):
        return None
    parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in argument.values]
    # A pattern without a word of its own fits every name.
    return ("".join(parts), False) if any(isinstance(p, ast.Constant) for p in argument.values) else None
