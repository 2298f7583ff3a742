"""Mutants of selection: thresholds, calibration, weights, champions, and what is traded, chosen by outcome."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
from mutant import Mutant
from stage_training import ALL, BEFORE, FOLD, MONTH, TEST, TRAIN
from stepped import FEATURES, KEY, LABELS, MONTHS, LakeView, champion_mutant, honest_score, step_mutant
from stepped import MONTH as PREDICTED
from traded import CONFIG, LongShort, Make, long_short, portfolio_mutant

from trademl_pipeline.leakage import audit_access, audit_fit_ledger
from trademl_pipeline.training.ensemble.weights import OutOfFold, fit_weights
from trademl_pipeline.training.ledger import FitLedger

GITHUB = "https://github.com/"
BAILEY = "Bailey et al., The probability of backtest overfitting, https://doi.org/10.21314/JCF.2016.322"
OUTCOME, SCORE = pl.col("forward_return"), pl.col("score")
# The last session before the month whose outcome was known when the month began.
MATURED = date(2019, 9, 25)


def fitted_on(decisions: pl.DataFrame, view: LakeView, *, on_the_month: bool) -> pl.DataFrame:
    """Scores with their outcomes: of the month itself, or of the month before it."""
    known = view.read(LABELS, months=(MONTHS[0], PREDICTED))
    if on_the_month:
        return honest_score(decisions, view).join(known.select(*KEY, OUTCOME), on=KEY, how="inner")
    before = view.read(FEATURES, months=(MONTHS[0], PREDICTED)).filter(pl.col("session") <= MATURED)
    return honest_score(before, view).join(known.select(*KEY, OUTCOME), on=KEY, how="inner")


def threshold(on_the_month: bool):
    """A flag for scores above the level at which the outcomes were best."""

    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        rows = fitted_on(decisions, view, on_the_month=on_the_month)
        levels = np.linspace(-1.5, 1.5, 13).tolist()
        gains = [float(rows.filter(x < SCORE).select(OUTCOME.mean()).item() or 0.0) for x in levels]
        best = float(levels[int(np.argmax(gains))])
        return honest_score(decisions, view).with_columns(chosen=best < SCORE)

    return predict


def isotonic(on_the_month: bool):
    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        from sklearn.isotonic import IsotonicRegression

        rows = fitted_on(decisions, view, on_the_month=on_the_month)
        if rows.is_empty():
            return honest_score(decisions, view).with_columns(probability=pl.lit(0.5))
        fitted = IsotonicRegression(out_of_bounds="clip").fit(rows["score"], rows["forward_return"] > 0)
        scored = honest_score(decisions, view)
        return scored.with_columns(probability=pl.Series(fitted.predict(scored["score"].to_numpy())))

    return predict


def interval(on_the_month: bool):
    """The half width that held nine of ten outcomes."""

    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        rows = fitted_on(decisions, view, on_the_month=on_the_month)
        width = float((rows["forward_return"] - 0.002 * rows["score"]).abs().quantile(0.9) or 0.0)
        return honest_score(decisions, view).with_columns(width=pl.lit(width))

    return predict


def online_interval(by_session: bool):
    """Adaptive conformal width: widened with the outcomes of earlier sessions, whether known by then or not."""

    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        known = view.read(LABELS, months=(MONTHS[0], PREDICTED))
        days = decisions.select("session", "decision_time").unique().sort("session")
        widths = []
        for session, decided in days.iter_rows():
            earlier = (
                known.filter(pl.col("session") < session)
                if by_session
                else known.filter(pl.col("knowledge_time") < decided)
            )
            recent = earlier.sort("session").tail(60)["forward_return"].abs()
            widths.append(float(recent.quantile(0.9) or 0.0))
        frame = days.select("session", width=pl.Series(widths))
        return honest_score(decisions, view).join(frame, on="session", how="left", maintain_order="left")

    return predict


def better_member(on_the_month: bool):
    """The ensemble listens to the input whose ranks were closer to the outcomes."""

    def predict(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
        rows = fitted_on(decisions, view, on_the_month=on_the_month).fill_null(0.0)
        weights = [
            float(rows.select(pl.corr(c, "forward_return", method="spearman")).item() or 0.0)
            for c in ("momentum", "value")
        ]
        score = weights[0] * pl.col("momentum") + weights[1] * pl.col("value").fill_null(0.0)
        return decisions.with_columns(score=score)

    return predict


def overlapping_reads(leaky: bool):
    """The test month looked at in two parts that share rows, each time for another choice."""
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    ledger.freeze()
    ledger.read_test(TEST.head(90), name="choice")
    ledger.read_test(TEST.tail(TEST.height - (60 if leaky else 90)), name="report")
    return audit_access(ledger, FOLD)


def weights_of_test(leaky: bool):
    """The product's own fit of ensemble weights, on out-of-fold rows that reach into the test month."""
    keys = ALL.filter(pl.col("label_end").is_not_null()) if leaky else TRAIN
    inside = (keys["session"] >= FOLD.test_start).to_numpy() if leaky else np.ones(keys.height, bool)
    rows = np.flatnonzero(inside)[-300:]
    random = np.random.default_rng(0)
    target = random.normal(size=keys.height)
    values = {n: target[rows] + random.normal(size=len(rows)) for n in ("first", "second")}
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    fit_weights(OutOfFold(rows, values), target, keys, kind="value", ledger=ledger)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def best_of_seeds(leaky: bool):
    """Ten models that differ by their seed, each with a ledger of its own; the one that did best is shown."""
    ledgers = []
    for _ in range(10 if leaky else 1):
        ledger = FitLedger(MONTH)
        ledger.fit("model", TRAIN, len)
        ledger.freeze()
        ledger.read_test(TEST)
        ledgers.append(ledger)
    return audit_access(ledgers[-1], FOLD) + audit_fit_ledger(ledgers[-1], FOLD, TRAIN)


