"""Settings are read from a clean environment."""

import os
from pathlib import Path

import pytest

from trademl_pipeline.settings import layers


@pytest.fixture(autouse=True)
def nothing_exported(monkeypatch: pytest.MonkeyPatch):
    """No variable of the caller's counts, and every warning comes anew."""
    for name in os.environ:
        if name.startswith(("TRADEML_", "APCA_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(layers, "_warned", set())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a data set, named by the environment."""
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    return tmp_path
