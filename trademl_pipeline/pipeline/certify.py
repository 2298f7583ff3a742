"""The certificate of a month of predictions, stored in the transaction that publishes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from trademl_pipeline.certificates import certificate
from trademl_pipeline.certificates.certificate import Certificate, Content, KnownTries, content_of
from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.certificates.stored import certificates
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import TableSchema, UngatedTable
from trademl_pipeline.lake.view import ReadRecord
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.pipeline.audited import audits_in_force, market_tables, recorded
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS, certificate_table
from trademl_pipeline.training.ledger import FitLedger

# A table and the months of it that were read, first and last.
Read = tuple[TableSchema, tuple[str, str]]


@dataclass(frozen=True)
class Certified:
    """A certificate and the table row that goes into the lake with the predictions (`publish`'s `beside`)."""

    certificate: Certificate
    beside: tuple[UngatedTable, pl.DataFrame]

    @property
    def digest(self) -> str:
        """The certificate's digest, which stands in every row of the predictions."""
        return self.certificate.digest


def make_certificate(
    store: Lake,
    schema: TableSchema,
    study: str,
    month: str,
    predictions: pl.DataFrame,
    *,
    record: pl.DataFrame,
    ledger: FitLedger,
    report: AuditReport,
    audits: pl.DataFrame,
    snapshot: int,
    read: Sequence[Read],
    learned_from: Sequence[Read],
    reads: Sequence[ReadRecord],
    tries: KnownTries,
    run_id: str,
    recorded_at: datetime,
) -> Certified:
    """Certify the predictions of a month before they are published.

    Args:
        store: the lake.
        schema: table of the predictions.
        study: name of the study.
        month: month key.
        predictions: the rows to be published, without their certificate.
        record: the model's row of the model table.
        ledger: the fit ledger of the model, the reading of the month's rows included.
        report: audit of the predictions. It is made before, since its results are part of the certificate; publishing
            compares what it reads back with what was audited.
        audits: that count for what the predictions are made of, see `audits_behind`.
        snapshot: at which the month's inputs were read.
        read: tables and months that were read for the predictions.
        learned_from: tables and months that the model learned from, at its own snapshot.
        reads: everything that the step has read.
        tries: looks at the outcomes of the month's rows that are on record.
        run_id, recorded_at: the run that makes it and the time of that run.
    """
    made = certificate.make_certificate(
        study,
        month,
        predictions,
        values=values_version(schema, predictions),
        model=record.row(0, named=True),
        ledger=ledger,
        report=report,
        table=schema.name,
        audits=audits,
        code=code_version(),
        data_snapshot=snapshot,
        data=contents(store, read, snapshot),
        training=contents(store, learned_from, int(record["snapshot"][0])),
        reads=[read.anywhere() for read in reads if read.table != AUDITS.name],
        tries=tries,
    )
    on_record = certificates(store, study, month)
    made = made.or_earlier_equivalent(Certificate.from_json(text) for text in on_record["certificate"])
    if made.digest not in on_record["digest"]:
        row = {
            "fold": month,
            "digest": made.digest,
            "passed": made.passed,
            "data_snapshot": made.data_snapshot,
            "training_snapshot": made.training_snapshot,
            "certificate": made.to_json(),
            "run_id": run_id,
            "recorded_at": recorded_at,
        }
        on_record = pl.concat([on_record, pl.DataFrame([row], schema=on_record.schema)])
    return Certified(made, (certificate_table(study), on_record))


def audits_behind(
    store: Lake, study: StudySpec, record: pl.DataFrame, month: str, snapshot: int
) -> pl.DataFrame:
    """Return the audits that count for all that the predictions of a month are made of.

    Args:
        store: the lake.
        study: the study.
        record: the model's row of the model table.
        month: month key.
        snapshot: at which the month's inputs were read; what the model learned from is looked at as it was then.
    """
    until, learned = (FROM_THE_FIRST, month), (FROM_THE_FIRST, offset_month(record["fitted"][0], -1))
    inputs = [study.features, study.labels, study.windows]
    behind = [
        *recorded(store, [*market_tables(), *inputs], until, snapshot),
        *recorded(store, inputs, learned, int(record["snapshot"][0])),
        *recorded(store, [study.models], (month, month), snapshot),
    ]
    return audits_in_force(store, behind, month)


def contents(store: Lake, tables: Sequence[Read], snapshot: int) -> dict[str, Content]:
    """Return the content of the months of some tables at a snapshot, by table."""
    versions = store.data_versions(tables, snapshot=snapshot)
    return {table.name: content_of(versions[table.name], asked) for table, asked in tables}


def values_version(schema: TableSchema, predictions: pl.DataFrame) -> str:
    """Return the content hash of predictions without their certificate."""
    columns = {name: dtype for name, dtype in schema.columns.items() if name != "certificate"}
    bare = TableSchema(schema.name, columns, schema.key)
    return data_version(bare, predictions.select(list(columns)))
