import functools

import polars as pl
import pytest

from trademl_pipeline.features import FEATURES
from trademl_pipeline.features.declared_at import declared_at
from trademl_pipeline.leakage.feature_audit.origins import function_origin
from trademl_pipeline.settings import ROOT

HERE = "trademl_pipeline_tests/leakage/feature_audit/test_origins.py"


def extract(frame: pl.DataFrame) -> pl.DataFrame:
    twice = pl.col("close").alias("twice")
    return frame.select("symbol", "session", twice.alias("twice"), gap=pl.col("close"))


class Scaled:
    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return extract(frame)


def line(text: str) -> int:
    source = (ROOT / HERE).read_text().splitlines()
    return next(i for i, found in enumerate(source, 1) if text in found)


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("function", [extract, functools.partial(extract)], ids=["function", "partial"])
def test_the_line_on_which_a_column_is_named_is_the_one_to_mend(function):
    assert function_origin(function, "gap") == f"{HERE}:{line('gap=pl.col')}"


def test_a_column_that_is_named_nowhere_or_twice_leads_to_the_function():
    for column in ("nowhere", "twice"):
        assert function_origin(extract, column) == f"{HERE}:{line('def extract')}"


def test_an_object_leads_to_what_is_called():
    assert function_origin(Scaled(), "nowhere") == f"{HERE}:{line('def __call__')}"


def test_what_has_no_source_has_no_line():
    assert function_origin(len, "gap") == ""


def test_every_feature_leads_to_the_call_that_declares_it():
    for name in FEATURES:
        file, _, number = declared_at(name).partition(":")
        source = (ROOT / file).read_text().splitlines()
        assert number, name
        assert 0 < int(number) <= len(source)
    file, _, number = declared_at("gap").partition(":")
    declaration = "".join((ROOT / file).read_text().splitlines()[int(number) - 1 : int(number) + 2])
    assert "Feature(" in declaration
    assert '"gap"' in declaration


def test_no_feature_has_no_line():
    assert declared_at("nowhere") == ""
