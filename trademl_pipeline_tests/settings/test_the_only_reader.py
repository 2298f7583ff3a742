"""Nothing but the settings reads the environment."""

import ast
from pathlib import Path

import trademl_pipeline

PACKAGE = Path(trademl_pipeline.__file__).parent
READERS = {"environ", "getenv", "environb", "putenv"}


def readers(tree: ast.AST) -> list[int]:
    """Lines that touch the environment, however it was imported."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in READERS:
            found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [node.lineno for name in node.names if name.name in READERS]
    return found


def test_the_environment_is_read_by_the_settings_alone():
    touched = {
        str(file.relative_to(PACKAGE)): lines
        for file in PACKAGE.rglob("*.py")
        if (lines := readers(ast.parse(file.read_text())))
    }
    assert {name for name in touched if not name.startswith("settings/")} == set()
    assert "settings/loading.py" in touched


def test_a_reader_is_seen():
    for line in ("import os; os.environ['A']", "from os import environ", "import os; os.getenv('A')"):
        assert readers(ast.parse(line)), line
    assert not readers(ast.parse("from os import path"))
