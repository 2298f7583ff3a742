"""What a run may ask of training: symbols by name or by number, a size of the study."""

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.train import TrainOptions, symbols_of
from trademl_pipeline.studies import STUDIES
from trademl_pipeline_tests.past_the_gate import give

STUDY, MONTH, NEXT = STUDIES["direction"], "2013-05-01", "2013-06-01"


@pytest.fixture
def published(lake: Lake) -> Lake:
    """A lake with a window of each of five symbols."""
    day = month_sessions(MONTH)[0]
    known = pl.lit(day).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"symbol": ["A", "B", "C", "D", "E"], "session": [day] * 5}).with_columns(
        window_start=pl.col("session"), n_valid=pl.lit(1, pl.Int32), decision_time=known, knowledge_time=known
    )
    give(lake, (STUDY.windows, rows, MONTH))
    return lake


def test_a_number_of_symbols_is_drawn_by_name_alone(published: Lake):
    snapshot = published.snapshot()
    three = symbols_of(published, STUDY, "3", NEXT, snapshot)
    assert len(three) == 3
    assert three < symbols_of(published, STUDY, "4", NEXT, snapshot) < set("ABCDE")
    assert symbols_of(published, STUDY, " A, E ", NEXT, snapshot) == {"A", "E"}
    assert symbols_of(published, STUDY, "", NEXT, snapshot) == frozenset()


def test_a_size_that_the_study_has_not_is_named() -> None:
    assert TrainOptions().preset_of(STUDY) == STUDY.presets[0]
    with pytest.raises(
        StepError, match=f"{STUDY.name} has no preset 'huge'; it has {', '.join(STUDY.presets)}"
    ):
        TrainOptions(size="huge").preset_of(STUDY)
