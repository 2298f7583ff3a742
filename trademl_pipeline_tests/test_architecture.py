"""The walk through the code in docs/architecture.md names what is there."""

import ast
import re
from collections import Counter

import pytest

from trademl_pipeline.settings import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
WALK = PAGE.split("## One month, from bars to a report")[1].split("\n## ")[0]
STEPS = re.findall(r"^\| [^|]+ \| `([\w.]+)` \| `([\w/]+\.py)` \|$", WALK, re.MULTILINE)


def defined(file: str) -> set[str]:
    """Functions of a file, and methods with their class before them."""
    names: set[str] = set()
    for node in ast.parse((ROOT / "trademl_pipeline" / file).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


def test_the_walk_has_steps():
    assert len(STEPS) > 20


@pytest.mark.parametrize(("function", "file"), STEPS)
def test_each_step_is_where_the_walk_says(function: str, file: str):
    assert function in defined(file)


def test_no_file_is_entered_twice():
    assert [file for file, times in Counter(file for _, file in STEPS).items() if times > 1] == []
