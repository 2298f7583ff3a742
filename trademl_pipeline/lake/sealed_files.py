"""While a step runs under seal, it opens no file of data, no connection and no program.

Files are watched where Python opens them (an audit hook) and at the readers of Polars, pandas, Arrow and DuckDB, which
open files by themselves. What gets past both, such as a reader kept in a closure before, only a process that the
kernel seals can tell.
"""

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from trademl_pipeline.lake.kernel_seal import library_folders
from trademl_pipeline.lake.seal import SealedLakeError


class SealedFileError(SealedLakeError):
    """A step opens a file, a connection or a program while it is sealed.

    Attributes:
        opened: who opens what, without the reason why it may not.
    """

    def __init__(self, opened: str, why: str) -> None:
        super().__init__(f"{opened}{why}")
        self.opened = opened


_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = (".py", ".pyc", ".so", ".nbi", ".nbc", ".json.gz")
_SYSTEM = ("/proc/", "/sys/", "/etc/", "/usr/share/zoneinfo/", "/usr/lib/", "/lib/")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
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
# Where a process is started below `subprocess`, as by `multiprocessing`, no event is raised.
_STARTERS = {"_posixsubprocess": ("fork_exec",)}
_EVENTS = {
    "socket.connect": "connects to",
    "socket.sendto": "sends to",
    "socket.sendmsg": "sends to",
    "subprocess.Popen": "starts",
    "os.system": "starts",
    "os.posix_spawn": "starts",
    "os.exec": "starts",
}
# The storage of runs and events, which the recorder of a run's log lines writes to.
_RECORDERS = ("dagster._core.storage", "dagster_postgres")
_IN_MEMORY = (":memory:", "")


class _Watch:
    step = ""
    allowed: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    network = False
    # Threads that ran before the seal, such as those that write logs, go on as they were.
    others: frozenset[int] = frozenset()
    installed = False

    def __init__(self) -> None:
        self.refused: list[SealedFileError] = []


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
    """Refuse this thread, and those it starts, every file but code and `allowed`.

    Args:
        step: what runs, for the message.
        allowed: files, and folders whose files, may be read.
        never: files and folders within them that may not.
        network: whether it may connect and start programs, as one that reports to a tracker does.

    Raises:
        SealedFileError: it has tried; also where the step has caught the refusal and gone on.
    """
    _install()
    _wrap_readers()
    before = (_watch.step, _watch.allowed, _watch.never, _watch.network, _watch.others, _watch.refused)
    here = threading.get_ident()
    others = frozenset(t.ident for t in threading.enumerate() if t.ident and t.ident != here)
    _watch.step, _watch.others, _watch.network = step, others, network
    _watch.allowed = tuple(os.path.realpath(path) for path in allowed)
    _watch.never = tuple(os.path.realpath(path) for path in never)
    refused = _watch.refused = []
    try:
        yield
    except SealedFileError:
        raise
    except Exception as error:
        if refused:
            raise refused[0] from error
        raise
    else:
        if refused:
            raise refused[0]
    finally:
        _watch.step, _watch.allowed, _watch.never, _watch.network, _watch.others, _watch.refused = before


def _watched() -> bool:
    return bool(_watch.step) and threading.get_ident() not in _watch.others


def _install() -> None:
    if not _watch.installed:
        _watch.installed = True
        sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watch.step:
        return
    before = len(_watch.refused)
    try:
        _judge(event, arguments)
    except SealedFileError:
        if not _by_the_recorder():
            raise
        del _watch.refused[before:]


