import functools

import pandas as pd
import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_features
from trademl_pipeline.leakage.feature_audit.loading import called
from trademl_pipeline_tests.leakage.panels import bars

BARS = bars(3, 24, gaps=False)
LEVELS = BARS.select("session").unique().sort("session").with_columns(level=pl.int_range(pl.len()) + 1.0)
SOURCES = {"index": LEVELS, "rates": LEVELS}


def joined(frame, index):
    if isinstance(frame, pd.DataFrame):
        return frame[["symbol", "session"]].merge(index, on="session", how="left")
    return frame.select("symbol", "session").join(index, on="session", how="left")


WAYS = {
    "by name": lambda frame, index, rates: joined(frame, index),
    "keywords alone": lambda frame, *, rates, index: joined(frame, index),
    "any keywords": lambda frame, **given: joined(frame, given["index"]),
    "a dict": lambda frame, given: joined(frame, given["index"]),
    "a dict by position": lambda frame, given, /: joined(frame, given["index"]),
    "a dict with a default": lambda frame, given=None: joined(frame, (given or {})["index"]),
    "bound beforehand": functools.partial(lambda n, frame, index, rates: joined(frame, index), 3),
}


@pytest.mark.parametrize("pandas", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_an_extractor_gets_its_sources_as_it_takes_them(way, pandas):
    audit_features(
        WAYS[way], BARS, sources=SOURCES, probes=["truncation"], cutoffs=2, pandas=pandas
    ).assert_clean()


@pytest.mark.parametrize("pandas", [False, True])
def test_frames_are_of_the_kind_that_was_asked_for(pandas):
    def extract(frame, given):
        assert isinstance(frame, pd.DataFrame) is pandas
        assert type(given["index"]) is type(frame)
        return joined(frame, given["index"])

    audit_features(extract, BARS, sources=SOURCES, probes=["truncation"], cutoffs=2, pandas=pandas)


@pytest.mark.parametrize("pandas", [False, True])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda frame, index: joined(frame, index), "takes the source index by name and not rates"),
        (lambda frame: frame, "takes bars alone, and the sources index, rates are given"),
        (lambda frame, *, window=3: frame, "takes bars alone"),
    ],
)
def test_sources_that_an_extractor_does_not_take_are_an_error(function, message, pandas):
    with pytest.raises(AuditInputError, match=message):
        audit_features(function, BARS, sources=SOURCES, probes=["truncation"], cutoffs=2, pandas=pandas)


def test_what_is_put_off_is_done():
    assert called(lambda frame: frame.lazy(), BARS, {}).equals(BARS)
