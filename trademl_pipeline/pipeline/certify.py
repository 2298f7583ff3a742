"""The certificate of a month of predictions, stored in the transaction that publishes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from trademl_pipeline.certificates import certificate
from trademl_pipeline.certificates.certificate import Certificate, Content, content_of
from trademl_pipeline.certificates.code_version import code_version
from trademl_pipeline.certificates.stored import certificates
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.tables import (
    AUDITS,
    RAW_BARS,
    REFERENCE_BARS,
    UNIVERSE_MEMBERS,
    certificate_table,
    model_table,
)
from trademl_pipeline.training.ledger import FitLedger

# A table and the months of it that were read, first and last.
Read = tuple[TableSchema, tuple[str, str]]


@dataclass(frozen=True)
class Certified:
    """A certificate and the table row that goes into the lake with the predictions (`publish`'s `beside`)."""

    certificate: Certificate
    beside: tuple[TableSchema, pl.DataFrame]

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
    snapshot: int,
    read: Sequence[Read],
    learned_from: Sequence[Read],
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
        snapshot: at which the month's inputs were read.
        read: tables and months that were read for the predictions.
        learned_from: tables and months that the model learned from, at its own snapshot.
        run_id, recorded_at: the run that makes it and the time of that run.
    """
    market = {RAW_BARS.name, REFERENCE_BARS.name, UNIVERSE_MEMBERS.name}
    behind = {*market, model_table(study).name, *(table.name for table, _ in (*read, *learned_from))}
    audits = store.read(AUDITS).filter(pl.col("table_name").is_in(list(behind)) & (pl.col("month") <= month))
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


def contents(store: Lake, tables: Sequence[Read], snapshot: int) -> dict[str, Content]:
    """Return the content of the months of some tables at a snapshot, by table."""
    versions = store.data_versions(tables, snapshot=snapshot)
    return {table.name: content_of(versions[table.name], asked) for table, asked in tables}


def values_version(schema: TableSchema, predictions: pl.DataFrame) -> str:
    """Return the content hash of predictions without their certificate."""
    columns = {name: dtype for name, dtype in schema.columns.items() if name != "certificate"}
    bare = TableSchema(schema.name, columns, schema.key)
    return data_version(bare, predictions.select(list(columns)))
