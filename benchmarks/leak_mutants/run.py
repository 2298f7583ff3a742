"""Measure the gate: run every mutant and its clean twin through the audit, and print who killed whom.

    python benchmarks/leak_mutants/run.py [--fail-under 100] [--only features/] [--json result.json]

A mutant is killed if its audit refuses it, or if an exception of the gate does ("error"). Its clean twin must
pass. T-only and P-only are two auditors as public tools have them (see strategies.py), run on what they can
take; "." is a miss, "-" means that they cannot take the input.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import stage_backtest
import stage_features
import stage_ingest
import stage_labels
import stage_prediction
import stage_sequences
import stage_training
from mutant import Mutant
from strategies import perturbation_only, truncation_only

from trademl_pipeline.leakage import AuditError
from trademl_pipeline.training.ledger import LedgerError

STAGES = (
    stage_ingest,
    stage_features,
    stage_labels,
    stage_sequences,
    stage_training,
    stage_prediction,
    stage_backtest,
)
MUTANTS: list[Mutant] = [m for stage in STAGES for m in stage.MUTANTS]
PROBES = {
    "T": "truncation",
    "P": "perturbation",
    "A": "adjustment",
    "B": "incremental",
    "K": "knowledge",
    "V": "universe",
    "L": "folds",
    "F": "fit_ledger",
    "R": "access",
    "M": "model",
    "W": "windows",
    "X": "execution",
    "S": "statistics",
    "!": "error",
}
REFUSALS = (AuditError, LedgerError)


def refused_by(mutant: Mutant, leaky: bool) -> tuple[set[str], str]:
    """Probes that refused, and the first detail; empty where the audit passed."""
    try:
        report = mutant.audit(leaky)
    except REFUSALS as error:
        return {"error"}, f"{type(error).__name__}: {error}"
    if report.passed:
        return set(), ""
    return {v.probe for v in report.violations} or {"nothing tested"}, "; ".join(
        f"{v.column}: {v.detail}" for v in report.violations[:1]
    )


def measure(mutants: list[Mutant]) -> list[dict]:
    """One row of results per mutant."""
    rows = []
    for mutant in mutants:
        start = time.perf_counter()
        killers, detail = refused_by(mutant, leaky=True)
        false_alarm, why = refused_by(mutant, leaky=False)
        seconds = time.perf_counter() - start
        takes = mutant.extract is not None
        rows.append(
            {
                "name": mutant.name,
                "title": mutant.title,
                "killed_by": sorted(killers),
                "expected": sorted(mutant.kills),
                "as_expected": bool(killers & mutant.kills),
                "clean_refused_by": sorted(false_alarm),
                "truncation_only": truncation_only(mutant, leaky=True) if takes else None,
                "truncation_only_false": truncation_only(mutant, leaky=False) if takes else None,
                "perturbation_only": perturbation_only(mutant, leaky=True) if takes else None,
                "perturbation_only_false": perturbation_only(mutant, leaky=False) if takes else None,
                "seconds": round(seconds, 3),
                "detail": detail or why,
                "false_alarm": why,
            }
        )
    return rows


def matrix(rows: list[dict]) -> str:
    """The kill matrix as text."""
    width = max(len(r["name"]) for r in rows)
    head = " ".join(PROBES) + "  T-only P-only  clean"
    lines = [f"{'mutant':<{width}}  {head}", "-" * (width + len(head) + 2)]
    for r in rows:
        marks = " ".join("x" if probe in r["killed_by"] else "." for probe in PROBES.values())
        others = [{True: "x", False: ".", None: "-"}[r[f"{s}_only"]] for s in ("truncation", "perturbation")]
        clean = "ok" if not r["clean_refused_by"] else "REFUSED by " + ", ".join(r["clean_refused_by"])
        missed = "" if r["as_expected"] else "   <-- expected " + " or ".join(r["expected"])
        lines.append(f"{r['name']:<{width}}  {marks}  {others[0]:^6} {others[1]:^6}  {clean}{missed}")
    return "\n".join(lines)


def origins(mutants: list[Mutant]) -> str:
    """The list of mutants for docs/leakage.md."""
    lines = ["| mutant | what leaks | who had it | refused by |", "|---|---|---|---|"]
    for m in mutants:
        origin = re.sub(r"https://\S+[^\s:,;]", lambda url: f"<{url.group()}>", m.origin)
        lines.append(f"| `{m.name}` | {m.title} | {origin} | {', '.join(sorted(m.kills))} |")
    return "\n".join(lines)


def summary(rows: list[dict]) -> dict:
    """Rates and cost."""
    taken = [r for r in rows if r["truncation_only"] is not None]
    return {
        "mutants": len(rows),
        "killed": sum(bool(r["killed_by"]) for r in rows),
        "killed_as_expected": sum(r["as_expected"] for r in rows),
        "false_alarms": sum(bool(r["clean_refused_by"]) for r in rows),
        "kill_rate": 100 * sum(r["as_expected"] for r in rows) / len(rows),
        "taken_by_the_others": len(taken),
        "truncation_only_kills": sum(bool(r["truncation_only"]) for r in taken),
        "truncation_only_false_alarms": sum(bool(r["truncation_only_false"]) for r in taken),
        "perturbation_only_kills": sum(bool(r["perturbation_only"]) for r in taken),
        "perturbation_only_false_alarms": sum(bool(r["perturbation_only_false"]) for r in taken),
        "seconds": round(sum(r["seconds"] for r in rows), 1),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fail-under", type=float, default=100.0, help="least kill rate in percent")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument(
        "--table", action="store_true", help="print the mutants and their origins as Markdown"
    )
    options = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if options.only in m.name]
    if not chosen:
        parser.error(f"no mutant has {options.only!r} in its name")
    if options.table:
        print(origins(chosen))
        return 0
    rows = measure(chosen)
    total = summary(rows)
    print(matrix(rows))
    print()
    print(" ".join(f"{k}={v}" for k, v in PROBES.items()))
    print(
        f"\n{total['killed_as_expected']} of {total['mutants']} mutants killed by a probe made for them "
        f"({total['kill_rate']:.1f} %), {total['false_alarms']} false alarms on clean twins, "
        f"{total['seconds']} s. Of the {total['taken_by_the_others']} that take an extractor and bars: "
        f"truncation alone killed {total['truncation_only_kills']} with "
        f"{total['truncation_only_false_alarms']} false alarms, perturbation alone "
        f"{total['perturbation_only_kills']} with {total['perturbation_only_false_alarms']}."
    )
    if options.json:
        options.json.write_text(json.dumps({"summary": total, "mutants": rows}, indent=1))
    return int(total["kill_rate"] < options.fail_under or total["false_alarms"] > 0)


if __name__ == "__main__":
    sys.exit(main())
