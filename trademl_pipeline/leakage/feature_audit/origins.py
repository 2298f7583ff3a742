"""The line of code that makes a column: where its name stands in the function's source, else the function itself."""

import ast
import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from trademl_pipeline.leakage.report import AuditReport


def with_origins(report: AuditReport, origin: Callable[[str], str]) -> AuditReport:
    """Return a report whose diagnoses name the lines that make their columns.

    Args:
        report: of an audit.
        origin: gives `file:line` of a column; empty where it cannot be told.
    """
    violations = tuple(
        replace(v, diagnosis=replace(v.diagnosis, origin=origin(v.column) or v.diagnosis.origin))
        if v.diagnosis is not None and v.column is not None
        else v
        for v in report.violations
    )
    return replace(report, violations=violations)


def function_origin(extract: Callable[..., Any], column: str) -> str:
    """Return `file:line` of the code of a function that makes a column; empty where its source is not to be had.

    Args:
        extract: function, method, partial or callable object.
        column: its name.
    """
    source = source_of(extract)
    return source_line(*source, column) if source else ""


def source_of(extract: Callable[..., Any]) -> tuple[str, int] | None:
    """Return the file and the first line of the code of a function, method, partial or callable object."""
    while isinstance(extract, functools.partial):
        extract = extract.func
    function: Any = inspect.unwrap(extract)
    # A method has the code of its function, a callable object that of its class.
    code: Any = getattr(function, "__code__", None) or getattr(_call_of(function), "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)


def source_line(name: str, first: int, column: str) -> str:
    """Return `file:line` where code names a column, else where it begins.

    Args:
        name: of the file.
        first: line of the code.
        column: its name.
    """
    file = Path(name)
    return f"{_relative(file)}:{line_of(file, column, within=first) or first}"


def _call_of(extract: Any) -> Any:
    """The method that runs when an object is called."""
    kind = cast(type[Any], type(extract))
    return inspect.getattr_static(kind, "__call__", None)


def line_of(file: Path, column: str, *, within: int = 0) -> int:
    """Return the line of a Python file on which a column is named, if there is just one such line; else 0.

    A name is a text (`.alias("gap")`, `pl.col("gap")`) or a keyword (`with_columns(gap=...)`).

    Args:
        file: Python source.
        column: its name.
        within: line of a function, whose own lines are looked at before all others; 0: none.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        # A notebook's cell or a console has no file, and a file may have changed since it was imported.
        return 0
    bodies: list[ast.AST] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and node.lineno == within
    ]
    for body in [*bodies, tree]:
        lines = {
            node.lineno if isinstance(node, ast.Constant) else node.value.lineno
            for node in ast.walk(body)
            if (isinstance(node, ast.Constant) and node.value == column)
            or (isinstance(node, ast.keyword) and node.arg == column)
        }
        if len(lines) == 1:
            return lines.pop()
    return 0


def _relative(file: Path) -> str:
    """A file as it is named from the folder that a command runs in, if it lies below that."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
