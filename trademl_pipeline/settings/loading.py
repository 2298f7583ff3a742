"""From flags, environment and file to settings, and from settings to the environment of other processes."""

import json
import os
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trademl_pipeline.settings.errors import SettingsError
from trademl_pipeline.settings.files import FILE
from trademl_pipeline.settings.layers import (
    from_environment,
    from_file,
    from_flags,
    relevant,
    require_key,
)
from trademl_pipeline.settings.model import ROOT, Settings, fields, hidden, keys, secret_keys
from trademl_pipeline.settings.names import HOME_VARIABLE, OLD_VARIABLES, SECRET_VARIABLES, variable
from trademl_pipeline.settings.origins import Layer, Origin, layered

DEFAULT_HOME = ROOT / "data" / "simulated"
# What a folder was made with holds for all that is in it; flags may not say otherwise than these and the rest.
_IDENTITY = ("data.source", "data.path", "data.columns", "data.calendar")
_IDENTITY_OF_FLAGS = (*_IDENTITY, "data.symbols", "universe.name", "references.path")
_CALLED = {"data.source": "bars of source", "data.path": "the bars in", "data.calendar": "the calendar"}


def named_home(environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder that the environment names, if it does."""
    named = (os.environ if environ is None else environ).get(HOME_VARIABLE)
    return Path(named).resolve() if named else None


def home_of(environ: Mapping[str, str] | None = None) -> Path:
    """The folder that the environment names, or the demo's."""
    return named_home(environ) or DEFAULT_HOME.resolve()


def load(
    home: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    planned: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of the data set in a folder.

    Args:
        home: the folder; None: the one that the environment names.
        overrides: what flags say, by key such as `training.size`; None is not said.
        environ: variables; None: those of this process.
        planned: what the file of a new data set will say, by key; taken for what a file says.

    Raises:
        SettingsError: a value cannot be understood, or contradicts what the folder was made with.
    """
    environ = os.environ if environ is None else environ
    home = (home or home_of(environ)).resolve()
    layers = from_flags(overrides or {}), from_environment(environ), _file(home, planned)
    _agree(home, *layers)
    origins = {key: Origin("default") for key in keys()}
    for layer in reversed(layers):
        origins |= layer.origins
    with layered(*layers):
        try:
            settings = Settings(home=home)
        except ValidationError as error:
            raise SettingsError(_explained(error, origins)) from None
    _no_passwords(settings, origins)
    settings._origins.update(origins)
    return settings


def _file(home: Path, planned: Mapping[str, Any] | None) -> Layer:
    if planned is None:
        return from_file(home / FILE)
    values = {key: value for key, value in planned.items() if value}
    return Layer(values, dict.fromkeys(values, Origin("file", str(home / FILE))))


def _explained(error: ValidationError, origins: Mapping[str, Origin]) -> str:
    """Every value that does not do, where it was said, and why, on one line."""
    problems = []
    for one in error.errors(include_url=False):
        key = ".".join(str(part) for part in one["loc"][:2])
        where = origins.get(key, Origin("default"))
        reason = one["msg"].removeprefix("Value error, ").replace("Input should", "should")
        shown = "" if key in secret_keys() else f" {hidden(repr(one['input']))}"
        problems.append(f"{where.where or where.kind}: {key}{shown} {reason}")
    return "; ".join(problems)


def _agree(home: Path, flags: Layer, environment: Layer, file: Layer) -> None:
    """Raise where flags or variables say another data set than the folder holds."""
    says_what_the_bars_are = any(key.startswith("data.") for key in file.values)
    for layer, strict in ((flags, _IDENTITY_OF_FLAGS), (environment, _IDENTITY)):
        for key in strict:
            if key not in layer.values or not says_what_the_bars_are:
                continue
            given, recorded = layer.values[key], file.values.get(key, _unsaid(key))
            # Where the file leaves the calendar out, the bars tell it.
            if _same(given, recorded) or (key == "data.calendar" and not recorded):
                continue
            name = layer.origins[key].where
            raise SettingsError(
                f"{home} was made {_with(key, recorded)}, but {name} is {_plain(given)}: give another --home, or leave "
                f"{name} out"
            )


def _unsaid(key: str) -> Any:
    """The value of a key that a file does not say."""
    return dict(fields())[key].get_default(call_default_factory=True)


def _with(key: str, recorded: Any) -> str:
    if not recorded:
        return f"without {key}"
    return f"{'on' if key == 'data.calendar' else 'with'} {_CALLED.get(key, key)} {_plain(recorded)}"


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping | list) else str(value)


def _same(given: Any, recorded: Any) -> bool:
    if isinstance(given, Mapping) or isinstance(recorded, Mapping):
        return (given or {}) == (recorded or {})
    return _plain(given) == (",".join(recorded) if isinstance(recorded, list) else _plain(recorded))


def _no_passwords(settings: Settings, origins: Mapping[str, Origin]) -> None:
    for key in ("lake.catalog", "tracking.uri"):
        value = settings.value(key)
        if origins[key].kind == "file" and hidden(value) != value:
            raise SettingsError(
                f"{origins[key].where}: {key} holds a password, which has no place in a file; export {variable(key)} "
                "instead"
            )


def current() -> Settings:
    """The settings of this process, as its environment and the file in the folder are now.

    Raises:
        SettingsError: see `load`.
    """
    variables = relevant(os.environ)
    home = home_of()
    try:
        file = (home / FILE).stat()
        signature = (file.st_mtime_ns, file.st_size, file.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        signature = None
    return _loaded(home, tuple(sorted(variables.items())), signature, str(Path.cwd()))


@lru_cache(maxsize=8)
def _loaded(home: Path, variables: tuple[tuple[str, str], ...], signature: Any, folder: str) -> Settings:
    # A changed file or another folder, from which relative paths are seen, is another call.
    return load(home, environ=dict(variables))


def origin(name: str, settings: Settings | None = None) -> Origin:
    """Return where the value of a key, such as `training.size`, was said.

    Raises:
        SettingsError: there is no such key.
    """
    require_key(name, "origin")
    return (settings or current())._origins[name]


def variables() -> MutableMapping[str, str]:
    """Return the variables of this process, by which code under audit might keep something between calls."""
    return os.environ


def environment(settings: Settings) -> dict[str, str]:
    """The environment of processes that work on a data set: what this one has, and what is said beside the file.

    Args:
        settings: of the data set; what flags said of them is said by variables.

    Returns:
        All variables of this process but those of earlier versions; the folder, Dagster's, and every value of a flag or
        a variable that the file does not hold.
    """
    recorded = from_file(settings.home / FILE).values
    passed = {name: value for name, value in os.environ.items() if name not in OLD_VARIABLES}
    stated = {
        variable(key): _text(settings.value(key))
        for key in keys()
        if settings._origins[key].kind in ("flag", "environment")
        and key not in secret_keys()
        and not (key in recorded and _same(settings.value(key), recorded[key]))
    }
    return {
        **passed,
        **stated,
        HOME_VARIABLE: str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # Threads that spin while they wait for one another starve whatever else runs on the machine.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }


def is_secret(name: str, value: str) -> bool:
    """True for a variable that holds a secret, or an address with a password in it."""
    return name in SECRET_VARIABLES or hidden(value) != value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def apply(settings: Settings) -> None:
    """Have this process, and those it starts, see the settings as `current()`."""
    os.environ.update(environment(settings))
