from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from rich.console import Console

from trademl_pipeline.certificates.certificate import content_of
from trademl_pipeline.certificates.verification import (
    Comparison,
    Verification,
    compare_code,
    compare_contents,
    compare_digest,
    compare_values,
)
from trademl_pipeline_tests.leakage.certificates import CODE, made

ROWS = pl.DataFrame(
    {
        "symbol": ["A", "B"],
        "session": [date(2014, 3, 3)] * 2,
        "score": [0.1, None],
        "target": [1, 2],
    }
)


@pytest.mark.parametrize(
    ("again", "outcome", "said"),
    [
        (ROWS.reverse(), "same", "2 rows"),
        (ROWS.with_columns(pl.col("score") + 1e-9), "close", "1e-09"),
        (
            ROWS.with_columns(pl.col("score") + 1e-3),
            "differs",
            "score differs in 1 rows, first A 2014-03-03: 0.1",
        ),
        (ROWS.with_columns(score=pl.lit(0.1)), "differs", "first B 2014-03-03: nan published"),
        (ROWS.with_columns(target=pl.lit(1)), "differs", "target differs in 1 rows"),
        (ROWS.head(1), "differs", "1 published rows are not made again"),
        (pl.concat([ROWS, ROWS.head(1).with_columns(symbol=pl.lit("C"))]), "differs", "1 rows are new"),
    ],
)
def test_predictions_are_compared_by_row_and_value(again, outcome, said):
    found = compare_values(ROWS, again)
    assert found.outcome == outcome
    assert said in found.finding


def test_digests_and_contents_name_what_differs():
    assert compare_digest("x", "ab" * 8, "ab" * 8).outcome == "same"
    assert compare_digest("x", "ab" * 8, "cd" * 8).outcome == "differs"
    one, other = content_of({"2014-01-01": "a"}), content_of({"2014-01-01": "b"})
    assert compare_contents("data", {"f": one}, {"f": one}).outcome == "same"
    assert "f: was" in compare_contents("data", {"f": one}, {"f": other}).finding
    assert "missing" in compare_contents("data", {"f": one}, {}).finding


def test_other_code_is_a_note_and_no_failure():
    assert compare_code(CODE, CODE).outcome == "same"
    found = compare_code(CODE, replace(CODE, source="ff" * 32, libraries={"polars": "2.2.0"}))
    assert found.outcome == "note"
    assert "polars was 2.1.0, is 2.2.0" in found.finding


@pytest.mark.parametrize(
    ("outcomes", "holds", "said"),
    [
        (("same", "note"), True, "HOLDS  rebuilt, the same to the last bit"),
        (("same", "close"), True, "HOLDS  rebuilt, the same within rounding"),
        (("same", "differs"), False, "DIFFERS  b"),
    ],
)
def test_the_verdict(outcomes, holds, said):
    comparisons = tuple(Comparison(n, o, "x") for n, o in zip("ab", outcomes, strict=True))
    result = Verification(made(), "rebuilt", comparisons)
    assert (result.holds, result.exit_code) == (holds, int(not holds))
    assert result.headline() == said
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result.render())
    assert said in console.export_text()
    assert result.to_plain()["holds"] is holds
