"""Print how much of each package the last `pytest --cov` ran, a line a package.

Usage: python .ci/coverage_by_package.py [DEPTH]

DEPTH: folders below the root that get a line of their own; 1 without it.
"""

import sys
from collections import defaultdict
from pathlib import Path

import coverage
from coverage.exceptions import NoDataError, NoSource


def lines_by_package(measured: coverage.Coverage, root: Path, depth: int) -> dict[str, tuple[int, int]]:
    """Statements and those that ran of each package, by its path in the repository."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in measured.get_data().measured_files():
        try:
            _, statements, _, missing, _ = measured.analysis2(file)
        except NoSource:
            # A module that a test made and deleted.
            continue
        package = Path(file).relative_to(root).parent.parts[: depth + 1]
        sums["/".join(package)][0] += len(statements)
        sums["/".join(package)][1] += len(statements) - len(missing)
    return {name: (total, run) for name, (total, run) in sums.items() if total}


def main(depth: int = 1) -> None:
    """Print the table."""
    measured = coverage.Coverage()
    try:
        measured.load()
        packages = lines_by_package(measured, Path.cwd(), depth)
    except NoDataError:
        packages = {}
    if not packages:
        sys.exit('no coverage here: run `make test ARGS="--cov --cov-report="` first')
    packages["all"] = tuple(map(sum, zip(*packages.values(), strict=True)))
    width = max(map(len, packages))
    print(f"{'package':<{width}}  lines  run")
    for name, (total, run) in sorted(packages.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{name:<{width}}  {total:>5}  {run / total:>4.0%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
