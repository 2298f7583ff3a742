"""While a step runs under seal, it opens no file of data, no connection and no program.

Files are watched where Python opens them (an audit hook) and at the readers of Polars, pandas, Arrow and DuckDB, which
open files by themselves. What gets past both, such as a reader kept in a closure before, only a process that the
kernel seals can tell.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from trademl_pipeline.lake.kernel_seal import library_folders
from trademl_pipeline.lake.seal import SealedLakeError


class SealedFileError(SealedLakeError):
    """A step opens a file, a connection or a program while it is sealed."""


_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = (".py", ".pyc", ".so", ".nbi", ".nbc", ".json.gz")
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/share/zoneinfo", "/usr/lib", "/lib")
_LIBRARIES = {
    "polars": ("read_", "scan_"),
    "pandas": ("read_",),
    "pyarrow": ("memory_map", "input_stream", "OSFile"),
    "pyarrow.parquet": ("read_", "ParquetFile", "ParquetDataset"),
    "pyarrow.feather": ("read_",),
    "pyarrow.csv": ("read_", "open_"),
    "pyarrow.json": ("read_",),
    "pyarrow.ipc": ("open_",),
    "pyarrow.dataset": ("dataset", "parquet_dataset"),
    "duckdb": ("connect", "sql", "query", "execute", "read_", "from_"),
}
_EVENTS = {"socket.connect": "connects to", "subprocess.Popen": "starts", "os.system": "starts"}


class _Watch:
    step = ""
    allowed: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    network = False
    # Threads that ran before the seal, such as those that write logs, go on as they were.
    others: frozenset[int] = frozenset()
    installed = False


_watch = _Watch()
_replaced: dict[int, tuple[Any, Any]] = {}
_scanned: set[str] = set()


@functools.cache
def _code_folders() -> tuple[str, ...]:
    return tuple(folder + os.sep for folder in library_folders())


@contextmanager
def sealed_files(
    step: str, allowed: Sequence[str | Path] = (), never: Sequence[str | Path] = (), *, network: bool = False
) -> Generator[None]:
    """Refuse this thread, and those it starts, every file but code and what lies in `allowed`.

    Args:
        step: what runs, for the message.
        allowed: folders whose files may be read.
        never: files and folders within them that may not.
        network: whether it may connect and start programs, as one that reports to a tracker does.
    """
    _install()
    _wrap_readers()
    before = (_watch.step, _watch.allowed, _watch.never, _watch.network, _watch.others)
    here = threading.get_ident()
    others = frozenset(t.ident for t in threading.enumerate() if t.ident and t.ident != here)
    _watch.step, _watch.others, _watch.network = step, others, network
    _watch.allowed = tuple(os.path.realpath(folder) + os.sep for folder in allowed)
    _watch.never = tuple(os.path.realpath(path) for path in never)
    try:
        yield
    finally:
        _watch.step, _watch.allowed, _watch.never, _watch.network, _watch.others = before


def _watched() -> bool:
    return bool(_watch.step) and threading.get_ident() not in _watch.others


def _install() -> None:
    if not _watch.installed:
        _watch.installed = True
        sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watch.step:
        return
    if event == "open" and _watched():
        path, mode, flags = arguments
        writes = set(mode or "") & set("wax") or (
            mode is None and flags & (os.O_WRONLY | os.O_CREAT | os.O_TMPFILE)
        )
        if not writes and not isinstance(path, int):
            _require_code(path, "opens")
    elif event in _EVENTS and not _watch.network and _watched():
        raise SealedFileError(
            f"{_watch.step} {_EVENTS[event]} {arguments[-1]!r}, and a step has its view alone"
        )


def _require_code(path: Any, does: str) -> None:
    try:
        real = os.path.realpath(os.fsdecode(path))
    except TypeError:
        real = str(path)
    if real.startswith(_watch.never or ("\0",)):
        raise SealedFileError(
            f"{_watch.step} {does} {real}, a file of the lake, which it may read by its view alone"
        )
    inside = real.startswith(str(_PACKAGE) + os.sep)
    if real.startswith(_SYSTEM) or (not inside and real.startswith(_code_folders())):
        return
    if (
        real.endswith(_CODE)
        or Path(real).parent.suffix in (".egg-info", ".dist-info")
        or real.startswith(_watch.allowed or ("\0",))
    ):
        return
    raise SealedFileError(
        f"{_watch.step} {does} {os.fspath(path) if isinstance(path, str | os.PathLike) else path}: a step reads by its "
        "view alone, and what a file holds has no clock. Publish it as a table, or declare it as a source"
    )


def _guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def read(*arguments: Any, **named: Any) -> Any:
        if _watched():
            source = arguments[0] if arguments else next(iter(named.values()), None)
            # What has been read already and lies in memory has come by a way that is watched.
            if not hasattr(source, "read") and not isinstance(source, bytes):
                _require_code(source if isinstance(source, str | os.PathLike) else name, f"reads by {name}")
        return function(*arguments, **named)

    return read


def _wrap_readers() -> None:
    """Put a guard before the readers of libraries that are loaded, wherever a module has taken one by its name."""
    for library, starts in _LIBRARIES.items():
        module = sys.modules.get(library)
        if module is None or library in _scanned:
            continue
        for name in [n for n in dir(module) if n.startswith(starts)]:
            function = getattr(module, name)
            if callable(function) and not isinstance(function, type) and id(function) not in _replaced:
                _replaced[id(function)] = (function, _guarded(function, f"{library}.{name}"))
        _scanned.add(library)
    for name in [n for n in list(sys.modules) if n not in _scanned_modules]:
        _scanned_modules.add(name)
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and not name.startswith(_UNTOUCHED):
            for attribute, value in list(vars(module).items()):
                if id(value) in _replaced and _replaced[id(value)][0] is value:
                    setattr(module, attribute, _replaced[id(value)][1])


_scanned_modules: set[str] = set()
# A library calls its own readers with what it was given.
_UNTOUCHED = ("polars.", "pandas.", "pyarrow._", "duckdb.", "trademl_pipeline.lake", "dagster", "mlflow")
