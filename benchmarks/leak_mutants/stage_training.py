"""Mutants of training: splits, fitted objects, the use of test rows."""

from datetime import date, timedelta

import numpy as np
import polars as pl
from mutant import Mutant

from trademl_pipeline.folds import WalkForward
from trademl_pipeline.leakage import audit_access, audit_fit_ledger, audit_folds
from trademl_pipeline.market.calendar import close_utc, offset, offset_sessions, sessions
from trademl_pipeline.training.ledger import FitLedger

GITHUB = "https://github.com/"
MONTH, H, EMBARGO = "2019-10-01", 5, 5
PLAN = WalkForward(min_train=120, embargo=EMBARGO)
FOLD = PLAN.fold(MONTH, date(2019, 1, 2))


def _labels() -> pl.DataFrame:
    days = pl.Series("session", sessions(date(2019, 1, 2), date(2019, 12, 31)))
    rows = pl.DataFrame(
        {"session": days, "label_end": offset_sessions(days, H), "knowledge_time": close_utc(days)}
    )
    named = pl.DataFrame({"symbol": [f"S{i}" for i in range(6)]})
    return named.join(rows, how="cross").with_columns(horizon=pl.lit(H, pl.Int16))


ALL = _labels()
TRAIN, TEST = PLAN.split(ALL, FOLD)
BEFORE = pl.col("session") < FOLD.test_start


