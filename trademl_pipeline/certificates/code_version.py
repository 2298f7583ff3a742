"""Which code is running: the package's version, a hash of its source, and the git commit where there is one."""

import hashlib
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
DISTRIBUTION = "trademl-pipeline"

# Libraries whose version can move a figure.
LIBRARIES = (
    "duckdb",
    "lightgbm",
    "numba",
    "numpy",
    "polars",
    "scikit-learn",
    "torch",
    "xgboost-cpu",
    "xgboost",
)


@dataclass(frozen=True)
class CodeVersion:
    """The code behind a result.

    Attributes:
        version: of the package; None where it is run from a folder without having been installed.
        source: SHA-256 over the package's Python files, names and contents.
        commit: of the repository that the package's files belong to; None without one.
        dirty: whether files of the package differ from that commit; None without one.
        libraries: version by name of those installed that can move a figure.
    """

    version: str | None
    source: str
    commit: str | None
    dirty: bool | None
    libraries: dict[str, str]

    @property
    def label(self) -> str:
        """A few words for people."""
        version = self.version or "not installed"
        if self.commit is None:
            return f"{version}, source {self.source[:12]}"
        return f"{version}, commit {self.commit[:12]}{' with changes' if self.dirty else ''}, source {self.source[:12]}"


@lru_cache(maxsize=1)
def code_version() -> CodeVersion:
    """The version of the running code; read once in a process."""
    commit, dirty = _commit(PACKAGE)
    return CodeVersion(
        _version(DISTRIBUTION),
        source_hash(PACKAGE),
        commit,
        dirty,
        {name: version for name in LIBRARIES if (version := _version(name)) is not None},
    )


def source_hash(package: Path) -> str:
    """SHA-256 over the relative paths and contents of a folder's Python files, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _commit(package: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the repository that tracks the package's files."""
    # An installed package may lie inside somebody else's repository, whose commit says nothing about it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    return (commit, bool(changes)) if commit is not None and changes is not None else (None, None)


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git; None where there is no git, no repository, or it refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
