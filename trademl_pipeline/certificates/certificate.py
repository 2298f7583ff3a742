"""The evidence that a month of predictions carries: what it was made from, by what, and what was tested.

A certificate says: no leak within the declared clocks and the tested mutants, as shown by the listed probes, for
these values, made by this model from these data. It is plain data with one canonical text; the digest of that text
stands in every row of the predictions, so neither can be changed without the other telling.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import polars as pl

from trademl_pipeline.certificates.code_version import CodeVersion
from trademl_pipeline.lake.view import StepRead
from trademl_pipeline.leakage.errors import AuditError
from trademl_pipeline.leakage.evidence import Evidence, evidence_in, evidence_of
from trademl_pipeline.leakage.report import AuditReport
from trademl_pipeline.training.ledger import FIT, FitLedger

FORMAT = 3
# Format 1 says nothing of reads, and none before 3 of tries.
FORMATS = (1, 2, FORMAT)
# What differs when a month is published again from the same data: another snapshot holds them too, and outcomes may
# have been looked at meanwhile.
CIRCUMSTANCES = ("data_snapshot", "tries")


class CertificateError(AuditError):
    """A text that is no certificate, or not the one that its digest names."""


@dataclass(frozen=True)
class Window:
    """The fold: training labels within [train_start, train_end], decisions within [test_start, test_end]."""

    train_start: date
    train_end: date
    test_start: date
    test_end: date
    embargo: int


@dataclass(frozen=True)
class ModelIdentity:
    """The model that predicted.

    Attributes:
        run: MLflow run.
        artifact: file of the model, relative to the data set's state folder.
        sha256: of that file.
        rows, sessions, symbols: of the training set.
        fits: number of objects fitted on the record.
        ledger: digest of that record.
    """

    run: str
    artifact: str
    sha256: str
    rows: int
    sessions: int
    symbols: int
    fits: int
    ledger: str


@dataclass(frozen=True)
class Content:
    """The months of one table that were read.

    Attributes:
        first, last: month keys.
        months: how many of them there were.
        digest: SHA-256 over the months and the content hash of each.
    """

    first: str
    last: str
    months: int
    digest: str


@dataclass(frozen=True)
class KnownTries:
    """The looks at the outcomes of a month's rows that were on record when its predictions were certified.

    Attributes:
        tries: different looks that stand for themselves.
        scored: different sets of predictions that were scored in them.
        recorded: rows of the whole ledger of looks, which can only have grown since.
    """

    tries: int
    scored: int
    recorded: int


@dataclass(frozen=True)
class Certificate:
    """The evidence of one study and month.

    Attributes:
        study: whose predictions they are.
        month: month key.
        rows, symbols, sessions: of the predictions.
        values: content hash of the predictions without their certificate.
        decision_first: first decision of the month; None in a month without decisions.
        knowledge_last: the latest moment at which any input of any prediction became known (UTC); None
            likewise.
        slack_seconds: least time between an input and the decision that used it; None likewise.
        training_knowledge_last: the latest moment at which any row that anything was fitted on became known
            (UTC); None where rows have no clock.
        label_end_last: last session that a label read which anything was fitted on.
        fold, model, code: see there.
        data_snapshot: snapshot of the lake at which the month's inputs were read.
        data: content of the month's inputs by table.
        training_snapshot: snapshot at which the training set was read.
        training: content of the training set by table.
        evidence: the probes of the predictions themselves and, by their latest audits, of all they were made
            from.
        reads: everything that the step which predicted has read, in order; it had no other way to read.
        tries: looks at the outcomes of these rows before; None on certificates of earlier formats, which count none.
        format: of this record.
    """

    study: str
    month: str
    rows: int
    symbols: int
    sessions: int
    values: str
    decision_first: datetime | None
    knowledge_last: datetime | None
    slack_seconds: float | None
    training_knowledge_last: datetime | None
    label_end_last: date | None
    fold: Window
    model: ModelIdentity
    code: CodeVersion
    data_snapshot: int
    data: dict[str, Content]
    training_snapshot: int
    training: dict[str, Content]
    evidence: tuple[Evidence, ...]
    reads: tuple[StepRead, ...] = ()
    tries: KnownTries | None = None
    format: int = FORMAT

    def to_json(self) -> str:
        """The canonical text: sorted keys, no spaces, UTC times; equal certificates have equal texts."""
        plain = _adapter().dump_python(self, mode="json")
        if self.format == 1:
            del plain["reads"]
        if self.format < 3:
            del plain["tries"]
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical text."""
        return text_digest(self.to_json())

    @property
    def passed(self) -> bool:
        """Return whether every audit on it passed."""
        return bool(self.evidence) and all(e.passed == e.months for e in self.evidence)

    @classmethod
    def from_json(cls, text: str, digest: str | None = None) -> "Certificate":
        """A certificate from its text.

        Args:
            text: as `to_json` wrote it.
            digest: what the text must hash to; None to take any.

        Raises:
            CertificateError: the text has another digest, is no certificate, or is of a later format.
        """
        if digest is not None and text_digest(text) != digest:
            raise CertificateError(
                f"the certificate's text has the digest {text_digest(text)[:12]}…, not {digest[:12]}…: it was changed"
            )
        try:
            plain = json.loads(text)
            if plain.get("format") not in FORMATS:
                raise CertificateError(
                    f"the certificate has format {plain.get('format')!r}, this version reads formats "
                    f"{' and '.join(map(str, FORMATS))}"
                )
            return _adapter().validate_python(plain)
        except (ValueError, AttributeError) as error:
            if isinstance(error, CertificateError):
                raise
            raise CertificateError(f"this is no certificate: {error}") from error

    def or_earlier_equivalent(self, earlier: Iterable["Certificate"]) -> "Certificate":
        """This certificate, or the earlier one that says the same but for circumstances such as the snapshot's number.

        A month that is published again from the same data keeps its certificate, and the lake is left as it is.
        """
        for other in earlier:
            # The same probes passed again, perhaps on more cut-offs, which takes nothing from what was shown before.
            again = self.passed and other.passed and self._probes() == other._probes()
            names = (*CIRCUMSTANCES, "evidence") if again else CIRCUMSTANCES
            if replace(self, **{name: getattr(other, name) for name in names}) == other:
                return other
        return self

    def _probes(self) -> set[tuple[str, str]]:
        return {(e.table, e.probe) for e in self.evidence}


