"""How much of the oracle's score each study recovers on a simulated market, out of sample.

    python -m benchmarks.recovery breakout pattern_confidence [--symbols 120] [--months 2014-01:2015-12] ...

All studies asked for share one market in one process. Features, labels, windows, walk-forward folds with purge and
embargo, training, predictions and the report's figures are those of the pipeline; what it leaves out is the lake, the
gate and Dagster. `--seed` draws the market: settings are chosen on other seeds than figures are quoted from.
"""

import argparse
import json
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from trademl_pipeline.features import compute
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_bounds, offset, offset_month
from trademl_pipeline.pipeline.fold import plan_of
from trademl_pipeline.pipeline.predict import predicted
from trademl_pipeline.pipeline.report import oracle_of
from trademl_pipeline.pipeline.train import training_context
from trademl_pipeline.reports import ReportConfig, ReportInputs
from trademl_pipeline.reports.content import score_lines
from trademl_pipeline.reports.measuring import evaluate
from trademl_pipeline.sequences import pattern_windows, window_index
from trademl_pipeline.sequences.windows import Windows, windows_for
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.paths import MarketSpec
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.training.dataset import training_rows
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.observation_windows import observation_windows
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger

KEY = ["symbol", "session"]


@dataclass(frozen=True)
class Tables:
    """What a study's folds are cut from: features and labels of the whole history, and its decisions."""

    bars: pl.DataFrame
    features: pl.DataFrame
    labels: pl.DataFrame
    decisions: pl.DataFrame


def tables_of(market: SimulatedMarket, study: StudySpec, last: str) -> Tables:
    """The tables up to the end of the last month and the outcomes of its decisions."""
    end = offset(month_bounds(last)[1], study.label_horizon + 1)
    bars = market.bars.filter(pl.col("session") <= end)
    sectors = market.sector_funds()
    reference = market.reference_bars().filter(pl.col("session") <= end)
    features = compute(bars, study.feature_set, reference=reference, universe=sectors)
    labels = TARGETS[study.target].compute(bars, None)
    on_pattern_observations = study.decisions == "pattern_observations"
    index = (
        pattern_windows(bars, study.window).index
        if on_pattern_observations
        else window_index(features, study.window)
    )
    clocks = bars.select(*KEY, "knowledge_time", decision_time="knowledge_time")
    decisions = index.select(*KEY, "n_valid").join(clocks, on=KEY, maintain_order="left")
    known = bars.group_by(label_end="session").agg(pl.col("knowledge_time").max())
    labels = labels.join(known, on="label_end", how="left", maintain_order="left")
    return Tables(bars, features, labels, decisions)


def windows_of(study: StudySpec, tables: Tables, keys: pl.DataFrame) -> Windows:
    """The windows that end at the keys."""
    names = study.feature_names
    if study.decisions == "pattern_observations":
        return observation_windows(keys, tables.features, names, tables.bars, study.window)
    return windows_for(keys, tables.features, names, study.window)


