"""Nothing outside the registry knows a task by its name, and no ability is probed."""

import ast

import pytest

from trademl_pipeline.settings import ROOT
from trademl_pipeline.tasks import TASKS

FILES = sorted(
    path for folder in ("trademl_pipeline", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
PROBES = {"getattr", "hasattr", "isinstance"}
# What holds a task, or what a task declares for its reports.
HOLDERS = {"task", "kind", "declared_task"}
# Registries by name of the task, each asked in one place only.
REGISTRIES = {"TASKS", "PAGES"}


def ends_with(node: ast.AST) -> str:
    """The last name of `a.b.c`; "" of anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def text_of(node: ast.AST) -> set[str]:
    """The texts written in an expression, such as a tuple of them."""
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def holds_a_task(node: ast.AST) -> bool:
    return ends_with(node) in {"task", "declared_task"} or (
        ends_with(node) == "kind" and "config" in ast.unparse(node)
    )


def offences(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, what): probes of a task, and questions by its name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ends_with(node.func) in PROBES and holds_a_task(node.args[0]):
            found.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.Attribute) and node.attr == "kind" and ends_with(node.value) == "task":
            found.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.Compare):
            named = any(text_of(side) & set(TASKS) for side in (node.left, *node.comparators))
            asked = {ends_with(side) for side in (node.left, *node.comparators)} & {*HOLDERS, "name"}
            if named and asked:
                found.append((node.lineno, ast.unparse(node)))
        if (
            isinstance(node, ast.Subscript)
            and ends_with(node.value) == "TASKS"
            and isinstance(node.slice, ast.Constant)
        ):
            found.append((node.lineno, ast.unparse(node)))
        looked_up = None
        if isinstance(node, ast.Subscript):
            looked_up = (node.value, node.slice)
        elif isinstance(node, ast.Call) and ends_with(node.func) == "get" and node.args:
            looked_up = (node.func.value, node.args[0])  # pyright: ignore[reportAttributeAccessIssue]
        if (
            looked_up
            and isinstance(looked_up[1], ast.Attribute)
            and looked_up[1].attr == "task"
            and ends_with(looked_up[0]) not in REGISTRIES
        ):
            found.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.Match) and holds_a_task(node.subject):
            found.append((node.lineno, ast.unparse(node.subject)))
    return found


@pytest.mark.parametrize(
    "code",
    [
        'getattr(task, "y_true", None)',
        'hasattr(self.task, "y")',
        'hasattr(config.kind, "first_passage")',
        "isinstance(task, Breakout)",
        'task.name == "breakout"',
        'config.task in ("breakout", "pattern")',
        '"pattern" != e.config.task',
        'self.task.kind != "class"',
        'TASKS["breakout"].views',
        "TITLES.get(config.task, 1)",
        "ASSESSORS[config.task]",
        "match study.task:\n    case _: pass",
    ],
)
def test_such_a_question_is_found(code: str) -> None:
    assert offences(ast.parse(code))


def test_no_task_is_probed_or_known_by_its_name() -> None:
    assert len(FILES) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in FILES
        for line, what in offences(ast.parse(path.read_text()))
    ]
    assert not found, "\n".join(found)
