"""What it costs to have the folds of a study orchestrated and recorded, beside a plain loop over the same steps.

    python -m benchmarks.orchestration [--study direction] [--symbols 40] [--months 24] [--folds 12] [--repeat 1]

History is prepared once. Each side has a copy of it and a process with one thread, which has loaded its libraries and
worked off one fold before the clocks start. Then the sides take turns, fold by fold and each as often first, so that
whatever else the machine does hits all of them:

- `trademl run`: the loop over the steps that records its runs in the Dagster instance on disk.
- Dagster: a run of `fold_<study>` by Dagster itself, in one process: events, check results, metadata and its figures.
- the loop: `benchmarks/plain_loop.py`, which publishes the same tables through the same gate, with certificates, audits
  and MLflow runs, and records nothing else.
- the bare loop: predictions as Parquet files; no gate, no lake to write, no tracking. What the others add to it is what
  orchestration and all guarantees cost together.

That the sides did the same work is checked: the same predictions, and from the first three the same results of audits
and as many certificates. What a side takes once a process, its imports and the definitions, is told apart. A run gives
its core up hundreds of times, and each time has to get it back: where other programs keep the cores busy its wall time
grows more than the loop's, and processor time is the better measure.
"""

import argparse
import contextlib
import cProfile
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from trademl_pipeline import settings
from trademl_pipeline.data_sets import SIMULATED_START, DataSet
from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.studies import STUDIES, StudySpec

RECORDED, DAGSTER, LOOP, BARE = "trademl run", "Dagster", "the loop", "the bare loop"
SIDES = (RECORDED, DAGSTER, LOOP, BARE)
BARE_FOLDER, HISTORY = "bare", "history"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


# How the process of a side runs one month.
_run: Callable[[str], None] | None = None


@dataclass
class Measured:
    """One side's folds.

    Attributes:
        once: wall seconds before the first fold, for the imports and the definitions.
        wall, cpu: seconds of each fold.
        predictions: content hash of what was predicted.
        audits: results of the gate by table, probe and outcome.
        certificates: months that have one.
    """

    once: float
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    predictions: str = ""
    audits: dict[tuple[str, str, bool], int] = field(default_factory=dict)
    certificates: int = 0


@contextlib.contextmanager
def variables(environment: dict[str, str]) -> Iterator[None]:
    """Processes that are started within have this environment."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def process() -> ProcessPoolExecutor:
    """A process that is started with the first call."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def prepare(study: StudySpec, last: str) -> None:
    """Everything that folds up to a month read, and the databases that the first run of a data set makes."""
    from trademl_pipeline.pipeline.run import prepare as prepare_inputs

    said = settings.current()
    with recording_runner(said) as runner:
        stop_at(prepare_inputs(runner, [study.name], said.data.start, last, last))
    with Site(said).tracker.run("preparation", last, {}):
        pass


@contextlib.contextmanager
def recording_runner(said: settings.Settings) -> Iterator[Any]:
    """What `trademl run` does its jobs with, in this process."""
    from trademl_pipeline.data_sets import write_instance
    from trademl_pipeline.defs.instance import opened_recorder
    from trademl_pipeline.pipeline.runner import Runner
    from trademl_pipeline.pipeline.workers import Workers

    write_instance(said.dagster_home)
    with opened_recorder(said.dagster_home) as recorder, Workers(1) as workers:
        yield Runner(said, recorder, Silent(), workers)


class Silent:
    """Hears how far the work is, and says nothing."""

    def began(self, title: str, total: int) -> None: ...
    def advanced(self, what: str, pieces: int = 1) -> None: ...
    def ended(self) -> None: ...
    def broke_off(self) -> None: ...
    def said(self, line: str) -> None: ...
    def problem(self, line: str) -> None: ...


def stop_at(problems: Sequence[str]) -> None:
    if problems:
        raise RuntimeError("; ".join(problems))


