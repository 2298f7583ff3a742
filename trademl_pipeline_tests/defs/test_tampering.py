"""Whatever is changed by hand after a run is named by the commands that a user has, and nothing else is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline.certificates.certificate import CertificateError
from trademl_pipeline.certificates.stored import certificate_in_force
from trademl_pipeline.cli import app
from trademl_pipeline.lake import TableSchema
from trademl_pipeline.pipeline.models import LEDGER_FILE
from trademl_pipeline.pipeline.report import report_inputs
from trademl_pipeline.portfolio.long_short import LongShort
from trademl_pipeline.reports import portfolios
from trademl_pipeline.reports.gate_results import gate_results
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import (
    AUDITS,
    RAW_BARS,
    REFERENCE_BARS,
    SECTORS,
    UNIVERSE_MEMBERS,
    certificate_table,
    quality_table,
)
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.defs.failures import failure
from trademl_pipeline_tests.past_the_gate import change_beneath, write_past_the_gate

pytestmark = pytest.mark.slow

MONTH = LAST[:7]
NOT_AUDITED = 1
IMPOSSIBLE = 2


def command(workplace: Workplace, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--home", str(workplace.home)], env={"COLUMNS": "400"})
    # A table is as wide as the terminal, and goes on in the next line of its frame.
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@dataclass(frozen=True)
class Tampering:
    """One change by hand.

    Attributes:
        change: makes it, and takes it back afterwards.
        verify: what `trademl verify --quick` says of it, beginning with its verdict.
        check: what `trademl check --lake` says; empty: that the lake is what the gate audited, as it is.
        report: table and month that the report shows as refused; none of a change that the lake does not hold.
    """

    change: Callable[[Workplace, StudySpec], Generator[None]]
    verify: tuple[str, ...]
    check: str = ""

    @property
    def report(self) -> list[tuple[str, str]]:
        return [(self.check.split()[2], f"{self.check.split()[3][:7]}-01")] if self.check else []


def of_table(
    table: Callable[[StudySpec], TableSchema], changed: Callable[[pl.DataFrame], pl.DataFrame]
) -> Callable[[Workplace, StudySpec], Generator[None]]:
    """A change of rows of the last month of a table, which its snapshot owns up to."""

    def change(workplace: Workplace, study: StudySpec) -> Generator[None]:
        lake, schema = workplace.lake(), table(study)
        honest = lake.read(schema, months=[LAST])
        tampered = changed(honest)
        assert not tampered.equals(honest)
        write_past_the_gate(lake, schema, tampered, LAST)
        yield
        write_past_the_gate(lake, schema, honest, LAST)

    return change


def of_file(path: Callable[[Workplace], Path]) -> Callable[[Workplace, StudySpec], Generator[None]]:
    """A change of a file beside the lake."""

    def change(workplace: Workplace, study: StudySpec) -> Generator[None]:
        file = path(workplace)
        honest = file.read_bytes()
        changed = (
            pl.read_parquet(file).with_columns(pl.col("n_rows") + 1) if file.suffix == ".parquet" else None
        )
        if changed is None:
            file.write_bytes(honest + b" ")
        else:
            changed.write_parquet(file)
        yield
        file.write_bytes(honest)

    return change


def first_row(column: str, value: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A change of one value."""
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(pl.col(column)).alias(column)
    )


def another_member(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.head(1).with_columns(pl.lit("ZZZ").alias("symbol"))])


def artifact(workplace: Workplace) -> Path:
    return workplace.home / certificate_in_force(workplace.lake(), "direction", LAST).model.artifact


def of_another_content(workplace: Workplace, study: StudySpec) -> Generator[None]:
    """An audit row that says that another content passed."""
    lake = workplace.lake()
    table, month = study.features.name, LAST
    where = f"table_name = '{table}' AND month = '{month}'"
    honest = lake.data_version(study.features, month)
    change_beneath(lake, f"UPDATE {AUDITS.name} SET content = 'another' WHERE {where}")
    yield
    change_beneath(lake, f"UPDATE {AUDITS.name} SET content = '{honest}' WHERE {where}")


