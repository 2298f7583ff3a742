"""Calls of a function from bars to features, each in a fresh process that the kernel seals before the code is loaded.

The process of `main` loads libraries alone. For each request it forks; the child can read code and one folder, in which
it finds the frames that the function is to be shown and leaves what it returned. Then it imports the function's module
and calls it. What the function wrote, remembered or imported ends with the child.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import polars as pl

from trademl_pipeline.lake.kernel_seal import seal_process
from trademl_pipeline.lake.sealed_files import SealedFileError, sealed_files
from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.feature_audit.constants import Shape
from trademl_pipeline.leakage.feature_audit.loading import called, load_extractor, taking_pandas
from trademl_pipeline.leakage.feature_audit.origins import source_of
from trademl_pipeline.leakage.feature_audit.reach import reach

REQUEST = "request.json"
REPLY = "reply.json"
OUTPUT = "output.arrow"
STEP = "the extractor"


@dataclass(frozen=True)
class Job:
    """All that does not change from call to call.

    Attributes:
        target: `file.py:function` or `module:function`.
        pandas: it takes and returns pandas frames.
        code: files with code, and the folders that hold them, which may be listed.
        listed: those folders.
        allowed: paths of files that the user vouches for.
        path: `sys.path` of who asks, after Python's own.
        symbols, sessions: of the panel, which tell data from settings.
    """

    target: str
    pandas: bool
    code: list[str]
    listed: list[str]
    allowed: list[str]
    path: list[str]
    symbols: list[str]
    sessions: list[str]


@dataclass
class Reply:
    """All that came of a call.

    Attributes:
        kind: name of the type that the function returned; empty where it returned nothing.
        holdings: label -> why it carries data that nothing can cut, where that was asked.
        seals: what the kernel holds the process by.
        error: of what kind the failure was: "input" (the function cannot be loaded), "file" (it opens one),
            "raised" (by the function); empty where there was none.
        message: of the error.
        raised: name of its type.
        why: it may not open the file.
        place: file and line where it was raised.
        source: file and first line of the function's code; empty where it has none.
    """

    kind: str = ""
    holdings: dict[str, str] = field(default_factory=dict[str, str])
    seals: list[str] = field(default_factory=list[str])
    error: str = ""
    message: str = ""
    raised: str = ""
    why: str = ""
    place: str = ""
    source: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True)
class Shown:
    """Frames that one call of the function is shown."""

    bars: pl.DataFrame
    sources: dict[str, pl.DataFrame]


def serve(job: Job) -> None:
    """Answer requests, a folder a line on standard input, until there are no more."""
    # What is put before the readers of libraries here need not be put there in every child.
    with sealed_files(STEP):
        pass
    for line in sys.stdin:
        folder = Path(line.rstrip("\n"))
        child = os.fork()
        if not child:
            try:
                (folder / REPLY).write_text(json.dumps(asdict(_sealed_call(job, folder))))
            except BaseException:
                traceback.print_exc()
            finally:
                # Nothing of the parent's, such as its buffers, is closed a second time.
                os._exit(0)
        os.waitpid(child, 0)
        print(folder, flush=True)


def _sealed_call(job: Job, folder: Path) -> Reply:
    reply = Reply()
    reply.seals = seal_process(folder, [*job.code, *job.allowed], job.listed)
    sys.path[:0] = [p for p in job.path if p not in sys.path]
    os.chdir(folder)
    try:
        with sealed_files(STEP, [folder, *job.allowed]):
            _call(job, folder, reply)
    except SealedFileError as error:
        reply.error, reply.message, reply.why = "file", error.opened, str(error).removeprefix(error.opened)
    except AuditInputError as error:
        reply.error, reply.message = "input", str(error)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        reply.error, reply.message, reply.raised = "raised", str(error), type(error).__name__
        reply.place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return reply


def _call(job: Job, folder: Path, reply: Reply) -> None:
    function = load_extractor(job.target)
    shape = Shape(frozenset(job.symbols), tuple(map(datetime.fromisoformat, job.sessions)))
    request: dict[str, Any] = json.loads((folder / REQUEST).read_text())
    look = bool(request["look"])
    reply.source = list(source_of(function) or ())
    if look:
        reply.holdings = _holdings(function, shape)
    extract = taking_pandas(function) if job.pandas else function
    output: Any = None
    for view in cast(list[dict[str, Any]], request["views"]):
        sources = {
            name: read_frame(folder / file) for name, file in cast(dict[str, str], view["sources"]).items()
        }
        output = called(extract, read_frame(folder / view["bars"]), sources)
    if look:
        reply.holdings = {**_holdings(function, shape), **reply.holdings}
    reply.kind = type(output).__name__ if output is not None else "NoneType"
    if isinstance(output, pl.DataFrame):
        # Objects of Python do not travel; what refuses them only asks for their names.
        objects = [c for c, t in output.schema.items() if t == pl.Object]
        if objects:
            reply.kind = f"DataFrame of type Object in {', '.join(map(repr, objects))}"
        else:
            output.write_ipc(folder / OUTPUT)


def read_frame(path: Path) -> pl.DataFrame:
    """Read a frame that the other side has written, into memory."""
    return pl.read_ipc(BytesIO(path.read_bytes()))


def _holdings(function: Callable[..., Any], shape: Shape) -> dict[str, str]:
    reached = reach(function, shape)
    tables = {b.label: f"{type(b.get()).__name__} of its own" for b in reached.tables}
    return {**reached.named, **tables}


def main() -> None:
    """Serve the job in the file that the command names."""
    serve(Job(**cast(dict[str, Any], json.loads(Path(sys.argv[1]).read_text()))))
