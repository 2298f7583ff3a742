"""The ledger of looks: it loses none, counts none twice, and says where some may be missing."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.certificates.certificate import KnownTries
from trademl_pipeline.evaluation.tries import ESTIMATOR, REPORT, Look, session_rows
from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.tables import qualified
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.pipeline.tries import (
    known_tries,
    missing_records,
    record_scored,
    scored_on_record,
    tries_of,
)
from trademl_pipeline.studies import DIRECTION
from trademl_pipeline.tables import TRIES, certificate_table
from trademl_pipeline.training.trials import COMPLETE, Trial, TrialLedger
from trademl_pipeline_tests.leakage.certificates import made
from trademl_pipeline_tests.past_the_gate import change_beneath

RUN = RunInfo("a run", datetime(2026, 1, 2, tzinfo=UTC), logging.getLogger(__name__))
MONTHS = ["2014-02-01", "2014-03-01"]
LABELS = DIRECTION.labels.name


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(LakeConfig.local(tmp_path / "lake"))


def look(value: float, **more) -> Look:
    frame = pl.DataFrame(
        {
            "symbol": ["A", "B"] * 2,
            "session": [date(2014, 2, 27)] * 2 + [date(2014, 3, 3)] * 2,
            "score": [value, 0.5, 0.25, value],
        }
    )
    return Look(
        "direction", model="", rows=session_rows(frame), **{"purpose": REPORT, "settings": "{}", **more}
    )


def certificate(recorded: int, form: int = 3) -> str:
    return replace(made(), tries=KnownTries(0, 0, recorded), format=form).to_json()


def certified(lake: Lake, month: str, *texts: str) -> None:
    table = certificate_table("direction")
    rows = [
        {
            "fold": month,
            "digest": f"{month} {number}",
            "passed": True,
            "data_snapshot": 1,
            "training_snapshot": 1,
            "certificate": text,
            "run_id": "a run",
            "recorded_at": RUN.recorded_at,
        }
        for number, text in enumerate(texts)
    ]
    lake.publish(table, pl.DataFrame(rows, schema=table.polars_schema), month)


def counted(lake: Lake, tmp_path: Path, value: float):
    return tries_of(lake, Artifacts(tmp_path), DIRECTION, [look(value)], MONTHS)


def test_a_look_is_written_down_once_and_read_as_it_was(lake: Lake) -> None:
    evaluated = look(1.0, runs=frozenset({"r1", "r2"}), setup="seed 1")
    beside = look(2.0, purpose=ESTIMATOR, settings="", within=evaluated.digest)
    for _ in range(2):
        record_scored(lake, DIRECTION, RUN, MONTHS[1], [evaluated, beside])
    ledger = lake.read(TRIES)
    assert ledger["number"].to_list() == [1, 2, 3, 4], "two looks of two months"
    assert set(ledger["month"]) == set(MONTHS)
    kept = scored_on_record(lake, LABELS).scored_sets
    assert [replace(one, setup="") for one in kept] == [replace(evaluated, setup=""), beside]
    assert [one.digest for one in kept] == [evaluated.digest, beside.digest]


def test_writers_at_the_same_time_lose_nothing_and_repeat_nothing(lake: Lake, tmp_path: Path) -> None:
    def write(value: int) -> None:
        with Lake(LakeConfig.local(tmp_path / "lake")) as another:
            record_scored(another, DIRECTION, RUN, MONTHS[1], [look(float(value % 3))])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert lake.read(TRIES)["number"].to_list() == list(range(1, 7)), "three looks of two months"
    assert counted(lake, tmp_path, 0.0).tries == 3


def test_without_a_ledger_there_are_no_looks(lake: Lake, tmp_path: Path) -> None:
    assert scored_on_record(lake, LABELS).scored_sets == ()
    assert known_tries(lake, DIRECTION, look_frame()).tries == 0
    assert counted(lake, tmp_path, 1.0).tries == 1


def look_frame() -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["A"], "session": [date(2014, 2, 27)]})


def test_looks_at_other_outcomes_do_not_count_and_those_of_other_studies_at_the_same_do(
    lake: Lake, tmp_path: Path
) -> None:
    from trademl_pipeline.studies import STUDIES

    record_scored(lake, STUDIES["breakout"], RUN, MONTHS[1], [look(2.0)])
    assert counted(lake, tmp_path, 1.0).tries == 1
    record_scored(lake, DIRECTION, RUN, MONTHS[1], [replace(look(3.0), study="direction_of_mine")])
    assert counted(lake, tmp_path, 1.0).tries == 2
    assert known_tries(lake, DIRECTION, look_frame()) == known_tries(lake, DIRECTION, look_frame())
    assert known_tries(lake, DIRECTION, look_frame()).recorded == 4


def test_a_search_that_is_made_again_tries_nothing_new(lake: Lake, tmp_path: Path) -> None:
    searches = TrialLedger(Artifacts(tmp_path).trials)
    for _ in range(2):
        for number in range(3):
            trial = Trial("direction/lightgbm", MONTHS[0], number, COMPLETE, 0.5, 1.0, {"leaves": number})
            searches.add(trial)
    tries = counted(lake, tmp_path, 1.0)
    assert (tries.searched, tries.scored, tries.trials) == (3, 1, 4)


def test_certificates_of_before_the_ledger_tell_that_looks_may_be_missing(lake: Lake) -> None:
    record = scored_on_record(lake, LABELS)
    assert "2014-02 to 2014-03 were published before" in missing_records(lake, "direction", MONTHS, record)[0]
    now = certificate(0)
    certified(lake, MONTHS[0], now)
    certified(lake, MONTHS[1], certificate(0, form=2), now)
    (why,) = missing_records(lake, "direction", MONTHS, record)
    assert why.startswith("predictions of 2014-03 were published before"), (
        "published anew, and looked at before"
    )
    certified(lake, MONTHS[1], now)
    assert missing_records(lake, "direction", MONTHS, record) == []


def test_a_certificate_that_cannot_be_read_tells_of_no_tries(lake: Lake) -> None:
    certified(lake, MONTHS[0], certificate(0))
    certified(lake, MONTHS[1], certificate(0), "nonsense")
    (why,) = missing_records(lake, "direction", MONTHS, scored_on_record(lake, LABELS))
    assert why.startswith("a certificate of 2014-03 cannot be read")


def test_rows_that_were_taken_from_the_ledger_are_missed(lake: Lake, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        record_scored(lake, DIRECTION, RUN, MONTHS[1], [look(value)])
    whole = lake.read(TRIES)
    with Lake(LakeConfig.local(tmp_path / "another")) as another:
        another.append(TRIES, whole.filter(pl.col("number") != 2))
        (_, why) = missing_records(another, "direction", MONTHS, scored_on_record(another, LABELS))
        assert why == "1 rows were taken from the ledger of looks (tries)"
    # The last ones leave no gap, but certificates remember how many there were.
    with Lake(LakeConfig.local(tmp_path / "a third")) as third:
        third.append(TRIES, whole.head(2))
        for month in MONTHS:
            certified(third, month, certificate(4))
        (why,) = missing_records(third, "direction", MONTHS, scored_on_record(third, LABELS))
        assert why == "2 rows were taken from the ledger of looks (tries)"
        tries = counted(third, tmp_path, 1.0)
        assert (tries.complete, tries.missing) == (False, why)


def test_the_lake_remembers_rows_that_were_deleted_beneath_it(lake: Lake) -> None:
    for month in MONTHS:
        certified(lake, month, certificate(0))
    record_scored(lake, DIRECTION, RUN, MONTHS[1], [look(1.0), look(2.0)])
    assert missing_records(lake, "direction", MONTHS, scored_on_record(lake, LABELS)) == []
    change_beneath(lake, f"DELETE FROM {qualified(TRIES.name)} WHERE number > 2")
    (why,) = missing_records(lake, "direction", MONTHS, scored_on_record(lake, LABELS))
    assert why == "2 rows were taken from the ledger of looks (tries)"