def taken_away(workplace: Workplace, study: StudySpec) -> Generator[None]:
    """The rows of a month, all of them."""
    lake = workplace.lake()
    honest = lake.read(study.labels, months=["2014-02-01"])
    write_past_the_gate(lake, study.labels, honest.clear(), "2014-02-01")
    yield
    write_past_the_gate(lake, study.labels, honest, "2014-02-01")


def behind(table: str, month: str = MONTH) -> tuple[str, ...]:
    return ("DIFFERS what lies behind", f"{table} {month}: no audit passed what the lake holds")


def checked(table: str) -> str:
    return f"NOT AUDITED {table} {MONTH}: no audit passed what the lake holds"


TAMPERINGS = {
    "a raw close": Tampering(
        of_table(lambda s: RAW_BARS, first_row("close", pl.col("close") * 1.01)),
        behind("raw_bars"),
        checked("raw_bars"),
    ),
    "a reference close": Tampering(
        of_table(lambda s: REFERENCE_BARS, first_row("close", pl.col("close") * 1.01)),
        behind("reference_bars"),
        checked("reference_bars"),
    ),
    "a sector": Tampering(
        of_table(lambda s: SECTORS, first_row("sector", pl.lit("XXX"))), behind("sectors"), checked("sectors")
    ),
    "a quality verdict": Tampering(
        of_table(lambda s: quality_table("raw_bars"), first_row("passed", ~pl.col("passed"))),
        behind("bar_quality"),
        checked("bar_quality"),
    ),
    "a quality verdict of references": Tampering(
        of_table(lambda s: quality_table("reference_bars"), first_row("passed", ~pl.col("passed"))),
        behind("reference_quality"),
        checked("reference_quality"),
    ),
    "a member added": Tampering(
        of_table(lambda s: UNIVERSE_MEMBERS, another_member),
        behind("universe_members"),
        checked("universe_members"),
    ),
    "a feature": Tampering(
        of_table(lambda s: s.features, first_row("gap", pl.col("gap") + 0.01)),
        behind("features_indicators"),
        checked("features_indicators"),
    ),
    "a label": Tampering(
        of_table(lambda s: s.labels, first_row("forward_return", -pl.col("forward_return"))),
        behind("labels_direction"),
        checked("labels_direction"),
    ),
    "a month of labels taken away": Tampering(
        taken_away,
        ("cannot be verified: MissingMonthsError", "labels_direction", "not published: 2014-02"),
        "NOT AUDITED labels_direction 2014-02: an audit passed rows of it and the lake holds none now",
    ),
    "a window": Tampering(
        of_table(lambda s: s.windows, first_row("n_valid", pl.col("n_valid") - 1)),
        behind("sequences_direction"),
        checked("sequences_direction"),
    ),
    "the record of a model": Tampering(
        of_table(lambda s: s.models, first_row("artifact_sha256", pl.lit("0" * 64))),
        behind("model_direction"),
        checked("model_direction"),
    ),
    "the file of a model": Tampering(
        of_file(artifact), ("cannot be verified:", "is not the one that was published")
    ),
    "the fit ledger": Tampering(
        of_file(lambda w: artifact(w).parent.parent / LEDGER_FILE),
        ("DIFFERS fit ledger", "fit ledger differs"),
    ),
    "the certificate": Tampering(
        of_table(
            lambda s: certificate_table(s.name),
            first_row("certificate", pl.col("certificate").str.replace('"rows":', '"rows":1')),
        ),
        ("cannot be verified:", "it was changed"),
    ),
    "an audit row": Tampering(
        of_another_content,
        ("DIFFERS audit, what lies behind", *behind("features_indicators")[1:]),
        checked("features_indicators"),
    ),
    "a prediction": Tampering(
        of_table(lambda s: s.predictions, first_row("score", pl.col("score") + 0.01)),
        (
            "DIFFERS published values, predictions, what lies behind",
            "score differs in 1 rows",
            *behind("predictions_direction")[1:],
        ),
        checked("predictions_direction"),
    ),
    "a prediction of an estimator": Tampering(
        of_table(lambda s: s.estimator_predictions, first_row("score", pl.col("score") + 0.01)),
        behind("members_direction"),
        checked("members_direction"),
    ),
}


