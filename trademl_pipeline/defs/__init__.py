"""Dagster definitions: thin assets, checks, partitions, resources, jobs, schedules and sensors.

A stage is a folder. A module that defines something has a function `definitions`, and is found by walking the folders.
"""

import importlib
import pkgutil
import warnings

import dagster as dg

# Partitioned checks, backfill policies and mappings beyond the first partition are previews in the pinned Dagster; its
# warnings about them would bury a user's own.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
# The two names of "all months in one run" (see partitions.py) meet in a study's jobs.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")


def build_definitions() -> dg.Definitions:
    """Return everything of the code location: what `definitions()` of each module below this folder returns."""
    parts: list[dg.Definitions] = []
    for module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
        make = getattr(importlib.import_module(module.name), "definitions", None)
        if make is not None:
            parts.append(make())
    return dg.Definitions.merge(*parts)
