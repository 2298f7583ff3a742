"""A function from bars to features by its name, and calling it."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import polars as pl

from trademl_pipeline.lake.sealed_files import SealedFileError
from trademl_pipeline.leakage.errors import AuditInputError


def parts_of(target: str) -> tuple[str, str]:
    """Split `file.py:function` or `package.module:function` in two.

    Raises:
        AuditInputError: it has no two parts, or there is no such file.
    """
    path, _, name = target.rpartition(":")
    if not path or not name:
        raise AuditInputError(
            f"{target!r} names no function: write file.py:function, e.g. my_features.py:extract"
        )
    if is_file(path) and not Path(path).is_file():
        raise AuditInputError(f"there is no file {path}")
    return path, name


def is_file(path: str) -> bool:
    """Return whether the first part of a target names a file rather than a module."""
    return path.endswith(".py") or "/" in path


def load_extractor(target: str) -> Callable[..., Any]:
    """Import the function named by `path/to/file.py:function` or `package.module:function` (or `:object.method`).

    Raises:
        AuditInputError: no such file or module, it cannot be imported, or it has no such function.
    """
    path, name = parts_of(target)
    if not is_file(path):
        return _attribute(_imported(path), name, path)
    file = Path(path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise AuditInputError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Its own imports are found beside it, and what it pickles is found again.
    sys.path.insert(0, str(file.resolve().parent))
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except SealedFileError:
        raise
    except (Exception, SystemExit) as error:
        raise AuditInputError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return _attribute(module, name, str(file))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SealedFileError:
        raise
    except (Exception, SystemExit) as error:
        raise AuditInputError(
            f"the module {name} cannot be imported: {type(error).__name__}: {error}. For a file write file.py:function"
        ) from error


def _attribute(module: ModuleType, name: str, file: str) -> Callable[..., Any]:
    extractor: Any = module
    for part in name.split("."):
        if not hasattr(extractor, part):
            functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            raise AuditInputError(
                f"{file} has no {name!r}; it has {', '.join(sorted(functions)) or 'no function'}"
            )
        extractor = getattr(extractor, part)
    if not callable(extractor):
        raise AuditInputError(
            f"{name!r} in {file} is {type(extractor).__name__}; give a function of the bars"
        )
    return extractor


def taking_pandas(extract: Callable[..., Any]) -> Callable[..., pl.DataFrame]:
    """A function of pandas frames as one of Polars frames."""

    def converted(bars: pl.DataFrame, **sources: pl.DataFrame) -> pl.DataFrame:
        given: dict[str, Any] = {name: frame.to_pandas() for name, frame in sources.items()}
        output = called(extract, bars.to_pandas(), given)
        if isinstance(output, pl.DataFrame):
            return output
        frame = cast(pl.DataFrame, pl.from_pandas(output))
        return frame.with_columns(pl.col("session").cast(bars.schema["session"]))

    return converted


def called(function: Callable[..., Any], bars: Any, sources: Mapping[str, Any]) -> Any:
    """Call a function on bars and sources as `audit_features` says; what it puts off is done.

    Args:
        function: the extractor.
        bars: it is shown.
        sources: by name.

    Raises:
        AuditInputError: it takes some of the sources by name and others not, or nothing but bars.
    """
    if not sources:
        output = function(bars)
    elif takes(function, list(sources)):
        output = function(bars, **sources)
    else:
        _check_takes_a_dict(function, list(sources))
        output = function(bars, sources)
    return output.collect() if isinstance(output, pl.LazyFrame) else output


def takes(function: Callable[..., Any], names: list[str]) -> bool:
    """Return whether a callable takes all these names as keywords."""
    parameters = _beside_bars(function)
    if parameters is None:
        return False
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return True
    return set(names) <= _keywords(parameters)


def _beside_bars(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Parameters after the first; None where they cannot be told."""
    try:
        return list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return None


def _keywords(parameters: list[inspect.Parameter]) -> set[str]:
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _check_takes_a_dict(function: Callable[..., Any], names: list[str]) -> None:
    """Refuse to hand all sources to a parameter that is meant for one of them, or to a function without any."""
    parameters = _beside_bars(function)
    if parameters is None:
        return
    taken = [n for n in names if n in _keywords(parameters)]
    others = ", ".join(n for n in names if n not in taken)
    if taken:
        raise AuditInputError(
            f"the extractor takes the source {', '.join(taken)} by name and not {others}; let it take all of them by "
            "name, or one dict, or leave out what it does not read"
        )
    if not any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        raise AuditInputError(
            f"the extractor takes bars alone, and the sources {others} are given; let it take them by name or as a "
            "dict, or leave them out"
        )