@pytest.fixture
def place(written_down: Workplace) -> Workplace:
    return written_down


@contextmanager
def tampered(how: Tampering, place: Workplace) -> Generator[None]:
    change = how.change(place, STUDIES["direction"])
    next(change)
    try:
        yield
    finally:
        assert next(change, None) is None


def reported_refusals(place: Workplace) -> list[tuple[str, str]]:
    """What the gate's part of the study's report shows as refused, of what the report reads."""
    source: Any = SimpleNamespace(name="a source that knows no oracle")
    try:
        made = report_inputs(place.workspace(), STUDIES["direction"], LAST, source, "a test")
    except CertificateError:
        # It names the certificate; no report is made.
        return []
    return gate_results(made[0].audits).latest_refusals


@pytest.mark.parametrize("what", list(TAMPERINGS))
def test_what_was_changed_is_named_by_verify_and_by_check(place: Workplace, what: str):
    how = TAMPERINGS[what]
    with tampered(how, place):
        code, said = command(place, "verify", "direction", MONTH, "--quick")
        check_code, check_said = command(place, "check", "--lake")
        shown_code, shown = command(place, "certificate", "direction", MONTH)
        reported = reported_refusals(place)
    assert code == (IMPOSSIBLE if "cannot be verified" in how.verify[0] else 1), said
    for words in how.verify:
        assert words in said, said
    assert check_code == bool(how.check), check_said
    assert how.check in check_said, check_said
    assert check_said.count("NOT AUDITED") == bool(how.check), check_said
    assert "tables are what the gate audited" in check_said
    assert reported == how.report
    assert shown_code == (2 if what == "the certificate" else int(bool(how.check))), shown
    if how.check:
        assert "NOT OF WHAT THE LAKE HOLDS what lies behind" in shown
        assert f"{how.report[0][0]} {how.report[0][1][:7]}: " in shown
    assert ("NOT OF WHAT THE LAKE HOLDS published values" in shown) == (what == "a prediction")


def a_larger_target(book: LongShort) -> LongShort:
    return replace(book, signals=first_row("weight", pl.col("weight") * 2)(book.signals))


def a_better_fill(book: LongShort) -> LongShort:
    return replace(book, fills=first_row("price", pl.col("price") * 0.99)(book.fills))


@pytest.mark.parametrize(
    ("what", "changed", "named"),
    [
        ("targets", a_larger_target, "refused by the leakage gate: execution, weight, "),
        ("fills", a_better_fill, "refused by the leakage gate: execution, price, "),
    ],
)
def test_targets_and_fills_are_stored_nowhere_and_those_of_a_report_are_audited_before_it_is_written(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    changed: Callable[[LongShort], LongShort],
    named: str,
):
    """What stands for them is the portfolio that every report makes anew from predictions and bars."""
    assert not [table for table in workplace.lake().tables() if what in table]
    honest, made = portfolios.long_short, []

    def long_short(*given: Any) -> LongShort:
        made.append(honest(*given))
        # The first is the one that is shown; the others are made to audit it.
        return changed(made[0]) if len(made) == 1 else made[-1]

    monkeypatch.setattr(portfolios, "long_short", long_short)
    result = workplace.run("write_report_direction", month=LAST)
    assert not result.success
    said = failure(result).description or ""
    assert f"report_direction {MONTH}: {named}" in said, said
