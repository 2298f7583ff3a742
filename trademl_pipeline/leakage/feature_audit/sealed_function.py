"""A function from bars to features that is named, not holdings: each call of it is made by a fresh sealed process."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import polars as pl

from trademl_pipeline.lake.kernel_seal import landlock_version, library_folders
from trademl_pipeline.lake.sealed_files import SealedFileError
from trademl_pipeline.leakage.errors import AuditError, AuditInputError
from trademl_pipeline.leakage.feature_audit import sealed_process
from trademl_pipeline.leakage.feature_audit.loading import is_file, parts_of
from trademl_pipeline.leakage.feature_audit.sealed_process import (
    OUTPUT,
    REPLY,
    REQUEST,
    Job,
    Reply,
    Shown,
    read_frame,
)
from trademl_pipeline.leakage.feature_audit.views import Panel

# Files with code that a sealed process may read beside those of libraries.
MAX_CODE = 20_000
_PACKAGE = Path(sealed_process.__file__).parents[2]
_NO_CODE = frozenset(("node_modules", "__pycache__", "site-packages", "build", "dist"))
UNSEALED = "the readers of Python and the libraries alone: this kernel has no Landlock"


class RaisedError(Exception):
    """The function raised, in its own process.

    Attributes:
        kind: name of the error's type.
        place: file and line; empty where it has none.
    """

    def __init__(self, kind: str, message: str, place: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.place = place


class SealedFunction:
    """A function by its name. To be closed after use, or used in a `with`.

    Args:
        target: `file.py:function` or `package.module:function`.
        panel: that it is audited on.
        allow: names that the caller vouches for; those that are paths may be read.
        pandas: it takes and returns pandas frames.

    Attributes:
        holdings: label -> why it carries data that nothing can cut; known once it was called.
        seals: what its processes are sealed by.
        source: file and first line of its code, once it was called; None where that cannot be told.

    Raises:
        AuditInputError: the target names no file and no module.
    """

    def __init__(self, target: str, panel: Panel, allow: Iterable[str] = (), *, pandas: bool = False) -> None:
        self.holdings: dict[str, str] | None = None
        self.seals: list[str] = []
        self.source: tuple[str, int] | None = None
        self._last: Shown | None = None
        self._number = 0
        path, name = parts_of(target)
        if is_file(path):
            target = f"{Path(path).resolve()}:{name}"
        roots = list(_roots(path))
        code, listed = _code_in(roots)
        vouched = [str(Path(file).resolve()) for file in allow if Path(file).exists()]
        symbols, sessions = panel.axis.symbols, [day.isoformat() for day in panel.axis.sessions]
        job = Job(target, pandas, code, listed, vouched, [str(r) for r in roots], symbols, sessions)
        self._folder = Path(tempfile.mkdtemp(prefix="trademl-audit-")).resolve()
        written = self._folder / "job.json"
        written.write_text(json.dumps(asdict(job)))
        surroundings = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),
            "PYTHONPATH": str(Path(sealed_process.__file__).parents[3]),
            "PYTHONDONTWRITEBYTECODE": "1",
            # The seal holds a process of one thread, and a library of linear algebra starts its own at import.
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {sealed_process.__name__} import main; main()", str(written)],
            env=surroundings,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "SealedFunction":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove what it was shown."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, bars: pl.DataFrame, sources: Mapping[str, pl.DataFrame], *, fresh: bool = True) -> Any:
        """Call the function in a process of its own.

        Args:
            bars: that it is shown.
            sources: by name.
            fresh: it is the first call of that process; else what the last call was shown comes before.

        Returns:
            What it returned; of anything but a frame an object whose type has the same name.

        Raises:
            AuditInputError: it cannot be imported.
            SealedFileError: it opens a file, a connection or a program.
            RaisedError: it raised.
            AuditError: its process has ended without an answer.
        """
        view = Shown(bars, dict(sources))
        before = [] if fresh or self._last is None else [self._last]
        self._last = view
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        try:
            reply, output = self._ask(folder, [*before, view])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.seals = reply.seals
        self.source = (str(reply.source[0]), int(reply.source[1])) if reply.source else None
        if self.holdings is None and not reply.error:
            self.holdings = reply.holdings
        if reply.error == "file":
            raise SealedFileError(reply.message, reply.why)
        if reply.error == "input":
            raise AuditInputError(reply.message)
        if reply.error:
            raise RaisedError(reply.raised, reply.message, reply.place)
        return output if output is not None else type(reply.kind, (), {})()

    def _ask(self, folder: Path, views: list[Shown]) -> tuple[Reply, pl.DataFrame | None]:
        files: list[dict[str, Any]] = []
        for number, view in enumerate(views):
            names = {"bars": f"bars-{number}.arrow"}
            view.bars.write_ipc(folder / names["bars"])
            sources = {name: f"source-{number}-{i}.arrow" for i, name in enumerate(view.sources)}
            for name, file in sources.items():
                view.sources[name].write_ipc(folder / file)
            files.append({**names, "sources": sources})
        (folder / REQUEST).write_text(json.dumps({"views": files, "look": self.holdings is None}))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{folder}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise AuditError("the sealed process has ended; what it said stands above") from error
        if not self._process.stdout.readline() or not (folder / REPLY).exists():
            raise AuditError(
                "the function's process ended without an answer: it was killed, for memory perhaps, or ended itself"
            )
        reply = Reply(**json.loads((folder / REPLY).read_text()))
        output = folder / OUTPUT
        return reply, read_frame(output) if output.exists() else None

    def sealed_by(self) -> str:
        """Return in words what keeps the processes from files."""
        return " and ".join(self.seals) if landlock_version() else UNSEALED


def _roots(path: str) -> Iterator[Path]:
    """Folders from which a function's own code may be imported."""
    libraries = (*library_folders(), str(_PACKAGE))
    folders = [Path(path).resolve().parent] if is_file(path) else [Path.cwd()]
    if not is_file(path):
        first = path.split(".")[0]
        # A console script has not the folder it is called in on its path.
        spec = PathFinder.find_spec(first, [str(Path.cwd())]) or importlib.util.find_spec(first)
        if spec is None or spec.origin is None:
            raise AuditInputError(
                f"there is no module {path} here: run this where it lies, or write file.py:function"
            )
        origin = Path(spec.origin).resolve()
        folders.append(origin.parents[1] if origin.name == "__init__.py" else origin.parent)
    folders += [Path(p).resolve() for p in sys.path if p and Path(p).is_dir()]
    for folder in dict.fromkeys(folders):
        if not str(folder).startswith(libraries):
            yield folder


def _code_in(roots: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Files with Python code in folders, and the folders that hold them, hidden ones and environments left out."""
    code: list[str] = []
    folders: list[str] = []
    for root in roots:
        for folder, inside, files in os.walk(root):
            inside[:] = [
                d
                for d in inside
                if not d.startswith(".")
                and d not in _NO_CODE
                and Path(folder, d) != _PACKAGE
                and not Path(folder, d, "pyvenv.cfg").exists()
            ]
            modules = [str(Path(folder, f)) for f in files if f.endswith((".py", ".so"))]
            if modules:
                folders.append(folder)
            code += modules
            if len(code) > MAX_CODE:
                raise AuditInputError(
                    f"more than {MAX_CODE:,} files with code lie below {root}: move the function's file into a folder "
                    "of its own"
                )
    return code, folders
