"""Names of the jobs and of their pool, the same in the definitions and in the runs that `trademl run` writes down.

The UI files a recorded run under the job of its name.
"""

from trademl_pipeline.tables.bar_tables import DAILY, bar_tables

# The inputs of all studies, the exhaustive audit of what is published, and all studies side by side.
PREPARE_ALL = "prepare_all"
NIGHTLY = "nightly_leakage_audit"
# The assets of the nights: every published month by functions, and some by cold processes.
LEAKAGE_AUDIT, COLD_RUN = "leakage_audit", "cold_run"
COMPARE = "compare_studies"
# The upkeep of the lake.
MAINTAIN = "maintain_lake"
# The pool in which models are fitted, so many at a time as it has slots.
GPU_POOL = "gpu"


def prepare_job_name(study: str) -> str:
    """Return the job of a study's inputs: bars, features, labels and windows over a range of months."""
    return f"prepare_{study}"


def fold_job_name(study: str) -> str:
    """Return the job of one walk-forward fold: model and predictions of a month."""
    return f"fold_{study}"


def train_job_name(study: str) -> str:
    """Return the job of a month's model alone, which is trained before the month begins."""
    return f"train_{study}"


def report_job_name(study: str) -> str:
    """Return the job of the validation report as of a month."""
    return f"write_report_{study}"


def quick_job_name(study: str) -> str:
    """Return the job of a fold on a few symbols, to see that all works."""
    return f"quick_{study}"


def production_job_name(study: str) -> str:
    """Return the job of a fold at the study's full preset."""
    return f"production_{study}"


def month_job_name(study: str) -> str:
    """Return the job of everything of one month, from bars to report."""
    return f"month_{study}"


def ingest_job_name(timeframe: str = DAILY) -> str:
    """Return the job of one time frame's bars."""
    return f"ingest_{bar_tables(timeframe).bars.name}"