def walk(
    study: StudySpec, tables: Tables, months: list[str], options: argparse.Namespace, trials: TrialLedger
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of the months and those of every member, the models refitted every `options.refit` months."""
    plan, training = plan_of(study, DEFAULT_CALENDAR), training_context(study, options.size, options.epochs)
    found, first = [], tables.decisions["session"].min()
    for i in range(0, len(months), options.refit):
        block = months[i : i + options.refit]
        start, end = month_bounds(block[0])[0], month_bounds(block[-1])[1]
        fold = plan.fold(block[0], first)  # pyright: ignore[reportArgumentType]
        before = tables.decisions.filter(pl.col("session") < start)
        train, _ = training_rows(
            before, tables.labels, plan, fold, stride=study.train_stride, horizon=study.label_horizon
        )
        took = time.process_time()
        ledger = FitLedger(fold.month)
        fitted = fit_study(
            study.training, windows_of(study, tables, train), training, ledger=ledger, trials=trials
        )
        ledger.freeze()
        asked = tables.decisions.filter(pl.col("session").is_between(start, end))
        values, estimators = predicted(study, fitted, windows_of(study, tables, asked), block[0])
        found.append((values.with_columns(fold=pl.lit(block[0])), estimators))
        print(
            f"  {study.name} {block[0][:7]}: {train.height} training rows, {asked.height} decisions, "
            f"{time.process_time() - took:.0f} s of CPU",
            flush=True,
        )
    return pl.concat([p for p, _ in found]), pl.concat([m for _, m in found])


def recovered(
    market: SimulatedMarket,
    study: StudySpec,
    months: list[str],
    options: argparse.Namespace,
    trials: TrialLedger,
) -> dict:
    """Figures of one study, with the oracle's and the shares recovered."""
    tables = tables_of(market, study, months[-1])
    predictions, estimators = walk(study, tables, months, options, trials)
    settled = predictions.join(tables.labels, on=KEY, how="semi", maintain_order="left")
    inputs = ReportInputs(
        predictions,
        tables.labels,
        tables.bars,
        oracle=oracle_of(market, study, settled.select(KEY), tables.bars),
        estimator_predictions=estimators,
    )
    config = ReportConfig(
        study.name,
        study.title,
        horizon=study.horizon,
        seed=study.seed,
        task=study.training.task,
        simulated=True,
        portfolio=study.portfolio,
        draws=options.draws,
    )
    judged = evaluate(inputs, config)
    alone = {
        str(estimator): evaluate(
            replace(inputs, predictions=own.drop("member"), estimator_predictions=None), config
        )
        for (estimator,), own in estimators.group_by("member", maintain_order=True)
    }
    lines = [
        {"figure": x.name, "value": x.value, "interval": x.interval, "oracle": x.oracle_text, "n": x.score.n}
        for x in score_lines(judged)
    ]
    return {
        "study": study.name,
        "rows": judged.scored,
        "lines": lines,
        "recovered": judged.oracle.shares if judged.oracle else {},
        "members": {name: x.oracle.shares for name, x in alone.items() if x.oracle},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", choices=sorted(STUDIES))
    parser.add_argument("--symbols", type=int, default=120)
    parser.add_argument("--months", default="2014-01:2015-12", help="first and last month predicted")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--preset", "--size", dest="size", default="small")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--refit", type=int, default=6, help="months between refits")
    parser.add_argument(
        "--start", type=float, default=None, help="chance a session that a consolidation begins"
    )
    parser.add_argument("--draws", type=int, default=500, help="of each interval")
    parser.add_argument("--json", default="", help="file for the figures")
    options = parser.parse_args()
    first, last = (f"{month}-01" for month in options.months.split(":"))
    months = [first]
    while months[-1] < last:
        months.append(offset_month(months[-1], 1))
    spec = MarketSpec() if options.start is None else MarketSpec(start_probability=options.start)
    market = SimulatedMarket(seed=options.seed, n_symbols=options.symbols, spec=spec)
    results = []
    for name in options.studies:
        with TemporaryDirectory() as folder:
            trials = TrialLedger(Path(folder) / "trials.jsonl")
            results.append(recovered(market, STUDIES[name], months, options, trials))
        print(f"\n{name}: {results[-1]['rows']} scored decisions")
        for x in results[-1]["lines"]:
            print(
                f"  {x['figure']:45} {x['value']:>9}  ({x['interval']})  oracle {x['oracle'] or '-':>8}  n {x['n']}"
            )
        for what, share in results[-1]["recovered"].items():
            by = ", ".join(f"{m} {own[what]:.0%}" for m, own in results[-1]["members"].items() if what in own)
            print(f"  recovered of the oracle's {what}: {share:.0%} ({by})")
        print(flush=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"CPU {used.ru_utime + used.ru_stime:.0f} s, memory {used.ru_maxrss / 1024:.0f} MB")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
