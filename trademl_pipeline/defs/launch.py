"""Run studies month by month in a few processes, recorded in the Dagster instance like any other runs.

`python -m trademl_pipeline.defs.launch <study,...> <first fold> <last fold>`; the CLI's `trademl run` starts it with
the environment of a data set. History up to the last fold is ingested and computed first, one run per asset with each
month audited, then each fold of each study trains and predicts in a run of its own, quarters side by side, then the
reports are made.
"""

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from trademl_pipeline.defs.jobs import PREPARE_ALL, fold_job_name, prepare_assets, report_job_name
from trademl_pipeline.defs.partitions import FIRST_MONTH, MONTHS
from trademl_pipeline.defs.workers import Task, Workers, definitions, workers
from trademl_pipeline.studies import STUDIES

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# What a worker gains beyond this many is lost in waiting for the turn to commit.
MOST_WORKERS = 4

console = Console()


def run_studies(
    studies: Sequence[str],
    first: str,
    last: str,
    *,
    as_of: str = "",
    keep_going: bool = False,
    size: str = "",
    epochs: int = 0,
    processes: int = 0,
) -> int:
    """Prepare history, run the folds `first` to `last` of each study, report; returns the exit code.

    Args:
        studies: their names.
        first, last: month keys of the folds.
        as_of: month of the reports, by which outcomes are known; empty: the last fold's.
        keep_going: go on with other months and studies where one is refused.
        size, epochs: overrides of the models' settings.
        processes: that work side by side; 0: one a core, four at most.
    """
    as_of = as_of or last
    count = processes or min(os.cpu_count() or 1, MOST_WORKERS)
    began = time.perf_counter()
    with dg.DagsterInstance.get() as instance, workers(instance, count) as pool:
        failed = len(_prepare(pool, studies, last, as_of, keep_going))
        if failed and not keep_going:
            return 1
        months = list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
        settings = {k: v for k, v in (("size", size), ("epochs", epochs)) if v}
        chains = [chain for study in studies for chain in _folds(study, months, settings)]
        problems, broken = _run_folds(pool, chains, len(months) * len(studies), keep_going)
        failed += problems
        whole = [study for study in studies if keep_going or fold_job_name(study) not in broken]
        failed += _tell(pool, [report_job_name(study) for study in whole], as_of)
        if len(studies) > 1 and (keep_going or not failed):
            failed += _tell(pool, ["compare_studies"], as_of)
    console.print(f"Done in {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


def _folds(study: str, months: Sequence[str], settings: dict[str, Any]) -> list[list[Task]]:
    """The folds of a study by calendar quarter: those that may share a model one after another, others side by side."""
    config = {"ops": {f"model_{study}": {"config": settings}}} if settings else {}
    quarters: dict[tuple[str, int], list[Task]] = {}
    for month in months:
        quarter = (month[:4], (int(month[5:7]) - 1) // 3)
        quarters.setdefault(quarter, []).append(Task(fold_job_name(study), month, config=config))
    return list(quarters.values())


def _tell(pool: Workers, jobs: Sequence[str], as_of: str) -> int:
    """Run jobs side by side as of a month, and show what failed; returns how many did."""
    problems = pool.run([[Task(job, as_of)] for job in jobs], keep_going=True)
    _show(problems)
    return len(problems)


def _run_folds(
    pool: Workers, chains: Sequence[Sequence[Task]], total: int, keep_going: bool
) -> tuple[int, set[str]]:
    """Work off the chains; returns how many tasks failed, and of which jobs."""
    broken: set[str] = set()
    with _progress() as progress:
        bar = progress.add_task("Folds", total=total)

        def done(task: Task, failed: list[str]) -> None:
            _show(failed)
            if failed:
                broken.add(task.job)
            progress.update(bar, description=f"{task.job} {task.partition}"[:40], advance=1)

        return len(pool.run(chains, keep_going=keep_going, on_task=done)), broken


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _prepare(pool: Workers, studies: Sequence[str], last: str, as_of: str, keep_going: bool) -> list[str]:
    months = len(list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(FIRST_MONTH, last))))
    began = time.perf_counter()
    console.print(
        f"Preparing {months} months, {FIRST_MONTH[:7]} to {last[:7]} (bars, features, labels, windows)"
    )
    inputs = list(dict.fromkeys(asset for study in studies for asset in prepare_assets(STUDIES[study])))
    labels = {STUDIES[study].labels.name for study in studies}
    problems: list[str] = []
    with _progress() as progress:
        bar = progress.add_task("Preparing", total=months * len(inputs))
        for level in levels(inputs):
            # Outcomes need bars and labels of later months, and nothing else of them.
            chains = [
                [_range(asset, FIRST_MONTH, as_of if asset in labels | {"raw_bars"} else last)]
                for asset in level
            ]
            problems += pool.run(
                chains,
                keep_going=keep_going,
                on_month=lambda asset: progress.update(bar, description=asset, advance=1),
            )
            if problems and not keep_going:
                break
        progress.update(bar, completed=months * len(inputs))
    _show(problems)
    if not problems:
        console.print(
            f"  {months} months in {time.perf_counter() - began:.1f} s, each audited before it was published"
        )
    return problems


def levels(assets: Sequence[str]) -> list[list[str]]:
    """The assets in groups, each of which reads only what groups before it make."""
    graph = definitions().resolve_asset_graph()
    left, found = list(assets), []
    while left:
        waiting = set(left)
        level = [
            asset
            for asset in left
            if not waiting & {p.to_user_string() for p in graph.get(dg.AssetKey(asset)).parent_keys}
        ]
        found.append(level)
        left = [asset for asset in left if asset not in level]
    return found


def _range(asset: str, first: str, last: str) -> Task:
    return Task(PREPARE_ALL, tags={RANGE_START: first, RANGE_END: last}, assets=(asset,))


def _show(problems: Sequence[str]) -> None:
    for problem in problems:
        console.print(f"[red]refused or failed:[/red] {problem}", highlight=False, soft_wrap=True)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", help="names, separated by commas")
    parser.add_argument("first", help="first fold, YYYY-MM-01")
    parser.add_argument("last", help="last fold, YYYY-MM-01")
    parser.add_argument(
        "--as-of", default="", help="month of the reports, YYYY-MM-01; default: the last fold's"
    )
    parser.add_argument("--size", default="")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--processes", type=int, default=0)
    given = parser.parse_args()
    return run_studies(
        given.studies.split(","),
        given.first,
        given.last,
        as_of=given.as_of,
        keep_going=given.keep_going,
        size=given.size,
        epochs=given.epochs,
        processes=given.processes,
    )


if __name__ == "__main__":
    raise SystemExit(main())