def text_digest(text: str) -> str:
    """SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_of(versions: Mapping[str, str], requested_months: tuple[str, str] = ("", "")) -> Content:
    """Return the content of some months of a table.

    Args:
        versions: month key -> content hash.
        requested_months: first and last month that were read, told where none of them has rows.
    """
    ordered = sorted(versions.items())
    lines = "\n".join(f"{month} {version}" for month, version in ordered)
    first, last = (ordered[0][0], ordered[-1][0]) if ordered else requested_months
    return Content(first, last, len(ordered), text_digest(lines))


def make_certificate(
    study: str,
    month: str,
    predictions: pl.DataFrame,
    *,
    values: str,
    model: Mapping[str, Any],
    ledger: FitLedger,
    report: AuditReport,
    table: str,
    audits: pl.DataFrame,
    code: CodeVersion,
    data_snapshot: int,
    data: Mapping[str, Content],
    training: Mapping[str, Content],
    reads: Iterable[StepRead] = (),
    tries: KnownTries | None = None,
) -> Certificate:
    """Return the certificate of one month of predictions. It knows nothing of what kind of model made them.

    Args:
        study: whose predictions they are.
        month: month key.
        predictions: the rows: `symbol`, `session`, `decision_time`, `knowledge_time` and whatever else.
        values: content hash of the rows.
        model: the row of the model table: `train_start`, `train_end`, `test_start`, `test_end`, `embargo`,
            `rows`, `sessions`, `symbols`, `snapshot`, `model_run`, `artifact`, `artifact_sha256`,
            `ledger_digest`, and `fitted`, the month whose fold was trained, where that may be an earlier one.
        ledger: the fit ledger of the model.
        report: the audit of the predictions.
        table: name under which that audit is kept.
        audits: rows of the lake's `audits` table of everything the predictions were made from.
        code: that made them.
        data_snapshot: snapshot of the lake at which the month's inputs were read.
        data: content of the tables read for the month.
        training: content of the tables read for the model.
        reads: everything that the step which predicted has read.
        tries: looks at the outcomes of the rows that are on record.
    """
    fits = [r for r in ledger.records(model.get("fitted") or month) if r.event == FIT]
    wait = (pl.col("decision_time") - pl.col("knowledge_time")).dt.total_microseconds().min()
    slack = predictions.select(wait).item()
    own_evidence = evidence_in(report, table, month)
    return Certificate(
        study=study,
        month=month,
        rows=predictions.height,
        symbols=predictions["symbol"].n_unique(),
        sessions=predictions["session"].n_unique(),
        values=values,
        decision_first=_utc(predictions["decision_time"].min()),
        knowledge_last=_utc(predictions["knowledge_time"].max()),
        slack_seconds=None if slack is None else slack / 1e6,
        training_knowledge_last=max((_utc(r.knowledge_max) for r in fits if r.knowledge_max), default=None),
        label_end_last=max((r.label_end_max for r in fits if r.label_end_max), default=None),
        fold=Window(**{name: model[name] for name in (f.name for f in fields(Window))}),
        model=ModelIdentity(
            run=model["model_run"],
            artifact=model["artifact"],
            sha256=model["artifact_sha256"],
            rows=model["rows"],
            sessions=model["sessions"],
            symbols=model["symbols"],
            fits=len(fits),
            ledger=model["ledger_digest"],
        ),
        code=code,
        data_snapshot=data_snapshot,
        data=dict(sorted(data.items())),
        training_snapshot=int(model["snapshot"]),
        training=dict(sorted(training.items())),
        evidence=(*own_evidence, *(e for e in evidence_of(audits) if e.table != table)),
        reads=tuple(reads),
        tries=tries,
    )


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Certificate)


def _utc(moment: Any) -> Any:
    """A moment in UTC; None where there is none."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
