"""Run a study month by month in this process, recorded in the Dagster instance like any other run.

`python -m trademl_pipeline.defs.launch <study> <first fold> <last fold>`; the CLI's `trademl run` starts it with the
environment of a data set. History up to the last fold is ingested and computed in one run (each month audited), then
each fold trains and predicts in a run of its own, then the report is made.
"""

import argparse
import time
from collections.abc import Sequence

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
from trademl_pipeline.defs.jobs import fold_job_name, prepare_assets, prepare_job_name, report_job_name
from trademl_pipeline.defs.partitions import FIRST_MONTH, MONTHS
from trademl_pipeline.studies import STUDIES

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
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
) -> list[str]:
    """Run one job, or some assets of it; returns what failed, empty when nothing did."""
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        tags=tags,
        run_config=QUIET,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
    )
    failed = failures(result)
    if not result.success and not failed:
        failed = [f"run {result.run_id} failed; open it in the UI (`make ui`)"]
    return failed


def run_study(study: str, first: str, last: str, keep_going: bool) -> int:
    """Prepare history, run the folds `first` to `last`, report; returns the exit code."""
    folds = list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    months = len(list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(FIRST_MONTH, last))))
    failed = 0
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        console.print(
            f"Preparing {months} months, {FIRST_MONTH[:7]} to {last[:7]} (bars, features, labels, windows)"
        )
        tags = {RANGE_START: FIRST_MONTH, RANGE_END: last}
        job = prepare_job_name(study)
        if keep_going:
            # In one run, a refusal would keep the steps behind it from every month, not from the refused one only.
            inputs = prepare_assets(STUDIES[study])
            problems = [p for asset in inputs for p in _execute(job, instance, tags=tags, assets=[asset])]
        else:
            problems = _execute(job, instance, tags=tags)
        _show(problems)
        if problems and not keep_going:
            return 1
        failed += len(problems)
        console.print(
            f"  {months} months in {time.perf_counter() - began:.1f} s, each audited before it was published"
        )
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress:
            task = progress.add_task("Folds", total=len(folds))
            for month in folds:
                progress.update(task, description=f"Fold {month[:7]}")
                problems = _execute(fold_job_name(study), instance, partition=month)
                _show(problems)
                failed += len(problems)
                if problems and not keep_going:
                    return 1
                progress.advance(task)
        problems = _execute(report_job_name(study), instance, partition=last)
        _show(problems)
        console.print(f"Done in {time.perf_counter() - began:.1f} s")
    return 1 if failed or problems else 0


def _show(problems: Sequence[str]) -> None:
    for problem in problems:
        console.print(f"[red]refused or failed:[/red] {problem}", highlight=False, soft_wrap=True)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("first", help="first fold, YYYY-MM-01")
    parser.add_argument("last", help="last fold, YYYY-MM-01")
    parser.add_argument("--keep-going", action="store_true")
    arguments = parser.parse_args()
    return run_study(arguments.study, arguments.first, arguments.last, arguments.keep_going)


if __name__ == "__main__":
    raise SystemExit(main())