def fitted_on_unmatured(leaky: bool):
    """A selector fitted on decisions before the test whose labels end within it."""
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    late = ALL.filter(BEFORE).sort("session").tail(60)
    ledger.fit("selector", late.drop("knowledge_time") if leaky else TRAIN.tail(60), len)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def best_holding(whole: bool):
    """The holding that earned most: on all bars that there are, or the one that was set beforehand."""

    def rule(make: Make) -> Make:
        def run(predictions: pl.DataFrame, bars: pl.DataFrame) -> LongShort:
            tried = [long_short(predictions, bars, replace(CONFIG, holding=h)) for h in (1, 2, 3, 5)]
            return max(tried, key=lambda p: float(p.equity["net_return"].sum())) if whole else tried[2]

        return run

    return rule


GAIN = pl.col("close").shift(-1) / pl.col("close") - 1


def by_level(whole: bool):
    """Only scores beyond the level at which the traded ones gained most."""

    def choose(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
        if not whole:
            return predictions.filter(SCORE.abs() > 0.25)
        gains = bars.sort(KEY).select(*KEY, GAIN.over("symbol").alias("_gain"))
        rows = predictions.join(gains, on=KEY, how="left")
        levels = np.linspace(0.0, 0.8, 17).tolist()
        won = [
            float(rows.filter(SCORE.abs() > x).select((SCORE.sign() * pl.col("_gain")).sum()).item())
            for x in levels
        ]
        return predictions.filter(SCORE.abs() > float(levels[int(np.argmax(won))]))

    return choose


def everything(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    return predictions


def winners_by_name(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    return predictions.filter(pl.col("symbol").is_in(["S0", "S1", "S3", "S4", "S6"]))


def good_days_by_heart(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    bad = [date(2020, 1, 15), date(2020, 1, 24), date(2020, 2, 3), date(2020, 2, 20), date(2020, 3, 2)]
    return predictions.filter(~pl.col("session").is_in(bad))


def level_by_heart(predictions: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    return predictions.filter(SCORE.abs() > 0.37)


def by_outcomes(features: pl.DataFrame, known: pl.DataFrame) -> str:
    """Which of two inputs ranked the outcomes better."""
    rows = features.join(known.select(*KEY, OUTCOME), on=KEY).fill_null(0.0)
    fits = {
        c: float(rows.select(pl.corr(c, "forward_return", method="spearman")).item() or 0.0)
        for c in ("momentum", "value")
    }
    return max(fits, key=lambda c: fits[c])


MUTANTS = [
    step_mutant(
        "selection/threshold_of_the_month",
        "a threshold at which the month's own outcomes are best",
        f"{GITHUB}yuanqm55/GraphPPIS/issues/2 and {GITHUB}d-ailin/GDN/issues/59",
        threshold(on_the_month=True),
        threshold(on_the_month=False),
        reads_labels=True,
    ),
    step_mutant(
        "selection/isotonic_of_the_month",
        "probabilities made isotonic with the month's own outcomes",
        f"{GITHUB}linuslouie159/epl-predictor/issues/10: never on the predictions it is correcting",
        isotonic(on_the_month=True),
        isotonic(on_the_month=False),
        reads_labels=True,
    ),
    step_mutant(
        "selection/conformal_width_of_the_month",
        "intervals as wide as the month's own residuals ask for",
        f"{GITHUB}linuslouie159/epl-predictor/issues/10",
        interval(on_the_month=True),
        interval(on_the_month=False),
        reads_labels=True,
    ),
    step_mutant(
        "selection/conformal_state_too_soon",
        "an adaptive interval that learns of outcomes before they are known",
        f"{GITHUB}OpenSourceAP/CrossSection/issues/158: a return of two days after its date",
        online_interval(by_session=True),
        online_interval(by_session=False),
        reads_labels=True,
    ),
    step_mutant(
        "selection/weights_of_the_month",
        "an ensemble that listens to whichever member came closest in the month",
        f"{GITHUB}dhis2-chap/chap-core/pull/394: weights fitted against values that the models could see",
        better_member(on_the_month=True),
        better_member(on_the_month=False),
        reads_labels=True,
    ),
    Mutant(
        "selection/weights_fitted_on_test_rows",
        "ensemble weights fitted on out-of-fold rows that reach into the test month",
        f"{GITHUB}DearCaat/RRT-MIL/issues/22: the best weights by the test set",
        frozenset({"fit_ledger"}),
        weights_of_test,
    ),
    Mutant(
        "selection/unmatured_rows",
        "features selected on decisions whose labels end within the test",
        f"{GITHUB}Open-Quant/openquant/pull/27",
        frozenset({"fit_ledger"}),
        fitted_on_unmatured,
    ),
    Mutant(
        "selection/overlapping_reads",
        "the test month read in parts that overlap, for a second choice",
        f"{GITHUB}LunaBlack/KGAT-pytorch/issues/29",
        frozenset({"access"}),
        overlapping_reads,
    ),
    Mutant(
        "selection/best_of_ten_seeds",
        "ten runs that each look at the test month once, of which the best is shown",
        BAILEY,
        frozenset({"access"}),
        best_of_seeds,
        survives="each ledger is in order: looks are counted as tries and weigh on the deflated Sharpe, but refuse "
        "nothing",
    ),
    champion_mutant(
        "selection/champion_of_later_outcomes",
        "who serves decided by outcomes that came after its month",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/pull/69",
        {"clock": None},
        by_outcomes,
    ),
    portfolio_mutant(
        "selection/holding_by_result",
        "the holding period that earned most on the months that are shown",
        f"{GITHUB}aprin-labs/archimedes/pull/542: parameters chosen and reported in-sample",
        best_holding(whole=True),
        best_holding(whole=False),
    ),
    portfolio_mutant(
        "selection/level_by_result",
        "the confidence from which is traded, chosen by what the trades earned",
        f"{GITHUB}yuanqm55/GraphPPIS/issues/2",
        acted=(by_level(whole=True), by_level(whole=False)),
    ),
    portfolio_mutant(
        "selection/symbols_by_name",
        "only symbols are acted on that did well, by their names",
        f"{GITHUB}IsaacCheng9/quant-trading-strategy-backtester/pull/69: tickers ranked on all of the data",
        acted=(winners_by_name, everything),
    ),
    portfolio_mutant(
        "selection/days_by_heart",
        "bad days left out by their dates",
        f"{GITHUB}jmrichardson/tuneta/issues/27: selection among many on the same data",
        acted=(good_days_by_heart, everything),
        survives="dates in a rule look like its calendar, and calendars of rebalancing are honest",
    ),
    portfolio_mutant(
        "selection/level_by_heart",
        "a confidence level that was found on the months that are shown, as a setting",
        f"{GITHUB}aprin-labs/archimedes/pull/542",
        acted=(level_by_heart, everything),
        survives="a number found in many looks at the same months looks like a setting: the tries are counted",
    ),
]
