"""Run a study month by month in this process, recorded in the Dagster instance like any other run.

`python -m trademl_pipeline.defs.launch <study,...> <first fold> <last fold>`; the CLI's `trademl run` starts it with
the environment of a data set. History up to the last fold is ingested and computed in one run (each month audited),
then each fold of each study trains and predicts in a run of its own, then the reports are made.
"""

import argparse
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

from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.gate import watching
from trademl_pipeline.defs.jobs import PREPARE_ALL, fold_job_name, prepare_assets, report_job_name
from trademl_pipeline.defs.partitions import FIRST_MONTH, MONTHS
from trademl_pipeline.studies import STUDIES

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

console = Console()
defs = build_definitions()


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """One line for each failed step: what the step itself said."""
    lines = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            lines.append(data.user_failure_data.description)
        elif data.error:
            cause = data.error
            while cause.cause is not None:
                cause = cause.cause
            lines.append(f"{event.step_key}: {cause.message.strip()}")
    return lines


def _execute(
    job: str,
    instance: dg.DagsterInstance,
    *,
    partition: str | None = None,
    tags: dict[str, str] | None = None,
    assets: Sequence[str] = (),
    config: dict[str, Any] | None = None,
) -> list[str]:
    """Run one job, or some assets of it; returns what failed, empty when nothing did."""
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        tags=tags,
        run_config=QUIET | (config or {}),
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
    )
    failed = failures(result)
    if not result.success and not failed:
        failed = [f"run {result.run_id} failed; open it in the UI (`make ui`)"]
    return failed


def run_studies(
    studies: Sequence[str],
    first: str,
    last: str,
    *,
    as_of: str = "",
    keep_going: bool = False,
    size: str = "",
    epochs: int = 0,
) -> int:
    """Prepare history, run the folds `first` to `last` of each study, report; returns the exit code.

    Args:
        studies: their names.
        first, last: month keys of the folds.
        as_of: month of the reports, by which outcomes are known; empty: the last fold's.
        keep_going: go on with other months and studies where one is refused.
        size, epochs: overrides of the models' settings.
    """
    as_of = as_of or last
    folds = list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    settings = {k: v for k, v in (("size", size), ("epochs", epochs)) if v}
    failed = 0
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        problems = _prepare(instance, studies, last, as_of, keep_going)
        if problems and not keep_going:
            return 1
        failed += len(problems)
        with _progress() as progress:
            task = progress.add_task("Folds", total=len(folds) * len(studies))
            for month in folds:
                for study in studies:
                    progress.update(task, description=f"{study} {month[:7]}")
                    config = {"ops": {f"model_{study}": {"config": settings}}} if settings else None
                    problems = _execute(fold_job_name(study), instance, partition=month, config=config)
                    _show(problems)
                    failed += len(problems)
                    if problems and not keep_going:
                        return 1
                    progress.advance(task)
        for study in studies:
            problems = _execute(report_job_name(study), instance, partition=as_of)
            _show(problems)
            failed += len(problems)
        if len(studies) > 1:
            problems = _execute("compare_studies", instance, partition=as_of)
            _show(problems)
            failed += len(problems)
        console.print(f"Done in {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _prepare(
    instance: dg.DagsterInstance, studies: Sequence[str], last: str, as_of: str, keep_going: bool
) -> list[str]:
    months = len(list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(FIRST_MONTH, last))))
    began = time.perf_counter()
    console.print(
        f"Preparing {months} months, {FIRST_MONTH[:7]} to {last[:7]} (bars, features, labels, windows)"
    )
    tags = {RANGE_START: FIRST_MONTH, RANGE_END: last}
    inputs = list(dict.fromkeys(asset for study in studies for asset in prepare_assets(STUDIES[study])))
    with _progress() as progress:
        task = progress.add_task("Preparing", total=months * len(inputs))

        def seen(asset: str, month: str, metadata: dict[str, Any] | None) -> None:
            progress.update(task, description=asset, advance=1)

        with watching(seen):
            # In one run, a refusal would keep the steps behind it from every month, not from the refused one only.
            runs = [[asset] for asset in inputs] if keep_going else [inputs]
            problems = [
                p for assets in runs for p in _execute(PREPARE_ALL, instance, tags=tags, assets=assets)
            ]
    if as_of > last and (keep_going or not problems):
        # Outcomes need bars and labels of later months, and nothing else of them.
        after = list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(last, as_of)))[1]
        tail = ["raw_bars", *dict.fromkeys(STUDIES[study].labels.name for study in studies)]
        problems += _execute(PREPARE_ALL, instance, tags={RANGE_START: after, RANGE_END: as_of}, assets=tail)
    _show(problems)
    if not problems:
        console.print(
            f"  {months} months in {time.perf_counter() - began:.1f} s, each audited before it was published"
        )
    return problems


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
    given = parser.parse_args()
    return run_studies(
        given.studies.split(","),
        given.first,
        given.last,
        as_of=given.as_of,
        keep_going=given.keep_going,
        size=given.size,
        epochs=given.epochs,
    )


if __name__ == "__main__":
    raise SystemExit(main())
