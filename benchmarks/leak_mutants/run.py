"""Measure the gate: run every mutant and its clean twin through the audit, and print who killed whom.

    python benchmarks/leak_mutants/run.py [--fail-under 100] [--only features/] [--json result.json]

A mutant is killed if its audit refuses it, or if an exception of the gate does ("error"). Its clean twin must
pass. Beside the gate stand auditors as public tools and papers have them (see strategies.py), run on what they can
take; "." is a miss, "-" means that they cannot take the input. Survivors are named with the reason.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

# The stages lie beside this file, whichever way it is run.
sys.path.insert(0, str(Path(__file__).parent))

import stage_around_the_clock
import stage_execution
import stage_features
import stage_features_more
import stage_held
import stage_ingest
import stage_labels
import stage_more
import stage_portfolio
import stage_prediction
import stage_selection
import stage_sequences
import stage_steps
import stage_training
from mutant import Mutant
from strategies import NOT_RUN, verdicts

from trademl_pipeline.lake.seal import SealedLakeError
from trademl_pipeline.leakage import AuditError
from trademl_pipeline.training.ledger import LedgerError

STAGES = (
    stage_ingest,
    stage_around_the_clock,
    stage_features,
    stage_features_more,
    stage_held,
    stage_labels,
    stage_sequences,
    stage_training,
    stage_more,
    stage_prediction,
    stage_steps,
    stage_selection,
    stage_portfolio,
    stage_execution,
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
    "Y": "rerun",
    "N": "not audited",
    "!": "error",
}
MARKS = {True: "x", False: ".", None: "-"}
STAGE_NAMES = (
    "ingest",
    "features",
    "labels",
    "sequences",
    "training",
    "prediction",
    "selection",
    "portfolio",
    "execution",
    "risk",
    "serving",
)
NO_SUCH_STAGE = {
    "risk": "no code limits or hedges a portfolio beyond its weights and the cap on volume",
    "serving": "a champion is registered as an MLflow model, and nothing here serves it",
}
REFUSALS = (AuditError, LedgerError, SealedLakeError)


def refused_by(mutant: Mutant, leaky: bool) -> tuple[set[str], str]:
    """Probes that refused, and the first detail; empty where the audit passed."""
    try:
        report = mutant.audit(leaky)
    except REFUSALS as error:
        return {"error"}, f"{type(error).__name__}: {error}"
    if report.passed:
        return set(), ""
    killers = {v.probe for v in report.violations} | ({"not audited"} if report.unaudited else set())
    details = [f"{v.column}: {v.detail}" for v in report.violations] + list(report.unaudited)
    return killers or {"nothing tested"}, "; ".join(details[:1])


def measure(mutants: list[Mutant], *, others: bool = True) -> list[dict[str, Any]]:
    """One row of results per mutant; `others`: run the auditors beside the gate too."""
    rows: list[dict[str, Any]] = []
    for mutant in mutants:
        start = time.perf_counter()
        killers, detail = refused_by(mutant, leaky=True)
        false_alarm, why = refused_by(mutant, leaky=False)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "name": mutant.name,
                "stage": mutant.stage,
                "title": mutant.title,
                "killed_by": sorted(killers),
                "expected": sorted(mutant.kills),
                "as_expected": bool(killers & mutant.kills),
                "survives": mutant.survives,
                "clean_refused_by": sorted(false_alarm),
                "others": verdicts(mutant, leaky=True) if others else {},
                "others_on_clean": verdicts(mutant, leaky=False) if others else {},
                "seconds": round(seconds / 2, 3),
                "detail": detail or why,
                "false_alarm": why,
            }
        )
    return rows


def matrix(rows: list[dict[str, Any]]) -> str:
    """The kill matrix as text."""
    width = max(len(r["name"]) for r in rows)
    names = list(rows[0]["others"])
    head = " ".join(PROBES) + "  " + " ".join(f"{n[:6]:<6}" for n in names) + "  clean"
    lines = [f"{'mutant':<{width}}  {head}", "-" * (width + len(head) + 2)]
    for r in rows:
        marks = " ".join("x" if probe in r["killed_by"] else "." for probe in PROBES.values())
        others = " ".join(f"{MARKS[r['others'][n]]:^6}" for n in names)
        clean = "ok" if not r["clean_refused_by"] else "REFUSED by " + ", ".join(r["clean_refused_by"])
        missed = ""
        if not r["as_expected"]:
            missed = f"   <-- survives: {r['survives']}" if r["survives"] else "   <-- SURVIVES"
            missed += "" if not r["killed_by"] else f" (refused by {', '.join(r['killed_by'])})"
        lines.append(f"{r['name']:<{width}}  {marks}  {others}  {clean}{missed}")
    return "\n".join(lines)


def rates(rows: list[dict[str, Any]]) -> str:
    """Kills by probe, kills and cost by stage, and the other auditors beside the gate, as text."""
    lines = [f"{'probe':<14} refused  alone"]
    for name in PROBES.values():
        by = [r for r in rows if name in r["killed_by"]]
        lines.append(f"{name:<14} {len(by):>7}  {sum(len(r['killed_by']) == 1 for r in by):>5}")
    lines += ["", f"{'stage':<12} mutants  killed     %  false alarms  s an audit"]
    for stage in STAGE_NAMES:
        own = [r for r in rows if r["stage"] == stage]
        if stage in NO_SUCH_STAGE:
            lines.append(f"{stage:<12} no such stage yet: {NO_SUCH_STAGE[stage]}")
        elif own:
            killed, alarms = sum(r["as_expected"] for r in own), sum(bool(r["clean_refused_by"]) for r in own)
            cost = sum(r["seconds"] for r in own) / len(own)
            share = 100 * killed / len(own)
            lines.append(
                f"{stage:<12} {len(own):>7}  {killed:>6}  {share:>4.0f}  {alarms:>12}  {cost:>10.2f}"
            )
    lines += ["", f"{'auditor':<14} takes  killed  false alarms  the gate on the same"]
    for name in rows[0]["others"]:
        taken = [r for r in rows if r["others"][name] is not None]
        if not taken:
            lines.append(f"{name:<14} not run: not installed, or nothing among these that it can take")
            continue
        killed = sum(bool(r["others"][name]) for r in taken)
        alarms = sum(bool(r["others_on_clean"][name]) for r in taken)
        ours = sum(r["as_expected"] for r in taken)
        lines.append(f"{name:<14} {len(taken):>5}  {killed:>6}  {alarms:>12}  {ours:>20}")
    lines += [f"{name}: not run ({why})" for name, why in NOT_RUN.items()]
    return "\n".join(lines)


def origins(mutants: list[Mutant]) -> str:
    """The list of mutants for docs/leak_mutants.md."""
    lines = ["| mutant | what leaks | who had it | refused by |", "|---|---|---|---|"]
    for m in mutants:
        origin = re.sub(r"https://\S+[^\s:,;]", lambda url: f"<{url.group()}>", m.origin)
        refused = f"no probe: {m.survives}" if m.survives else ", ".join(sorted(m.kills))
        lines.append(f"| `{m.name}` | {m.title} | {origin} | {refused} |")
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates and cost. The rate is that of the mutants that a probe has to kill."""
    to_kill = [r for r in rows if not r["survives"]]
    # One that is said to survive and does not is one to be moved to the others.
    killed_after_all = [r["name"] for r in rows if r["survives"] and r["killed_by"]]
    taken = [r for r in rows if r["others"].get("truncation") is not None]
    return {
        "mutants": len(rows),
        "killed": sum(bool(r["killed_by"]) for r in rows),
        "killed_as_expected": sum(r["as_expected"] for r in rows),
        "to_kill": len(to_kill),
        "survivors": [r["name"] for r in rows if not r["killed_by"]],
        "killed_after_all": killed_after_all,
        "false_alarms": sum(bool(r["clean_refused_by"]) for r in rows),
        "kill_rate": 100 * sum(r["as_expected"] for r in to_kill) / len(to_kill) if to_kill else 100.0,
        "taken_by_the_others": len(taken),
        **{
            f"{name}_kills": sum(bool(r["others"][name]) for r in rows)
            for name in (rows[0]["others"] if rows else ())
        },
        "seconds": round(2 * sum(r["seconds"] for r in rows), 1),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fail-under", type=float, default=100.0, help="least kill rate in percent")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--gate-only", action="store_true", help="run no auditors beside the gate")
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
    rows = measure(chosen, others=not options.gate_only)
    total = summary(rows)
    print(matrix(rows))
    print()
    print(" ".join(f"{k}={v}" for k, v in PROBES.items()))
    print()
    print(rates(rows))
    print(
        f"\n{total['killed_as_expected']} of {total['mutants']} mutants killed by a probe made for them; of the "
        f"{total['to_kill']} that have to be, {total['kill_rate']:.1f} %. {total['false_alarms']} false alarms on "
        f"clean twins, {total['seconds']} s."
    )
    for row in rows:
        if not row["killed_by"]:
            print(f"survives: {row['name']}: {row['title']} ({row['survives'] or 'UNEXPECTED'})")
    for name in total["killed_after_all"]:
        print(f"killed, though it is said to survive: {name}")
    if options.json:
        options.json.write_text(json.dumps({"summary": total, "mutants": rows}, indent=1))
    failed = total["kill_rate"] < options.fail_under or total["false_alarms"] > 0
    return int(failed or bool(total["killed_after_all"]))


if __name__ == "__main__":
    sys.exit(main())
