"""`trademl run`: the steps of studies over months, in a few processes, each run written down as it goes.

History up to the last fold is ingested and computed first, one run per asset with each month audited, then each fold of
each study trains and predicts in a run of its own, quarters side by side, then the reports are made. The processes know
no Dagster: what they do is told to a `Recorder`, which lies where the UI looks.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline.catalog import (
    COMPARISON_ASSET,
    fold_assets,
    generations,
    input_assets,
)
from trademl_pipeline.pipeline.job_names import COMPARE, GPU_POOL, PREPARE_ALL, fold_job_name, report_job_name
from trademl_pipeline.pipeline.report import report_name
from trademl_pipeline.pipeline.runner import Job, Runner
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import RAW_BARS


@dataclass(frozen=True)
class Result:
    """The result of a run of studies.

    Attributes:
        problems: how many jobs were refused or failed.
        reported: studies whose report was written.
        compared: the report that compares them was written.
        refused: asset and month of what is not of this run, since it was refused or failed.
    """

    problems: int
    reported: tuple[str, ...] = ()
    compared: bool = False
    refused: tuple[str, ...] = ()


def run_studies(
    runner: Runner, studies: Sequence[str], first: str, last: str, *, as_of: str = "", start: str
) -> Result:
    """Prepare history, run the folds `first` to `last` of each study, report.

    Args:
        runner: does the jobs.
        studies: their names.
        first, last: month keys of the folds.
        as_of: month of the reports, by which outcomes are known; empty: the last fold's.
        start: first month of history.

    Raises:
        Stopped: a signal came.
    """
    as_of, months = as_of or last, month_range(first, last)
    failed = len(prepare(runner, studies, start, last, as_of))
    if failed and not runner.keep_going:
        return Result(failed, refused=tuple(runner.refused))
    # Workers share the cores.
    threads = runner.settings.training.threads or runner.workers.threads
    options = Site(runner.settings).train_options(threads=threads)
    broken = _run_folds(runner, [group for study in studies for group in folds(study, months, options)])
    failed += sum(broken.values())
    if runner.halted:
        return Result(failed, refused=tuple(runner.refused))
    whole = [study for study in studies if runner.keep_going or not broken.get(study)]
    unreported = _report(runner, [_report_job(study, as_of) for study in whole])
    failed += len(unreported)
    compared = len(studies) > 1 and (runner.keep_going or not failed)
    if compared:
        uncompared = _report(runner, [Job(COMPARE, (COMPARISON_ASSET,), (as_of,))])
        failed, compared = failed + len(uncompared), not uncompared
    reported = tuple(study for study in whole if study not in unreported)
    return Result(failed, reported, compared, tuple(runner.refused))


def prepare(runner: Runner, studies: Sequence[str], start: str, last: str, as_of: str) -> list[str]:
    """Ingest and compute the inputs of studies; returns a line for each problem.

    Args:
        runner: does the jobs.
        studies: their names.
        start: first month of history.
        last: last month of history, which is the last fold's.
        as_of: month by which outcomes are known.

    Raises:
        Stopped: a signal came.
    """
    listener, months = runner.listener, month_range(start, last)
    began = time.perf_counter()
    listener.said(
        f"Preparing {len(months)} months, {start[:7]} to {last[:7]} (bars, features, labels, windows)"
    )
    inputs = list(dict.fromkeys(asset for study in studies for asset in input_assets(STUDIES[study])))
    labels = {STUDIES[study].labels.name for study in studies}
    problems: list[str] = []
    listener.began("Preparing", len(months) * len(inputs))
    for group in generations(inputs):
        # Outcomes need bars and labels of later months, and nothing else of them.
        ends = {asset: as_of if asset in labels | {RAW_BARS.name} else last for asset in group}
        jobs = [Job(PREPARE_ALL, (asset,), tuple(month_range(start, ends[asset]))) for asset in group]
        problems += runner.run(
            [[job] for job in jobs], on_event=lambda job, event: listener.advanced(event.asset)
        )
        if problems and not runner.keep_going:
            break
    if problems:
        listener.broke_off()
    listener.ended()
    for problem in problems:
        listener.problem(problem)
    if not problems:
        listener.said(
            f"  {len(months)} months in {time.perf_counter() - began:.1f} s, each audited before it was published"
        )
    return problems


def folds(study: str, months: Sequence[str], options: TrainOptions) -> list[list[Job]]:
    """Return the folds of a study by calendar quarter: those that may share a model follow one another."""
    quarters: dict[tuple[str, int], list[Job]] = {}
    assets = tuple(fold_assets(STUDIES[study]))
    for month in months:
        quarter = (month[:4], (int(month[5:7]) - 1) // 3)
        job = Job(fold_job_name(study), assets, (month,), options, study, GPU_POOL)
        quarters.setdefault(quarter, []).append(job)
    return list(quarters.values())


def _run_folds(runner: Runner, groups: Sequence[Sequence[Job]]) -> Mapping[str, int]:
    """Run folds; returns how many failed of each study."""
    listener, broken = runner.listener, dict[str, int]()

    def done(job: Job, problems: list[str]) -> None:
        for problem in problems:
            listener.problem(problem)
        if problems:
            broken[job.study] = broken.get(job.study, 0) + 1
        listener.advanced(job.title)

    listener.began("Folds", sum(len(group) for group in groups))
    runner.run(groups, on_job=done)
    if runner.halted:
        listener.broke_off()
    listener.ended()
    return broken


def _report_job(study: str, as_of: str) -> Job:
    return Job(report_job_name(study), (report_name(study),), (as_of,), study=study)


def _report(runner: Runner, jobs: Sequence[Job]) -> list[str]:
    """Run jobs side by side and say what failed; returns their studies. One that fails does not stop the others."""
    failed: list[str] = []

    def done(job: Job, problems: list[str]) -> None:
        for problem in problems:
            runner.listener.problem(problem)
        if problems:
            failed.append(job.study)

    runner.run([[job] for job in jobs], on_job=done)
    return failed
