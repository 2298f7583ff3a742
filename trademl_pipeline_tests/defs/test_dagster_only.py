"""What does not know Dagster has no home in `defs/`: it is a step, or lower."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from trademl_pipeline import defs

FOLDER = Path(defs.__file__).parent
MOST = 0.05
# The handle that Dagster gives to what it calls.
CONTEXT = "context"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(tree: ast.AST) -> set[str]:
    """Every name that is used, annotated, imported or taken as an argument below a node."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)  # an annotation in quotes
    return found


def imported(module: ast.Module) -> set[str]:
    """The names by which a module knows Dagster and what it has imported from it."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {a.asname or a.name for a in node.names if a.name.split(".")[0] == "dagster"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dagster":
            found |= {a.asname or a.name for a in node.names}
    return found


def dagsters_names(modules: dict[Path, ast.Module]) -> set[str]:
    """Dagster's names, its context, and the classes and constants of `defs/` made of them, such as resources."""
    known = {CONTEXT}.union(*map(imported, modules.values()))
    while True:
        more: set[str] = set()
        for module in modules.values():
            for node in module.body:
                if isinstance(node, ast.ClassDef) and any(named(base) & known for base in node.bases):
                    more.add(node.name)
                elif isinstance(node, ast.Assign) and named(node.value) & known:
                    more |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if more <= known:
            return known
        known |= more


def outermost(tree: ast.AST) -> Iterator[Function]:
    """Functions and methods that do not lie within another."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield node
        else:
            yield from outermost(node)


def lines_of(function: Function) -> int:
    """Lines of a function with its decorators and docstring."""
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    assert function.end_lineno is not None
    return function.end_lineno - first + 1


def without_dagster(folder: Path) -> tuple[dict[str, int], int]:
    """Lines of each function that names nothing of Dagster, and the lines of all files."""
    texts = {path: path.read_text() for path in sorted(folder.rglob("*.py"))}
    modules = {path: ast.parse(text) for path, text in texts.items()}
    known = dagsters_names(modules)
    found = {
        f"{path.relative_to(folder)}:{function.lineno} {function.name}": lines_of(function)
        for path, module in modules.items()
        for function in outermost(module)
        if not named(function) & known
    }
    return found, sum(len(text.splitlines()) for text in texts.values())


def test_defs_holds_dagster_only() -> None:
    found, total = without_dagster(FOLDER)
    lines = sum(found.values())
    listed = "\n".join(f"{n:4} {where}" for where, n in sorted(found.items(), key=lambda item: -item[1]))
    assert lines < MOST * total, (
        f"{lines} of {total} lines of defs/ ({lines / total:.1%}) are in functions that name nothing of Dagster; move "
        f"them to pipeline/ or lower:\n{listed}"
    )


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("import dagster as dg\ndef f(x):\n    return dg.AssetKey(x)\n", []),
        ("import dagster as dg\ndef f(x):\n    return x\n", ["f"]),
        ("def f(context):\n    return 1\n", []),
        ("def f(x):\n    def g(context):\n        return x\n    return g\n", []),
        (
            "import dagster as dg\nclass R(dg.ConfigurableResource):\n    pass\ndef f(r: R):\n    return r\n",
            [],
        ),
        (
            'import dagster as dg\nclass R(dg.ConfigurableResource):\n    pass\ndef f() -> "R":\n    pass\n',
            [],
        ),
        ("from dagster._core.x import Job\nOther = Job\ndef f() -> Other:\n    pass\n", []),
        (
            "import dagster as dg\nclass R(dg.ConfigurableResource):\n    def f(self):\n        return 1\n",
            ["f"],
        ),
    ],
)
def test_what_counts_as_naming_dagster(tmp_path: Path, text: str, listed: list[str]) -> None:
    (tmp_path / "module.py").write_text(text)
    found, total = without_dagster(tmp_path)
    assert [where.split()[-1] for where in found] == listed
    assert total == len(text.splitlines())
