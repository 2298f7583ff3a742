"""Layers of values, each value with its origin: flags, the environment, `trademl.yaml`, defaults.

A layer is a nested mapping beside the origin of each key in it; pydantic-settings merges the layers and validates what
comes out.
"""

import json
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trademl_pipeline.settings.errors import SettingsError
from trademl_pipeline.settings.model import fields, keys, path_keys, secret_keys
from trademl_pipeline.settings.names import (
    NESTED,
    OLD_VARIABLES,
    PREFIX,
    SECRET_VARIABLES,
    flag,
    variable,
)
from trademl_pipeline.settings.origins import Layer, Origin


def from_flags(overrides: Mapping[str, Any]) -> Layer:
    """Return what the flags of a command say, by key; None is not said.

    Raises:
        SettingsError: there is no such key.
    """
    for key in overrides:
        require_key(key, "a flag")
    values = {key: _absolute(key, value, Path.cwd()) for key, value in overrides.items() if value is not None}
    return Layer(values, {key: Origin("flag", flag(key)) for key in values})


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say something about settings; an empty one says nothing."""
    return {
        name: value
        for name, value in environ.items()
        if value and (name in OLD_VARIABLES or name in SECRET_VARIABLES or _is_new(name))
    }


def _is_new(name: str) -> bool:
    return name.startswith(PREFIX) and NESTED in name


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Return what variables say; one of an earlier version warns, and gives way to the new one.

    Raises:
        SettingsError: a variable with a section names no key, or holds what cannot be read.
    """
    types = {key: declared.annotation for key, declared in fields()}
    by_variable = {variable(key): key for key in keys()}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    variables = relevant(environ)
    for name in sorted(variables, key=_is_new):
        key = OLD_VARIABLES.get(name) or SECRET_VARIABLES.get(name) or by_variable.get(name)
        if key is None:
            near = get_close_matches(name, by_variable, n=1)
            raise SettingsError(
                f"there is no setting for the variable {name}{f'; did you mean {near[0]}?' if near else ''}"
            )
        if name in OLD_VARIABLES:
            warn_old(name)
        value: Any = variables[name]
        if types[key] in (dict[str, str], dict[str, Any]):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise SettingsError(
                    f'{name} is not JSON ({error}); write e.g. {{"close": "Close"}}'
                ) from error
        values[key] = _absolute(key, value, Path.cwd())
        origins[key] = Origin("environment", name)
    return Layer(values, origins)


_warned: set[str] = set()


def warn_old(name: str) -> None:
    """Say once a process what a variable of an earlier version is now."""
    if name in _warned:
        return
    _warned.add(name)
    key = OLD_VARIABLES[name]
    section, short = key.split(".")
    warnings.warn(
        f"{name} still works, but is now `{short}` under `{section}` in trademl.yaml, or the variable {variable(key)}",
        FutureWarning,
        stacklevel=2,
    )


def from_file(path: Path) -> Layer:
    """Return what a `trademl.yaml` says; an absent one says nothing.

    Raises:
        SettingsError: it is empty, damaged, names what there is not, or holds a secret.
    """
    from trademl_pipeline.settings.files import read

    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for key, (value, line) in read(path).items():
        require_key(key, f"{path}:{line}")
        if key in secret_keys():
            raise SettingsError(
                f"{path}:{line}: {key} is a secret and has no place in a file; export {variable(key)} instead"
            )
        if value is not None:
            values[key] = _absolute(key, value, path.parent)
            origins[key] = Origin("file", f"{path}:{line}")
    return Layer(values, origins)


def require_key(key: str, where: str) -> None:
    """Raise where there is no such key, and name the nearest.

    Raises:
        SettingsError: there is none.
    """
    known = keys()
    if key in known:
        return
    sections = dict.fromkeys(k.split(".")[0] for k in known)
    near = get_close_matches(key, known if "." in key else sections, n=1, cutoff=0.4)
    raise SettingsError(
        f"{where}: there is no setting {key}; "
        + (f"did you mean {near[0]}?" if near else f"the sections are {', '.join(sections)}")
    )


def _absolute(key: str, value: Any, base: Path) -> Any:
    """A path as seen from a folder; all else as it is."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value:
        return value
    if key in path_keys():
        return str((base / Path(value).expanduser()).resolve())
    # A universe is a name, or a file of symbols.
    if key in ("universe.name", "references.index_universe") and (base / value).is_file():
        return str((base / value).resolve())
    return value
