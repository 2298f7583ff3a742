"""The settings of a data set, typed and with their origin; nothing else reads the environment.

A value is looked for in the flags of the command, in the environment, in the `trademl.yaml` of the data set's folder,
and is its default otherwise.
"""

from trademl_pipeline.settings.errors import SettingsError
from trademl_pipeline.settings.files import FILE
from trademl_pipeline.settings.loading import (
    DEFAULT_HOME,
    apply,
    current,
    environment,
    home_of,
    is_secret,
    load,
    named_home,
    origin,
    variables,
)
from trademl_pipeline.settings.model import (
    DEFAULT_CALENDAR,
    ROOT,
    SOURCES,
    VENDORS,
    Costs,
    Settings,
    describe,
    hidden,
    keys,
)
from trademl_pipeline.settings.origins import Origin

__all__ = [
    "DEFAULT_CALENDAR",
    "DEFAULT_HOME",
    "FILE",
    "ROOT",
    "SOURCES",
    "VENDORS",
    "Costs",
    "Origin",
    "Settings",
    "SettingsError",
    "apply",
    "current",
    "describe",
    "environment",
    "hidden",
    "home_of",
    "is_secret",
    "keys",
    "load",
    "named_home",
    "origin",
    "variables",
]