def _judge(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched():
        path, mode, flags = arguments
        # What is not there tells nothing, and Python looks for its own packages in such places.
        if not isinstance(path, int) and os.path.exists(path) and _reads(path, mode, flags):
            _require_code(path, "opens")
    elif event == "sqlite3.connect" and _watched():
        if arguments[0] not in _IN_MEMORY:
            _require_code(arguments[0], "opens")
    elif event in _EVENTS and not _watch.network and _watched():
        _refuse(f"{_watch.step} {_EVENTS[event]} {arguments[-1]!r}", ", and a step has its view alone")


def _by_the_recorder() -> bool:
    """Return whether what is logged is being written down: a line that a step logs goes into the run's event log."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_RECORDERS):
            return True
        frame = frame.f_back
    return False


def _refuse(opened: str, why: str) -> NoReturn:
    error = SealedFileError(opened, why)
    _watch.refused.append(error)
    raise error


def _reads(path: Any, mode: str | None, flags: int) -> bool:
    """Return whether what a file holds can be read by opening it so; what is new or empty holds nothing."""
    if mode is None:
        # A temporary file is opened by the name of its folder.
        reads = flags & os.O_ACCMODE != os.O_WRONLY and not flags & (
            os.O_TRUNC | os.O_EXCL | os.O_DIRECTORY | os.O_TMPFILE
        )
    else:
        reads = not set(mode) & set("wx") and ("a" not in mode or "+" in mode)
    if not reads:
        return False
    opens_as_it_is = "r" in mode if mode is not None else not flags & os.O_CREAT
    return opens_as_it_is or (os.path.exists(path) and os.path.getsize(path) > 0)


def _require_code(path: Any, does: str) -> None:
    try:
        real = os.path.realpath(os.fsdecode(path))
    except TypeError:
        real = str(path)
    if real.startswith(_watch.never or ("\0",)):
        _refuse(f"{_watch.step} {does} {real}", ", a file of the lake, which it may read by its view alone")
    inside = real.startswith(str(_PACKAGE) + os.sep)
    if (
        real in _DEVICES
        or real.startswith(_SYSTEM)
        or (not inside and real.startswith(_code_folders()))
        or real.endswith(_CODE)
        or Path(real).parent.suffix in (".egg-info", ".dist-info")
        or any(real == path or real.startswith(path + os.sep) for path in _watch.allowed)
    ):
        return
    _refuse(
        f"{_watch.step} {does} {os.fspath(path) if isinstance(path, str | os.PathLike) else path}",
        ": a step reads by its view alone, and what a file holds has no clock. Publish it as a table, or declare it as "
        "a source",
    )


def _guarded(function: Callable[..., Any], name: str, *, first: int = 0) -> Callable[..., Any]:
    """Put a guard before a reader whose argument at `first` says what it reads."""

    @functools.wraps(function)
    def read(*arguments: Any, **named: Any) -> Any:
        if _watched():
            source = arguments[first] if len(arguments) > first else next(iter(named.values()), None)
            # What has been read already and lies in memory has come by a way that is watched.
            if not hasattr(source, "read") and not isinstance(source, bytes):
                _require_code(source if isinstance(source, str | os.PathLike) else name, f"reads by {name}")
        return function(*arguments, **named)

    return read


def _guarded_start(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def start(*arguments: Any, **named: Any) -> Any:
        if _watched() and not _watch.network:
            _refuse(f"{_watch.step} starts a process by {name}", ", and a step has its view alone")
        return function(*arguments, **named)

    return start


def _wrap_readers() -> None:
    """Put a guard before the readers of libraries that are loaded, wherever a module has taken one by its name."""
    for libraries, guarded in ((_LIBRARIES, _guarded), (_STARTERS, _guarded_start)):
        for library, starts in libraries.items():
            module = sys.modules.get(library)
            if module is None or library in _scanned:
                continue
            for name in [n for n in dir(module) if n.startswith(starts)]:
                function = getattr(module, name)
                if isinstance(function, type):
                    # A class may be asked for by isinstance, and stays the same one.
                    if "__init__" in vars(function):
                        function.__init__ = _guarded(function.__init__, f"{library}.{name}", first=1)
                elif callable(function) and id(function) not in _replaced:
                    _replaced[id(function)] = (function, guarded(function, f"{library}.{name}"))
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