def begin(side: str, study: StudySpec) -> float:
    """Get a side's process ready; returns the seconds that took."""
    global _run
    began = time.perf_counter()
    _run = prepared(side, study)
    return time.perf_counter() - began


def fold(month: str, profile: str = "") -> tuple[float, float]:
    """Wall and processor seconds of one month in a side's process."""
    assert _run is not None
    profiler = cProfile.Profile() if profile else contextlib.nullcontext()
    wall, cpu = time.perf_counter(), processor_seconds()
    with profiler:
        _run(month)
    spent = time.perf_counter() - wall, processor_seconds() - cpu
    if isinstance(profiler, cProfile.Profile):
        profiler.dump_stats(profile)
    return spent


def processor_seconds() -> float:
    """Of this process and of those that it has started and that have ended: Dagster has some that copy its output."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def prepared(side: str, study: StudySpec) -> Callable[[str], None]:
    """What runs a month on a side, with everything imported that it needs."""
    said = settings.current()
    site = Site(said)
    if side == RECORDED:
        from trademl_pipeline.pipeline.run import folds

        runner = contextlib.ExitStack().enter_context(recording_runner(said))
        options = site.train_options()
        return lambda month: stop_at(runner.run(folds(study.name, [month], options)))
    if side == DAGSTER:
        import dagster as dg

        from trademl_pipeline.defs import build_definitions
        from trademl_pipeline.pipeline.job_names import fold_job_name

        job = build_definitions().resolve_job_def(fold_job_name(study.name))
        instance = dg.DagsterInstance.get()
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return lambda month: stop_at(
            []
            if job.execute_in_process(instance=instance, partition_key=month, run_config=quiet).success
            else [f"the run of {month} failed"]
        )
    from benchmarks import plain_loop

    if side == LOOP:
        return lambda month: plain_loop.with_the_gate(site, study, [month])
    models, folder = {}, said.home / BARE_FOLDER
    folder.mkdir()
    return lambda month: plain_loop.bare(site, study, [month], folder, models)


def outcome(side: str, study: StudySpec, months: Sequence[str]) -> dict[str, Any]:
    """What a side has left behind, as fields of `Measured`."""
    from trademl_pipeline.lake.frames import data_version
    from trademl_pipeline.lake.schema import TableSchema
    from trademl_pipeline.tables import AUDITS, certificate_table

    names, found = ["symbol", "session", *study.task.output_schema], {}
    if side == BARE:
        files = sorted((settings.current().home / BARE_FOLDER).glob("*.parquet"))
        values = pl.concat([pl.read_parquet(file, columns=names) for file in files])
    else:
        store = Site(settings.current()).lake
        values = store.read(study.predictions, months=(months[0], months[-1]), columns=names)
        made = pl.col("table_name").is_in(
            [study.models.name, study.predictions.name, f"cross_validation_{study.name}"]
        )
        counted = store.read(AUDITS).filter(made).group_by("table_name", "probe", "passed").len()
        found["audits"] = {(table, probe, passed): n for table, probe, passed, n in counted.iter_rows()}
        found["certificates"] = len(store.months(certificate_table(study.name)))
    columns = {name: study.predictions.columns[name] for name in names}
    schema = TableSchema("values", columns, ("symbol", "session"))
    return found | {"predictions": data_version(schema, values.select(names))}


def require_the_same(rounds: Sequence[dict[str, Measured]]) -> None:
    """Raises: RuntimeError where the sides did not do the same work."""
    every = [measured for sides in rounds for measured in sides.values()]
    gated = [sides[side] for sides in rounds for side in (RECORDED, DAGSTER, LOOP)]
    if len({m.predictions for m in every}) != 1:
        raise RuntimeError("the sides predicted different values")
    if any((m.audits, m.certificates) != (gated[0].audits, gated[0].certificates) for m in gated):
        raise RuntimeError(f"the sides audited different things: {gated[0]} and others")


def report(rounds: Sequence[dict[str, Measured]]) -> None:
    wall = {side: sum(sum(sides[side].wall) for sides in rounds) / len(rounds) for side in SIDES}
    cpu = {side: sum(sum(sides[side].cpu) for sides in rounds) / len(rounds) for side in SIDES}
    folds = len(rounds[0][DAGSTER].wall)
    print(f"{'seconds of ' + str(folds) + ' folds':<22}{'wall':>8}{'processor':>11}{'once':>8}")
    for side in SIDES:
        once = median(sides[side].once for sides in rounds)
        print(f"{side:<22}{wall[side]:>8.2f}{cpu[side]:>11.2f}{once:>8.2f}")
    for side in (RECORDED, DAGSTER):
        print(
            f"{side} costs {more(wall, side, LOOP)} wall time than the loop, {more(cpu, side, LOOP)} processor time;"
        )
        print(
            f"than the bare loop, with the gate, the lake and tracking, {more(wall, side, BARE)} wall time, "
            f"{more(cpu, side, BARE)} processor time."
        )


def more(seconds: dict[str, float], side: str, than: str) -> str:
    return f"{seconds[side] / seconds[than] - 1:.1%} more"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", default="direction", choices=sorted(STUDIES))
    parser.add_argument(
        "--preset", "--size", dest="size", default="", help="of the models; default: the study's first"
    )
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--months", type=int, default=24, help="of history before the first fold")
    parser.add_argument("--folds", type=int, default=12)
    parser.add_argument("--refit", default="", choices=["", "month", "quarter"], help="default: the study's")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument(
        "--profile", help="folder for a cProfile of each side's last fold, which slows it down"
    )
    options = parser.parse_args()
    if options.profile:
        Path(options.profile).mkdir(parents=True, exist_ok=True)
    study = STUDIES[options.study]
    first = offset_month(SIMULATED_START, options.months)
    # The one before the first runs before the clocks start.
    months = [offset_month(first, n) for n in range(-1, options.folds)]
    size = options.size or study.presets[0]
    with tempfile.TemporaryDirectory() as folder:

        def environment(name: str) -> dict[str, str]:
            flags = {
                "training.refit": options.refit or None,
                "training.size": options.size or None,
                "training.threads": 1,
            }
            chosen = DataSet(symbols=str(options.symbols), home=Path(folder) / name)
            return settings.environment(chosen.make(flags)) | ONE_THREAD

        print(f"preparing {options.months + options.folds} months …", file=sys.stderr, flush=True)
        with variables(environment(HISTORY)), process() as own:
            own.submit(prepare, study, months[-1]).result()
        rounds = []
        for number in range(options.repeat):
            with contextlib.ExitStack() as stack:
                own, found = {}, {}
                for side in SIDES:
                    home = Path(folder) / f"{side} {number}"
                    shutil.copytree(Path(folder) / HISTORY, home)
                    own[side] = stack.enter_context(process())
                    with variables(environment(home.name)):
                        found[side] = Measured(own[side].submit(begin, side, study).result())
                    own[side].submit(fold, months[0]).result()
                for turn, month in enumerate(months[1:]):
                    print(f"{month[:7]}, {number + 1} of {options.repeat} …", file=sys.stderr, flush=True)
                    for place in range(len(SIDES)):
                        side = SIDES[(turn + place) % len(SIDES)]
                        last = options.profile and month == months[-1]
                        stats = f"{options.profile}/{side.replace(' ', '_')}.prof" if last else ""
                        wall, cpu = own[side].submit(fold, month, stats).result()
                        found[side].wall.append(wall)
                        found[side].cpu.append(cpu)
                rounds.append(
                    {
                        side: replace(found[side], **own[side].submit(outcome, side, study, months).result())
                        for side in SIDES
                    }
                )
    require_the_same(rounds)
    print(
        f"{study.name} ({size}), {options.symbols} symbols, {options.months} months of history, "
        f"refitted by the {options.refit or study.folds.refit}."
    )
    report(rounds)


if __name__ == "__main__":
    main()
