"""What Dagster adds to the folds of a study, beside a plain Python loop over the same functions.

    python -m benchmarks.orchestration [--study direction] [--symbols 40] [--months 24] [--folds 12] [--repeat 1]

History is prepared once. Each side has a copy of it and a process with one thread, which has loaded its libraries and
worked off one fold before the clocks start. Then the sides take turns, fold by fold and each as often first, so that
whatever else the machine does hits all of them:

- Dagster: the runs of `fold_<study>` as `trademl run` makes them in one process, on the instance on disk that
  `dagster.yaml` describes: events, check results, metadata and its figures.
- the loop: `benchmarks/plain_loop.py`, which publishes the same tables through the same gate, with certificates, audits
  and MLflow runs.
- the bare loop: predictions as Parquet files; no gate, no lake to write, no tracking. What Dagster adds to it is what
  Dagster and all guarantees cost together.

That the sides did the same work is checked: the same predictions, and from the first two the same results of audits and
as many certificates. What Dagster takes once a process, its import and the definitions, is told apart. A run gives its
core up hundreds of times, and each time has to get it back: where other programs keep the cores busy its wall time
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

from trademl_pipeline.market.calendar import offset_month
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.data_sets import SIMULATED_START, DataSet

DAGSTER, LOOP, BARE = "Dagster", "the loop", "the bare loop"
SIDES = (DAGSTER, LOOP, BARE)
BARE_FOLDER, HISTORY = "bare", "history"
ONE_THREAD = dict.fromkeys(("TRADEML_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


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
    import dagster as dg

    from trademl_pipeline.defs.jobs import prepare_job_name
    from trademl_pipeline.defs.launch import RANGE_END, RANGE_START
    from trademl_pipeline.defs.partitions import FIRST_MONTH
    from trademl_pipeline.defs.resources import TrackingResource
    from trademl_pipeline.defs.workers import Task, execute

    with dg.DagsterInstance.get() as instance:
        months = {RANGE_START: FIRST_MONTH, RANGE_END: last}
        stop_at(execute(Task(prepare_job_name(study.name), tags=months), instance))
    with TrackingResource(experiment="preparation").run("history", last, {}):
        pass


def stop_at(problems: Sequence[str]) -> None:
    if problems:
        raise RuntimeError("; ".join(problems))


def begin(side: str, study: StudySpec, size: str) -> float:
    """Get a side's process ready; returns the seconds that took."""
    global _run
    began = time.perf_counter()
    _run = prepared(side, study, size)
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


def prepared(side: str, study: StudySpec, size: str) -> Callable[[str], None]:
    """What runs a month on a side, with everything imported that it needs."""
    if side == DAGSTER:
        import dagster as dg

        from trademl_pipeline.defs.jobs import fold_job_name
        from trademl_pipeline.defs.workers import Task, definitions, execute

        definitions()
        instance = dg.DagsterInstance.get()
        config = {"ops": {f"model_{study.name}": {"config": {"size": size}}}}
        return lambda month: stop_at(execute(Task(fold_job_name(study.name), month, config=config), instance))
    from benchmarks import plain_loop
    from trademl_pipeline.defs.resources import LakeResource, home

    store = LakeResource().open()
    if side == LOOP:
        return lambda month: plain_loop.with_the_gate(store, study, [month], size)
    models, folder = {}, home() / BARE_FOLDER
    folder.mkdir()
    return lambda month: plain_loop.bare(store, study, [month], size, folder, models)


def outcome(side: str, study: StudySpec, months: Sequence[str]) -> dict[str, Any]:
    """What a side has left behind, as fields of `Measured`."""
    from trademl_pipeline.defs.resources import LakeResource, home
    from trademl_pipeline.lake.frames import data_version
    from trademl_pipeline.lake.schema import TableSchema
    from trademl_pipeline.tables import AUDITS, certificate_table

    names, found = ["symbol", "session", *study.task.published], {}
    if side == BARE:
        files = sorted((home() / BARE_FOLDER).glob("*.parquet"))
        values = pl.concat([pl.read_parquet(file, columns=names) for file in files])
    else:
        store = LakeResource().open()
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
    gated = [sides[side] for sides in rounds for side in (DAGSTER, LOOP)]
    if len({m.predictions for m in every}) != 1:
        raise RuntimeError("the sides predicted different values")
    if any((m.audits, m.certificates) != (gated[0].audits, gated[0].certificates) for m in gated):
        raise RuntimeError(f"the sides audited different things: {gated[0]} and others")


def report(rounds: Sequence[dict[str, Measured]]) -> None:
    wall = {side: sum(sum(sides[side].wall) for sides in rounds) / len(rounds) for side in SIDES}
    cpu = {side: sum(sum(sides[side].cpu) for sides in rounds) / len(rounds) for side in SIDES}
    once = median(sides[DAGSTER].once for sides in rounds)
    folds = len(rounds[0][DAGSTER].wall)
    print(f"{'seconds of ' + str(folds) + ' folds':<22}{'wall':>8}{'processor':>11}")
    for side in SIDES:
        print(f"{side:<22}{wall[side]:>8.2f}{cpu[side]:>11.2f}")
    apart = [
        (dagster - loop, of_cpu - loop_cpu)
        for sides in rounds
        for dagster, loop, of_cpu, loop_cpu in zip(
            sides[DAGSTER].wall, sides[LOOP].wall, sides[DAGSTER].cpu, sides[LOOP].cpu, strict=True
        )
    ]
    print(f"Dagster costs {more(wall, LOOP)} wall time than the loop, {more(cpu, LOOP)} processor time;")
    print(
        f"by fold, in the median, {median(w for w, _ in apart):.2f} s of wall and "
        f"{median(c for _, c in apart):.2f} s of processor time."
    )
    whole = (wall[DAGSTER] + once) / wall[LOOP] - 1
    print(f"With its import and the definitions, {once:.1f} s once a process, {whole:.1%} more wall time.")
    print(
        f"With the gate, the lake and tracking, Dagster costs {more(wall, BARE)} wall time than the bare loop, "
        f"{more(cpu, BARE)} processor time."
    )


def more(seconds: dict[str, float], side: str) -> str:
    return f"{seconds[DAGSTER] / seconds[side] - 1:.1%} more"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", default="direction", choices=sorted(STUDIES))
    parser.add_argument("--size", default="", help="of the models; default: the study's first")
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
    size = options.size or study.sizes[0]
    with tempfile.TemporaryDirectory() as folder:

        def environment(name: str) -> dict[str, str]:
            chosen = DataSet(symbols=str(options.symbols), home=Path(folder) / name)
            return chosen.environment() | {"TRADEML_REFIT": options.refit} | ONE_THREAD

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
                        found[side] = Measured(own[side].submit(begin, side, study, size).result())
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