def fold_mutant(name: str, title: str, origin: str, leaky_train) -> Mutant:
    """A way of choosing training rows; the twin is the project's splitter."""

    def audit(leaky: bool):
        return audit_folds(leaky_train() if leaky else TRAIN, TEST, embargo=EMBARGO)

    def split(leaky: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
        return (leaky_train() if leaky else TRAIN), TEST

    return Mutant(name, title, origin, frozenset({"folds"}), audit, split=split)


def shuffled() -> pl.DataFrame:
    keep = np.random.default_rng(0).random(ALL.height) < 0.7
    return ALL.filter(pl.Series(keep) & (pl.col("session") <= FOLD.test_end))


def unpurged() -> pl.DataFrame:
    return ALL.filter(BEFORE)


def purged_from_the_first_label_end() -> pl.DataFrame:
    return ALL.filter(pl.col("label_end") < offset(FOLD.test_start, H))


def embargo_in_rows() -> pl.DataFrame:
    """Five rows dropped from the end of a panel of six symbols: less than one session."""
    ended = ALL.filter(pl.col("label_end") < FOLD.test_start).sort("session", "symbol")
    return ended.head(ended.height - EMBARGO)


def embargo_in_days() -> pl.DataFrame:
    return ALL.filter(pl.col("label_end") < FOLD.test_start - timedelta(days=EMBARGO))


def last_row_shared() -> pl.DataFrame:
    return pl.concat([TRAIN, TEST.filter(pl.col("session") == FOLD.test_start)])


def oversampled() -> pl.DataFrame:
    """Copies of rare rows drawn before the split, so that some test rows have a twin in training."""
    drawn = ALL.filter(pl.col("session") <= FOLD.test_end).sample(40, seed=1)
    return pl.concat([TRAIN, drawn.filter(pl.col("label_end").is_not_null())])


def k_fold() -> pl.DataFrame:
    later = ALL.filter((pl.col("session") > FOLD.test_end) & pl.col("label_end").is_not_null())
    return pl.concat([TRAIN, later])


def evaluation_inside_test() -> pl.DataFrame:
    return pl.concat([TRAIN, TEST.filter(pl.col("session") <= offset(FOLD.test_start, 5))])


KNOWN = ALL.filter(pl.col("label_end").is_not_null())


def fit_mutant(name: str, title: str, origin: str, fitted: str, on: pl.DataFrame) -> Mutant:
    """An object fitted on rows it must not see; the twin is fitted on the fold's training rows."""

    def audit(leaky: bool):
        ledger = FitLedger(MONTH)
        ledger.fit(fitted, on if leaky else TRAIN, len)
        if fitted != "model":
            ledger.fit("model", TRAIN, len)
        ledger.freeze()
        return audit_fit_ledger(ledger, FOLD, TRAIN, expected=list(dict.fromkeys((fitted, "model"))))

    return Mutant(name, title, origin, frozenset({"fit_ledger"}), audit)


def off_the_record(leaky: bool):
    ledger = FitLedger(MONTH)
    if not leaky:
        ledger.fit("scaler", TRAIN, len)
    ledger.fit("model", TRAIN, len)
    return audit_fit_ledger(ledger, FOLD, TRAIN, expected=["scaler", "model"])


def read_before_freeze(leaky: bool, reader: str):
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    if leaky:
        ledger.read_test(TEST, name=reader)
    ledger.freeze()
    ledger.read_test(TEST)
    return audit_access(ledger, FOLD)


def stop_on_test(leaky: bool):
    """Early stopping on the test rows, in a loop that does not use the guard."""
    ledger = FitLedger(MONTH)
    ledger.fit("early_stopping", TEST if leaky else TRAIN.tail(200), len)
    ledger.fit("model", TRAIN, len)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def fitted_after_the_test(leaky: bool):
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    if not leaky:
        ledger.fit("threshold", TRAIN, len)
    ledger.freeze()
    ledger.read_test(TEST)
    if leaky:
        ledger.fit("threshold", TRAIN, len)
    return audit_access(ledger, FOLD)


MUTANTS = [
    fold_mutant(
        "training/shuffled_split",
        "rows shuffled before they are split",
        f"{GITHUB}BlackArbsCEO/Adv_Fin_ML_Exercises/issues/23 and "
        f"{GITHUB}yuxiangalvin/DeepLOB-Model-Implementation-Project/issues/1",
        shuffled,
    ),
    fold_mutant(
        "training/no_purge",
        "labels that reach into the test window kept",
        f"{GITHUB}Open-Quant/openquant/pull/27: the default purged nothing",
        unpurged,
    ),
    fold_mutant(
        "training/purge_from_label_end",
        "a purge that begins where the first test label ends",
        f"{GITHUB}Open-Quant/openquant/issues/65",
        purged_from_the_first_label_end,
    ),
    fold_mutant(
        "training/embargo_in_rows",
        "an embargo counted in rows of a long panel",
        f"{GITHUB}skfolio/skfolio src/skfolio/model_selection/_walk_forward.py: purged_size counts "
        "observations and is 0 by default",
        embargo_in_rows,
    ),
    fold_mutant(
        "training/embargo_in_days",
        "an embargo counted in calendar days",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/295: events compared by calendar dates",
        embargo_in_days,
    ),
    fold_mutant(
        "training/shared_row",
        "the last training row is the first test row",
        f"{GITHUB}sktime/sktime/issues/626",
        last_row_shared,
    ),
    fold_mutant(
        "training/oversampled_first",
        "rare rows multiplied before the split",
        f"{GITHUB}georgymh/ml-fraud-detection/issues/1 and "
        f"{GITHUB}scikit-learn-contrib/imbalanced-learn/issues/751",
        oversampled,
    ),
    fold_mutant(
        "training/k_fold",
        "months after the test used for training",
        f"{GITHUB}Y-debug-sys/Diffusion-TS/issues/67: overlapping windows shuffled into both sides",
        k_fold,
    ),
    fold_mutant(
        "training/evaluation_inside_test",
        "the range that is tuned on lies inside the test range",
        f"{GITHUB}gsyyysg/StockFormer/issues/21: in a comment",
        evaluation_inside_test,
    ),
    fit_mutant(
        "training/scaler_on_all",
        "a scaler fitted on all rows",
        f"{GITHUB}gsyyysg/StockFormer/issues/21",
        "scaler",
        KNOWN,
    ),
    fit_mutant(
        "training/selector_on_all",
        "features selected on all rows",
        f"{GITHUB}pycaret/pycaret/issues/1874",
        "selector",
        KNOWN,
    ),
    fit_mutant(
        "training/pca_on_all",
        "principal components of all rows",
        f"{GITHUB}facebookresearch/esm/pull/147",
        "pca",
        KNOWN.drop("label_end", "knowledge_time"),
    ),
    fit_mutant(
        "training/weights_on_all",
        "class weights counted over all rows",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: pre-processing on training and test set",
        "class_weights",
        KNOWN.filter(pl.col("session") <= FOLD.test_end),
    ),
    fit_mutant(
        "training/purged_rows_fitted",
        "a model fitted on rows that the purge had dropped",
        f"{GITHUB}Open-Quant/openquant/pull/27",
        "model",
        ALL.filter(BEFORE),
    ),
    Mutant(
        "training/off_the_record",
        "an object fitted where nobody looks",
        "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048: pre-processing on training and test set",
        frozenset({"fit_ledger"}),
        off_the_record,
    ),
    Mutant(
        "training/early_stopping_on_test",
        "rounds chosen by the loss on the test rows",
        f"{GITHUB}thuml/Time-Series-Library/issues/207",
        frozenset({"fit_ledger"}),
        stop_on_test,
    ),
    Mutant(
        "training/tuned_on_test",
        "parameters tuned on the test loader",
        f"{GITHUB}jsboige/CoursIA/issues/705: test_loader used for model selection",
        frozenset({"error"}),
        lambda leaky: read_before_freeze(leaky, "tuning"),
    ),
    Mutant(
        "training/fitted_after_the_test",
        "a threshold fitted after the test rows were seen",
        f"{GITHUB}PengYueECUST1997/CLEF/issues/1: training and test scores decide together",
        frozenset({"error"}),
        fitted_after_the_test,
    ),
]
