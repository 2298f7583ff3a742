"""Record runs of synthetic months of real assets, then wait to be terminated: `python -m ... <study>`."""

import sys
import time

import dagster as dg

from trademl_pipeline.definitions import defs
from trademl_pipeline.defs.recorder import DagsterRecorder
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline.job_names import fold_job_name, prepare_job_name
from trademl_pipeline.pipeline.recording import CheckResult, MonthDone, MonthRefused
from trademl_pipeline.pipeline.shown import Json, Markdown

MONTHS = month_range("2013-01-01", "2015-12-01")
FEATURES = "features_indicators"
# Refused at the first try, and refused after it had been published.
NEVER_GOOD, STILL_GOOD, FOLD = MONTHS[-1], MONTHS[10], MONTHS[24]


def probes(asset: str) -> list[str]:
    """The checks that the definitions have of an asset."""
    keys = defs.resolve_asset_graph().asset_check_keys
    return sorted(key.name for key in keys if key.asset_key == dg.AssetKey(asset))


def done(asset: str, month: str) -> MonthDone:
    checks = [CheckResult(probe, True, {"coverage": Json({"columns": 12})}) for probe in probes(asset)]
    return MonthDone(asset, month, {"dagster/row_count": 126}, checks)


def refused(asset: str, month: str) -> MonthRefused:
    found = {"violations": Markdown("| column |\n|---|\n| gap |")}
    checks = [CheckResult(p, p != "truncation", {} if p != "truncation" else found) for p in probes(asset)]
    return MonthRefused(asset, month, "refused by the leakage gate", found, checks)


def main(study: str) -> None:
    model, predictions = f"model_{study}", f"predictions_{study}"
    with dg.DagsterInstance.get() as instance:
        recorder = DagsterRecorder(instance)
        run = recorder.begin(prepare_job_name(study), [FEATURES], MONTHS, tags={"trademl/study": study})
        run.told([done(FEATURES, month) for month in MONTHS[:-1]] + [refused(FEATURES, NEVER_GOOD)])
        run.failed(f"{FEATURES}: 1 of {len(MONTHS)} months refused")
        again = recorder.begin(prepare_job_name(study), [FEATURES], [STILL_GOOD])
        again.told([refused(FEATURES, STILL_GOOD)])
        again.failed(f"{FEATURES}: 1 of 1 months refused")
        fold = recorder.begin(fold_job_name(study), [model, predictions], [FOLD])
        fold.told([done(model, FOLD)])
        fold.told([done(predictions, FOLD)])
        fold.succeeded()
        waiting = recorder.begin(fold_job_name(study), [model, predictions], [MONTHS[25]])
        print(waiting.run_id, flush=True)
        while not waiting.cancel_requested():
            time.sleep(0.1)
        waiting.canceled("terminated in the UI")


if __name__ == "__main__":
    main(*sys.argv[1:])
