"""A certificate for people: in the terminal, and as Markdown."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trademl_pipeline.certificates.certificate import Certificate, Content, KnownTries
from trademl_pipeline.lake.view import StepRead
from trademl_pipeline.leakage.evidence import Evidence, coverage_words
from trademl_pipeline.leakage.report import VERDICT


def facts(certificate: Certificate) -> dict[str, str]:
    """Return the certificate's facts beside its evidence, by name, in the order in which they are read."""
    c, fold, model = certificate, certificate.fold, certificate.model
    knowledge = "no decision in this month"
    if c.knowledge_last is not None and c.slack_seconds is not None:
        knowledge = (
            f"{moment(c.knowledge_last)}, never less than {c.slack_seconds:,.0f} s before its decision"
        )
    return {
        "predictions": f"{c.rows:,} rows, {c.symbols:,} symbols, {c.sessions:,} sessions; content {c.values}",
        "last input known": knowledge,
        "first decision": moment(c.decision_first),
        "fold": f"trains {fold.train_start} to {fold.train_end}, embargo {fold.embargo} sessions, "
        f"tests {fold.test_start} to {fold.test_end}",
        "training set": f"{model.rows:,} rows, {model.sessions:,} sessions, {model.symbols:,} symbols; "
        f"last label ends {c.label_end_last or 'unknown'}, last input known {moment(c.training_knowledge_last)}",
        "fit ledger": f"{model.fits} objects fitted on record; digest {model.ledger}",
        "model": f"{model.artifact}; SHA-256 {model.sha256}",
        "model run": model.run,
        "data of the month": f"lake snapshot {c.data_snapshot}; {_contents(c.data)}",
        "data of the training": f"lake snapshot {c.training_snapshot}; {_contents(c.training)}",
        "reads of the step": "; ".join(_read(r) for r in c.reads) or "not on record",
        "tries known then": tries_text(c.tries),
        "code": c.code.label,
        "libraries": ", ".join(f"{name} {version}" for name, version in c.code.libraries.items()),
        "digest": c.digest,
    }


def tries_text(tries: KnownTries | None) -> str:
    """Return how often outcomes of the rows had been looked at, in words."""
    if tries is None:
        return "not on record: certified before looks at outcomes were counted"
    return f"{tries.tries} looks at outcomes of these rows, {tries.scored} sets of predictions scored in them"


def to_markdown(certificate: Certificate) -> str:
    """The certificate as a Markdown page."""
    lines = [
        f"# Certificate of {certificate.study}, {certificate.month[:7]}",
        "",
        f"**{headline(certificate)}**",
        "",
    ]
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts(certificate).items())]
    lines += ["", "| table | probe | months passed | from | to | tested |", "|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(_cells(e)) + " |" for e in certificate.evidence]
    return "\n".join(lines) + "\n"


def render(certificate: Certificate) -> RenderableType:
    """The certificate as something that rich can print."""
    colour = "green" if certificate.passed else "red"
    facts_table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    facts_table.add_column(style="dim", no_wrap=True)
    facts_table.add_column(overflow="fold")
    for name, text in facts(certificate).items():
        facts_table.add_row(name, Text(text))
    tested = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("table", "probe", "months passed", "from", "to", "tested"):
        tested.add_column(
            name, justify="right" if name == "months passed" else "left", no_wrap=name != "tested"
        )
    for item in certificate.evidence:
        tested.add_row(*_cells(item), style="" if item.passed == item.months else "red")
    head = Text(headline(certificate), style=f"bold {colour}")
    title = f"Certificate of {certificate.study}, {certificate.month[:7]}"
    return Panel(
        Group(head, Text(), facts_table, Text(), tested),
        title=title,
        title_align="left",
        border_style=colour,
        expand=False,
    )


def headline(certificate: Certificate) -> str:
    """The verdict in one line."""
    refused = [f"{e.table} ({e.probe})" for e in certificate.evidence if e.passed != e.months]
    if refused:
        return f"REFUSED months among what it was made from: {', '.join(refused)}"
    return f"PASSED  {VERDICT}"


def moment(value: datetime | None) -> str:
    """A moment, or that there is none."""
    return "unknown" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _contents(contents: dict[str, Content]) -> str:
    return "; ".join(
        f"{table} {c.first[:7]} to {c.last[:7]} ({c.months} months, {c.digest[:12]}…)"
        for table, c in contents.items()
    )


def _read(read: StepRead) -> str:
    known = "" if read.knowledge_last is None else f", known until {moment(read.knowledge_last)}"
    return (
        f"{read.table} {read.first[:7]} to {read.last[:7]} ({read.rows:,} rows{known}, {read.content[:12]}…)"
    )


def _cells(item: Evidence) -> tuple[str, ...]:
    passed = f"{item.passed} of {item.months}"
    return item.table, item.probe, passed, item.first[:7], item.last[:7], coverage_words(item.coverage)
