"""The report as Markdown: the same sentences and figures as the page, without drawings.

Every text is escaped where it is put in (`markdown_text`): no tag, link or picture in it acts, and none breaks a table.
"""

from collections.abc import Iterable

from trademl_pipeline.reports import content
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.gate_results import PROBES
from trademl_pipeline.reports.markdown_text import Code, bullets, escaped, fenced, table_of, verdict_line
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import count, number, percent
from trademl_pipeline.reports.verdict import LABELS

SHOWN_FEATURES, SHOWN_REFUSALS = 20, 50


def document(e: Evaluation) -> str:
    """The whole document."""
    verdict = e.verdict
    parts = [
        f"# {escaped(e.config.title)}",
        f"Validation report of {Code(e.config.study).markdown}, {e.first} to {e.last}.",
        verdict_line(LABELS[verdict.kind], verdict.headline),
        bullets(verdict.reasons),
        table_of(["", ""], content.scope(e)),
        "## The figures",
        _scores(e),
        *parts_of(e.task.sections),
        "## What it would have earned",
        content.portfolio_rule(e),
        *_money(e),
        *parts_of([e.consistency]),
        *_probabilities(e),
        *parts_of([e.drift]),
        *_importance(e),
        *parts_of([e.examples] if e.examples else []),
        "## The leakage gate",
        *_gate(e),
        *_certificates(e),
        "## What was trained on what",
        content.FOLD_NOTE,
        table_of(
            content.fold_columns(e), [[f[c] for c in content.fold_columns(e)] for f in content.fold_rows(e)]
        ),
        "## What this report does not show",
        bullets(content.limits(e)),
    ]
    if e.metadata:
        parts += ["## About this run", table_of(["", ""], [[k, str(v)] for k, v in e.metadata.items()])]
    return "\n\n".join(parts) + "\n"


def _scores(e: Evaluation) -> str:
    return table_of(
        ["", "figure", "95 % interval", "without skill", "oracle", "n", "sessions"],
        [
            [
                x.name,
                x.value,
                x.interval,
                x.baselines,
                x.oracle_text,
                count(x.score.n),
                count(x.score.sessions),
            ]
            for x in content.score_lines(e)
        ],
    )


def parts_of(sections: Iterable[Section]) -> list[str]:
    """Sections as blocks of Markdown, without their figures."""
    parts = []
    for part in sections:
        parts += [f"## {escaped(part.title)}", *map(escaped, part.text)]
        for table in part.tables:
            parts += [
                *_titled(table),
                table_of(table.head, table.rows),
                *([escaped(table.note)] if table.note else []),
            ]
        if part.code:
            parts.append(fenced(part.code))
    return parts


def _titled(table: Table) -> list[str]:
    return [f"### {escaped(table.title)}"] if table.title else []


def _money(e: Evaluation) -> list[str]:
    rows = [[name, *values] for name, values in content.portfolio_rows(e)]
    return [table_of(["", *(name for name, _ in content.portfolios(e))], rows)] if rows else []


def _probabilities(e: Evaluation) -> list[str]:
    if not e.classes:
        return []
    parts = [
        "## Are the probabilities right?",
        "The most probable class: what was said, and how often it came.",
    ]
    for classes in e.classes:
        if classes.view.name:
            parts.append(f"### {escaped(classes.view.name)}")
        top = classes.reliability.filter(classes.reliability["series"] == "top").sort("bin")
        rows = [
            [
                f"{percent(r['low'], 0)} to {percent(r['high'], 0)}",
                percent(r["predicted"]),
                percent(r["observed"]),
                count(r["n"]),
            ]
            for r in top.iter_rows(named=True)
        ]
        labels = classes.view.labels
        calls = [
            [f"came {name}", *(count(n) for n in row)]
            for name, row in zip(labels, classes.confusion, strict=True)
        ]
        parts += [
            table_of(["probability", "said", "came", "rows"], rows),
            table_of(["", *(f"called {name}" for name in labels)], calls),
        ]
    return parts


def _importance(e: Evaluation) -> list[str]:
    if e.importance.is_empty():
        return []
    rows = [
        [Code(r["feature"]), percent(r["mean"]), f"{percent(r['low'])} to {percent(r['high'])}"]
        for r in e.importance.head(SHOWN_FEATURES).iter_rows(named=True)
    ]
    return ["## What the model uses", table_of(["feature", "share", "least to greatest fold"], rows)]


def _gate(e: Evaluation) -> list[str]:
    gate = e.gate
    if gate.cells.is_empty():
        return ["No audit was given: nothing shows that the figures are free of look-ahead."]
    rows = [
        [
            f"{PROBES.get(r['probe'], ('', ''))[0]} {r['probe']}".strip(),
            PROBES.get(r["probe"], ("", ""))[1],
            *(str(r[c]) for c in ("months", "passed", "refused")),
            r["tested"],
        ]
        for r in gate.coverage.iter_rows(named=True)
    ]
    parts = [table_of(["probe", "shows that", "months", "passed", "refused", "tested, in all"], rows)]
    if not gate.suspicions.is_empty():
        seen = [
            [r["month"][:7], r["table_name"], r["words"]]
            for r in gate.suspicions.head(SHOWN_REFUSALS).iter_rows(named=True)
        ]
        parts += ["### Suspicious columns", table_of(["month", "table", "what was seen"], seen)]
    if gate.refusals.is_empty():
        return [*parts, "Nothing was refused."]
    refused = [
        [r["month"][:7], r["table_name"], r["probe"], r["detail"], number(r.get("max_delta"), 4),
         "refused" if r["standing"] else "healed since"]
        for r in gate.refusals.head(SHOWN_REFUSALS).iter_rows(named=True)
    ]  # fmt: skip
    head = ["month", "table", "probe", "what was found", "largest change", "state"]
    return [*parts, "### Refusals in detail", table_of(head, refused)]


def _certificates(e: Evaluation) -> list[str]:
    parts = ["### Certificates", content.certificate_sentence(e)]
    if e.certificates.is_empty():
        return parts
    rows = [[month, Code(digest), n] for month, digest, n in content.certificate_rows(e)]
    return [*parts, content.CERTIFICATE_NOTE, table_of(["fold", "certificate", "predictions"], rows)]
