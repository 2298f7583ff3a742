"""Docstrings say what a caller must know, in one form, and none has run together."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from trademl_pipeline_tests.reach import Definition, Function, definitions, sources

PACKAGE = "trademl_pipeline"

# Given by Python, torch (ctx) and Numba (typingctx), not by the caller.
IMPLICIT = {"self", "cls", "ctx", "typingctx"}
MANY = 4
SECTIONS = "Args|Attributes|Returns|Raises|Yields"


def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in definitions(body):
        # An overload is a signature of the function that follows it, which has the docstring.
        if any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list):
            continue
        yield f"{prefix}.{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from walk(node.body, f"{prefix}.{node.name}")


def read() -> Iterator[tuple[str, ast.Module | Definition, str]]:
    """Every module, class, function and method with its docstring, "" where there is none."""
    for module, tree in sources(PACKAGE):
        yield module, tree, ast.get_docstring(tree) or ""
        for name, node in walk(tree.body, module):
            yield name, node, ast.get_docstring(node) or ""


@cache
def documented() -> list[tuple[str, ast.Module | Definition, str]]:
    return list(read())


def parameters(node: Function) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [a.arg for a in given if a.arg not in IMPLICIT]


def described(docstring: str, section: str = "Args") -> set[str]:
    """Names that a section has an entry for; one entry may serve several: `high, low: …`."""
    _, found, rest = docstring.partition(f"\n{section}:\n")
    if not found:
        return set()
    own = re.split(r"\n\S", rest)[0]
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*):", own, re.MULTILINE)
    return {name for entry in entries for name in entry.split(", ")}


def fields(node: ast.Module | Definition) -> list[str]:
    if isinstance(node, Function):
        return parameters(node)
    return [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]


def glued(names: list[str], docstring: str) -> list[str]:
    """Names whose entry begins in the middle of a line, behind the end of another one."""
    return [name for name in names if re.search(rf"\S[.;] {name}(?:, \w+)*: ", docstring)]


def test_functions_of_four_or_more_parameters_describe_each() -> None:
    lacking = {
        name: missing
        for name, node, text in documented()
        if isinstance(node, Function)
        and not any(part.startswith("_") for part in name.split("."))
        and len(parameters(node)) >= MANY
        and (missing := set(parameters(node)) - described(text))
    }
    assert lacking == {}


def test_no_first_line_opens_with_what_whether_or_where() -> None:
    assert [name for name, _, text in documented() if re.match(r"(What|Whether|Where)\b", text)] == []


def test_a_first_line_is_one_line() -> None:
    assert [name for name, _, text in documented() if "\n" in text.split("\n\n")[0]] == []


def test_entries_begin_their_lines() -> None:
    assert {name: found for name, node, text in documented() if (found := glued(fields(node), text))} == {}


def test_sections_stand_on_lines_of_their_own() -> None:
    inline = re.compile(rf"^({SECTIONS}): *\S", re.MULTILINE)
    assert [name for name, _, text in documented() if inline.search(text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Args:\n    a: first.\n    b: second.", []),
        ("Args:\n    a: first. b: second.", ["b"]),
        ("Args:\n    a: first; b, c: second.", ["b"]),
    ],
)
def test_a_glued_list_is_seen(text: str, found: list[str]) -> None:
    assert glued(["a", "b"], text) == found
