"""What pyproject.toml declares is what the package imports."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

from trademl_pipeline_tests.reach import ROOT, sources

PACKAGE = "trademl_pipeline"

# Needed though no line imports them.
WITHOUT_IMPORT = {
    "dagster-webserver": "`trademl ui` starts it",
    "duckdb-extension-ducklake": "DuckDB loads it by its file",
    "duckdb-extension-sqlite-scanner": "DuckDB loads it by its file",
    "pandas": "Polars and MLflow make its frames: features that take pandas are audited, too",
    "pyarrow": "DuckDB and Polars hand each other tables by it",
}

# Import names of what is not installed everywhere, so that its metadata may be absent.
OPTIONAL = {"mamba_ssm": "mamba-ssm"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> tuple[set[str], set[str]]:
    """Names of the dependencies, and of those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(lines: list[str]) -> set[str]:
        return {canonical(re.split(r"[\[<>=;~! ]", line)[0]) for line in lines}

    extras = (name for lines in project["optional-dependencies"].values() for name in names(lines))
    return names(project["dependencies"]), set(extras)


@cache
def imported() -> dict[str, set[str]]:
    """Top-level names that the package imports -> the distributions that bring them."""
    names = set()
    for _, tree in sources(PACKAGE):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    installed = packages_distributions()
    return {
        name: {canonical(d) for d in installed.get(name, [OPTIONAL.get(name, name)])}
        for name in names - {PACKAGE} - sys.stdlib_module_names
    }


def test_every_dependency_is_imported() -> None:
    brought = set().union(*imported().values())
    main, _ = declared()
    assert main - brought - set(WITHOUT_IMPORT) == set(), (
        "nothing imports these; they come with what uses them"
    )
    assert set(WITHOUT_IMPORT) <= main - brought


def test_every_import_is_declared() -> None:
    main, extras = declared()
    assert {name for name, brought in imported().items() if not brought & (main | extras)} == set()
