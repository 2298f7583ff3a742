"""What the gate adds to a month's run, in processor time.

    python -m benchmarks.gate_overhead [--symbols 40] [--months 20] [--repeat 2] [--epochs 0] [--profile]

History is computed first, unseen by the gate. Then the last month runs again, as Dagster runs it: bars, features,
labels, windows, model and predictions. Prints the processor seconds of each asset's run, those spent inside its
audits, and of these the ones in which a step ran again, all from the same runs. The cold run of the nightly audit is
no part of a month's run, and not of this. Fewer epochs make the share of the gate larger than it is.
"""

import argparse
import contextlib
import cProfile
import functools
import os
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from types import ModuleType
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
HOME = tempfile.TemporaryDirectory()
os.environ["TRADEML_HOME"] = HOME.name
os.environ["TRADEML_DATA__START"] = "2013-01-01"

import dagster as dg  # noqa: E402

from trademl_pipeline.defs import build_definitions  # noqa: E402
from trademl_pipeline.leakage import AuditReport  # noqa: E402
from trademl_pipeline.market.calendar import offset_month  # noqa: E402
from trademl_pipeline.pipeline import gate, predict  # noqa: E402
from trademl_pipeline.pipeline.catalog import input_assets  # noqa: E402
from trademl_pipeline.studies import STUDIES  # noqa: E402

FIRST = "2013-01-01"
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Clock:
    """Processor seconds spent inside audits, and those of them in steps that ran again."""

    def __init__(self, profile: cProfile.Profile | None) -> None:
        self.spent = 0.0
        self.again = 0.0
        self._inside = False
        self._profile = profile

    def timing(self, audit: Callable) -> Callable:
        """The audit, timed unless another audit calls it."""

        @functools.wraps(audit)
        def timed(*arguments, **options):
            if self._inside:
                return audit(*arguments, **options)
            self._inside = True
            before = time.process_time()
            if self._profile:
                self._profile.enable()
            try:
                return audit(*arguments, **options)
            finally:
                if self._profile:
                    self._profile.disable()
                self.spent += time.process_time() - before
                self._inside = False

        return timed

    def running_again(self, rerun: Callable) -> Callable:
        """A step's second run, timed."""

        @functools.wraps(rerun)
        def timed(*arguments, **options):
            before = time.process_time()
            try:
                return rerun(*arguments, **options)
            finally:
                self.again += time.process_time() - before

        return timed


def stages() -> list[ModuleType]:
    return [
        m
        for n, m in list(sys.modules.items())
        if n.startswith("trademl_pipeline.pipeline.") and m is not gate
    ]


@contextlib.contextmanager
def audits(wrap: Callable[[Callable], Callable]) -> Iterator[None]:
    """Put something around every audit: those handed to `publish`, and those that a stage makes before it."""
    honest = gate.publish

    def publish(run, lake, schema, frame, month, audit, **options):
        return honest(run, lake, schema, frame, month, wrap(audit), **options)

    with contextlib.ExitStack() as stack:
        for module in stages():
            if getattr(module, "publish", None) is honest:
                stack.enter_context(patch.object(module, "publish", publish))
            for name in [n for n in vars(module) if n.startswith("audit_")]:
                stack.enter_context(patch.object(module, name, wrap(getattr(module, name))))
        yield


def nothing(audit: Callable) -> Callable:
    # The lake takes no gated month without its probes: history is vouched for, not audited.
    return lambda *_, **__: AuditReport(coverage={probe: {"rows": 1} for probe in gate.PROBES})


def run(defs: dg.Definitions, instance: dg.DagsterInstance, job: str, asset: str, **where) -> float:
    print(f"{asset} …", file=sys.stderr, flush=True)
    before = time.process_time()
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(asset)], run_config=QUIET, **where
    )
    assert result.success
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="direction", choices=sorted(STUDIES))
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--months", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=0, help="of every network; 0: as the preset says")
    parser.add_argument("--profile", action="store_true", help="print where the audits spend their time")
    options = parser.parse_args()
    os.environ["TRADEML_DATA__SYMBOLS"] = str(options.symbols)
    os.environ["TRADEML_TRAINING__EPOCHS"] = str(options.epochs)
    study = STUDIES[options.study]
    last = offset_month(FIRST, options.months - 1)
    inputs = input_assets(study)
    steps = [(f"prepare_{study.name}", a) for a in inputs]
    steps += [(f"fold_{study.name}", f"{kind}_{study.name}") for kind in ("model", "predictions")]
    defs = build_definitions()
    profile = cProfile.Profile() if options.profile else None
    clock = Clock(profile)
    total, gated, again = defaultdict(list), defaultdict(list), defaultdict(list)
    with dg.instance_for_test() as instance:
        with audits(nothing):
            for job, asset in steps[: len(inputs)]:
                run(defs, instance, job, asset, tags=dict(zip(RANGE, (FIRST, last), strict=True)))
            for job, asset in steps[len(inputs) :]:
                run(defs, instance, job, asset, partition_key=last)
        with audits(clock.timing), patch.object(predict, "rerun", clock.running_again(predict.rerun)):
            for _ in range(options.repeat):
                for job, asset in steps:
                    clock.spent = clock.again = 0.0
                    total[asset].append(run(defs, instance, job, asset, partition_key=last))
                    gated[asset].append(clock.spent)
                    again[asset].append(clock.again)
    epochs = f", {options.epochs} epochs" if options.epochs else ""
    print(f"{study.name}, {options.symbols} symbols, {options.months} months of history{epochs}.")
    print(f"Processor seconds, median of {options.repeat}")
    print(f"{'asset':<28}{'run':>8}{'gate':>8}{'again':>8}{'adds':>8}")
    rows = {asset: tuple(median(t[asset]) for t in (total, gated, again)) for _, asset in steps}
    rows["the month"] = tuple(sum(column) for column in zip(*rows.values(), strict=True))
    for name, (whole, share, second) in rows.items():
        print(f"{name:<28}{whole:>8.2f}{share:>8.2f}{second:>8.2f}{share / (whole - share):>8.1%}")
    whole, share, second = rows["the month"]
    model = rows[steps[-2][1]][0]
    print(
        f"The gate adds {share / (whole - share):.1%} to a month's run, {share / (whole - share - model):.1%} to one "
        f"without the training; it is {share / whole:.1%} of the run, {second / whole:.1%} in steps that run again."
    )
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
