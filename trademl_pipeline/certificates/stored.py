"""Certificates as the lake keeps them."""

import polars as pl

from trademl_pipeline.certificates.certificate import Certificate, CertificateError
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.tables import certificate_table


class CertificateMissingError(CertificateError):
    """A month has no predictions, or its predictions have no certificate."""


def certificates(store: Lake, study: str, month: str) -> pl.DataFrame:
    """All certificates of a month, the one in force among them; no row where there is none."""
    schema = certificate_table(study)
    try:
        return store.read(schema, months=(month, month))
    except MissingTableError:
        return schema.empty()


def certificate_in_force(store: Lake, study: str, month: str) -> Certificate:
    """The certificate that the month's predictions name, its text checked against its digest.

    Raises:
        CertificateMissingError: the month has no predictions or no certificate.
        CertificateError: the text is not what the digest is of, or the rows name several certificates.
    """
    table = f"predictions_{study}"
    stored = certificates(store, study, month)
    try:
        named = store.read(table, months=(month, month), columns=["certificate"])["certificate"].unique()
    except MissingTableError:
        named = pl.Series([], dtype=pl.String)
    if named.is_empty() and not stored.is_empty():
        # A month without decisions has no row that could name its certificate.
        named = stored.sort("recorded_at")["digest"].tail(1)
    if named.is_empty():
        raise CertificateMissingError(
            f"{table} holds nothing for {month[:7]}; materialize it first, or name another month: "
            f"{', '.join(m[:7] for m in certified_months(store, study)) or 'none is certified'}"
        )
    if len(named) > 1:
        raise CertificateError(f"{table} {month[:7]} names {len(named)} certificates; its rows were mixed")
    text = stored.filter(pl.col("digest") == named[0])["certificate"]
    if text.is_empty():
        raise CertificateMissingError(
            f"{table} {month[:7]} names the certificate {named[0][:12]}…, which certificates_{study} does not hold; "
            "the predictions were made before certificates were kept, or the table was changed. Materialize them again"
        )
    return Certificate.from_json(text[0], named[0])


def certified_months(store: Lake, study: str) -> list[str]:
    """Months that have a certificate, ascending."""
    try:
        return store.months(certificate_table(study))
    except MissingTableError:
        return []


def certified_snapshots(store: Lake, study: str) -> set[int]:
    """Snapshots that the study's certificates name: maintenance must keep them, or the months cannot be verified."""
    try:
        stored = store.read(certificate_table(study), columns=["data_snapshot", "training_snapshot"])
    except MissingTableError:
        return set()
    return {*stored["data_snapshot"].to_list(), *stored["training_snapshot"].to_list()}
