"""Prediction latency of saved models on the CPU: one symbol, and 500 symbols at once.

    python -m benchmarks.inference [--repeat 40] [--threads 1]

Every model is saved, loaded again and asked through ``SavedModel.predict`` with raw features, so scaling,
filling and masks are counted. The models take turns in every round. CPU time (of all threads) is printed beside,
since it suffers less from other load on the machine; the limits hold for the median by wall clock.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.training import CASES
from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.models.registry import build, count_parameters
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.saved import NETWORK, TREES, SavedModel, load_model
from trademl_pipeline.training.trees.classes import LightGBMConfig, XGBoostConfig, fit_lightgbm, fit_xgboost

LIMIT_MS = {"network": 20.0, "trees": 5.0}


def networks(folder: Path):
    for number, (name, size, features, length, changes, *_) in enumerate(CASES):
        model = Prepared(build(name, features, size, **changes), np.zeros(features), np.ones(features))
        names = tuple(f"f{i}" for i in range(features))
        SavedModel(NETWORK, name, names, length, {}, {}, model).save(folder / str(number))
        yield " ".join([name, size, *map(str, changes.values())]), load_model(folder / str(number))


def trees(folder: Path, features=69, classes=6, rounds=200):
    rng = np.random.default_rng(0)
    n = 4000
    x = rng.normal(size=(n, features))
    days = np.datetime64("2015-01-01") + np.arange(n)
    target = (np.arange(n) + (x[:, 0] > 0)) % classes
    keys = pl.DataFrame({"symbol": "A", "session": days, "label_end": days + 1, "target": target})
    names = [f"f{i}" for i in range(features)]
    common = {"n_classes": classes, "max_rounds": rounds, "early_stopping": 0}
    for fit, config in ((fit_lightgbm, LightGBMConfig(**common)), (fit_xgboost, XGBoostConfig(**common))):
        model = fit(keys, x, names, config, seed=0, threads=2, ledger=FitLedger("benchmark"))
        SavedModel(TREES, model.kind, model.features, 1, {}, {}, model).save(folder / model.kind)
        yield f"{model.kind} {rounds} rounds, {classes} classes", load_model(folder / model.kind)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        models = {**dict(networks(Path(folder))), **dict(trees(Path(folder)))}
        one, cpu, many = ({name: [] for name in models} for _ in range(3))
        for round_ in range(options.repeat + 2):
            for name, saved in models.items():
                x = rng.normal(size=(500, saved.length, len(saved.features)))
                start, start_cpu = time.perf_counter(), time.process_time()
                saved.predict(x[:1])
                middle = time.perf_counter()
                if round_ >= 2:
                    one[name].append(middle - start)
                    cpu[name].append(time.process_time() - start_cpu)
                if round_ % 10 == 0:
                    saved.predict(x)
                    many[name].append(time.perf_counter() - middle)
    print(f"{options.threads} thread(s), {options.repeat} rounds; milliseconds")
    print(f"{'model':<40}{'parameters':>12}{'median':>9}{'best':>9}{'CPU':>9}{'500 symbols':>13}{'limit':>8}")
    for name, saved in models.items():
        size = f"{count_parameters(saved.model):,}" if saved.kind == NETWORK else "-"
        times = np.array(one[name]) * 1e3
        print(
            f"{name:<40}{size:>12}{np.median(times):>9.2f}{times.min():>9.2f}"
            f"{np.median(cpu[name]) * 1e3:>9.2f}"
            f"{min(many[name]) * 1e3:>13.1f}{LIMIT_MS[saved.kind]:>8.0f}"
        )


if __name__ == "__main__":
    main()
