"""A model info sheet, filled from a certificate.

The questions follow the model info sheets and the taxonomy of leakage (L1 to L3) of Kapoor & Narayanan, "Leakage and
the reproducibility crisis in machine-learning-based science", Patterns 4 (2023), https://arxiv.org/abs/2207.07048.
Answers are taken from what the gate recorded. Where nothing is on record the sheet says so; what no probe can judge is
left for a person to argue.
"""

from collections.abc import Sequence

from trademl_pipeline.certificates.certificate import Certificate
from trademl_pipeline.certificates.view import moment
from trademl_pipeline.leakage.evidence import Evidence, coverage_words

SOURCE = "<https://arxiv.org/abs/2207.07048>"
NOTHING = "Not shown: no audit of this is on record."
BY_HAND = "To be argued by the author; no probe judges it."


def info_sheet(certificate: Certificate, *, claim: str = "") -> str:
    """The sheet as Markdown.

    Args:
        certificate: of the month.
        claim: one line that says what is predicted, such as a study's title.
    """
    c = certificate
    sections = [
        f"# Model info sheet: {c.study}, {c.month[:7]}",
        f"Questions after Kapoor & Narayanan, {SOURCE}. Answers from the certificate `{c.digest}`: what the gate "
        "tested within the declared clocks; no proof beyond that.",
        "## The claim",
        _table(_claim(c, claim)),
        "## L1: training and test data are kept apart in every step",
        _table(_separation(c)),
        "## L2: features are legitimate",
        _table(_features(c)),
        "## L3: the test set is drawn from the distribution of interest",
        _table(_distribution(c)),
        "## Reproduction",
        _table(_reproduction(c)),
    ]
    return "\n\n".join(sections) + "\n"


def _claim(c: Certificate, claim: str) -> list[tuple[str, str]]:
    return [
        ("What is predicted?", claim or f"What the study `{c.study}` declares."),
        (
            "For whom and when?",
            f"{c.symbols:,} symbols on {c.sessions:,} sessions, {c.fold.test_start} to {c.fold.test_end}: {c.rows:,} "
            f"predictions, the first decided {moment(c.decision_first)}.",
        ),
        ("How far is it meant to hold?", f"For decisions taken as these were, in this universe. {BY_HAND}"),
    ]


def _separation(c: Certificate) -> list[tuple[str, str]]:
    ledger = (
        f"Objects fitted on record (scalers, selections, weights, models): {c.model.fits}. Whether each has seen "
        f"training rows of its fold only: {_evidence_sentences(c, 'fit_ledger')}"
    )
    return [
        (
            "L1.1 Is there a test set?",
            f"Yes: every decision of {c.month[:7]}. The model was trained on {c.model.rows:,} rows from before it.",
        ),
        ("L1.2 Was pre-processing fitted on training rows only?", ledger),
        ("L1.3 Were features and settings selected on training rows only?", ledger),
        (
            "L1.4 Are there duplicates across training and test?",
            "Keys (symbol, session) are unique in every table. Whether a row is in both: "
            + _evidence_sentences(c, "folds"),
        ),
        ("Were test rows looked at before all was fitted?", _evidence_sentences(c, "access")),
    ]


def _features(c: Certificate) -> list[tuple[str, str]]:
    tables = [t for t in c.data if t.startswith("features_")]
    probes = ("truncation", "perturbation", "adjustment", "incremental", "knowledge")
    return [
        (
            "Could every feature be known when the decision was taken?",
            " ".join(
                _evidence_sentences(c, probe, tables)
                if _evidence_of_probe(c, probe, tables)
                else f"Probe `{probe}`: not on record."
                for probe in probes
            ),
        ),
        (
            "Were inputs known before the decisions that used them?",
            f"The last input became known {moment(c.knowledge_last)}. " + _evidence_sentences(c, "knowledge"),
        ),
        ("Does any feature stand for the target?", f"{_evidence_sentences(c, 'statistics')} {BY_HAND}"),
    ]


def _distribution(c: Certificate) -> list[tuple[str, str]]:
    fold = c.fold
    last = c.label_end_last or fold.train_end
    return [
        (
            "L3.1 Does all of the test set come after the training set?",
            f"{'Yes' if last < fold.test_start else 'No'}: the last label of the training set ends {last}, the month "
            f"begins {fold.test_start}. {_evidence_sentences(c, 'folds')}",
        ),
        (
            "L3.2 Do training and test rows depend on one another?",
            f"Labels that overlap the test window are purged, with an embargo of {fold.embargo} sessions: "
            f"{_evidence_sentences(c, 'folds')} The same symbols are in both, as they are for a trader: the claim is "
            "about their future, not about other symbols.",
        ),
        (
            "L3.3 Is the test set a biased sample?",
            f"{_evidence_sentences(c, 'universe')} Who is in the universe is the data's choice; a file of survivors "
            f"stays one. {BY_HAND}",
        ),
    ]


def _reproduction(c: Certificate) -> list[tuple[str, str]]:
    return [
        ("Code", c.code.label),
        (
            "Data",
            f"lake snapshots {c.training_snapshot} (training) and {c.data_snapshot} (the month's inputs)",
        ),
        ("Model", f"`{c.model.artifact}`, SHA-256 `{c.model.sha256}`"),
        ("Made again by", f"`trademl verify {c.study} {c.month[:7]}`"),
    ]


def _evidence_of_probe(c: Certificate, probe: str, tables: Sequence[str] = ()) -> list[Evidence]:
    return [e for e in c.evidence if e.probe == probe and (not tables or e.table in tables)]


def _evidence_sentences(c: Certificate, probe: str, tables: Sequence[str] = ()) -> str:
    """Evidence of a probe, as sentences."""
    evidence = _evidence_of_probe(c, probe, tables)
    if not evidence:
        return NOTHING
    return " ".join(
        f"Probe `{e.probe}` on `{e.table}`: {e.passed} of {e.months} months passed ({coverage_words(e.coverage)})."
        for e in evidence
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| question | answer |", "|---|---|", *(f"| {q} | {a.strip()} |" for q, a in rows)])
