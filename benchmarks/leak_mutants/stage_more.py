"""Further mutants of ingest, labels, sequences and training."""

from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
from mutant import CLOSE, DAYS, OPEN, RETURN, Mutant, columns, feature_mutant, panel
from stage_ingest import EVERY, MEMBERSHIP_INTERVALS, TRUE_MEMBERS
from stage_labels import FORWARD, SIGMA, H, filed_at_end
from stage_sequences import FEATURES, LENGTH
from stage_training import ALL, FOLD, MONTH, TRAIN
from stepped import outcomes_file, view_of_month

from trademl_pipeline.leakage import AuditReport, audit_fit_ledger, audit_universe, audit_windows
from trademl_pipeline.market.calendar import close_utc
from trademl_pipeline.sequences import window_index
from trademl_pipeline.training.ledger import FitLedger

GITHUB = "https://github.com/"
KAPOOR = "Kapoor & Narayanan, https://arxiv.org/abs/2207.07048"
KEY = ["symbol", "session"]


def _news() -> pl.DataFrame:
    """A count of news a day, published until ten at night, an hour after the close."""
    rows = [(f"S{i}", d) for i in range(8) for d in DAYS]
    frame = pl.DataFrame(rows, schema=KEY, orient="row")
    counted = np.random.default_rng(9).poisson(3, frame.height).astype(float)
    known = pl.Series(close_utc(frame["session"])) + timedelta(hours=6)
    return frame.with_columns(knowledge_time=known, news=pl.Series(counted))


NEWS = _news()


def news(by_date: bool):
    """News of the day: all of the same date, or those that were out by the bar's time."""

    def extract(bars: pl.DataFrame, news: pl.DataFrame) -> pl.DataFrame:
        if by_date:
            joined = bars.join(news.select(*KEY, "news"), on=KEY, how="left")
        else:
            out = news.sort("knowledge_time").select("symbol", "knowledge_time", "news")
            joined = bars.sort("knowledge_time").join_asof(
                out, on="knowledge_time", by="symbol", check_sortedness=False
            )
        return joined.select(*KEY, x="news")

    return extract


ASIA = pl.col("symbol").str.tail(1).cast(pl.Int64) < 4


@cache
def two_exchanges() -> pl.DataFrame:
    """Four symbols that close at 06:00 UTC and four that close in New York on the same date."""
    six = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=6)
    bars = panel().with_columns(event_time=pl.when(ASIA).then(six).otherwise("event_time"))
    later = pl.col("event_time") + pl.duration(minutes=15)
    return bars.with_columns(knowledge_time=later, decision_time=later)


def market_mean(of_all: bool):
    """Return less the mean of the date: of all exchanges, or of the symbol's own."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort(KEY).with_columns(r=RETURN.over("symbol"), asia=ASIA)
        by = ["session"] if of_all else ["session", "asia"]
        return rows.select(*KEY, x=pl.col("r") - pl.col("r").mean().over(by))

    return extract


def last_month_dropped(leaky: bool) -> AuditReport:
    """Names that left without the prices of the weeks before they did."""
    left = MEMBERSHIP_INTERVALS.filter(pl.col("end_date").is_not_null()).select("symbol", "end_date")
    late = EVERY.join(left, on="symbol", how="left").filter(
        pl.col("end_date").is_null() | (pl.col("session") < pl.col("end_date") - pl.duration(days=35))
    )
    prices = late.select(KEY) if leaky else EVERY
    return audit_universe(TRUE_MEMBERS.join(prices, on=KEY, how="semi"), prices, MEMBERSHIP_INTERVALS)


@cache
def gappy() -> pl.DataFrame:
    """Bars of which each symbol lacks some sessions of its own."""
    return panel().filter(
        (pl.int_range(pl.len()).over("symbol") * 7 + pl.col("symbol").str.tail(1).cast(pl.Int64)) % 11 != 3
    )


def rows_ahead(by_session: bool):
    """The return of five rows ahead, filed five sessions of the calendar ahead, or where the fifth row is."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort(KEY).with_columns(
            y=FORWARD.over("symbol"), end=pl.col("session").shift(-H).over("symbol")
        )
        if by_session:
            days = bars["session"].unique().sort()
            place = pl.DataFrame({"session": days, "claimed": days.shift(-H)})
            rows = rows.join(place, on="session", how="left").with_columns(end="claimed")
            rows = rows.join(bars.select("symbol", end="session"), on=["symbol", "end"], how="semi")
        return rows.filter(pl.col("end").is_not_null()).select("symbol", session="end", y="y")

    return extract


SMOOTH = CLOSE.rolling_mean(5, center=True)
LATER_SIGMA = RETURN.rolling_std(10).shift(-H - 5)


def month_rank(of_month: bool):
    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort(KEY).with_columns(
            y=FORWARD.over("symbol"), end=pl.col("session").shift(-H).over("symbol")
        )
        rows = rows.filter(pl.col("end").is_not_null())
        whole = pl.col("end").dt.month() if of_month else pl.col("end")
        rank = pl.col("y").rank().over(whole) / pl.len().over(whole)
        return rows.select("symbol", session="end", y=rank)

    return extract


def meta_label(whole: bool):
    """Was the side of a rule right? Its side is that of a slope fitted on the whole sample, or the last return's."""

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort(KEY).with_columns(
            r=RETURN.over("symbol"), y=FORWARD.over("symbol"), end=pl.col("session").shift(-H).over("symbol")
        )
        slope = (pl.col("r") * pl.col("y")).mean().over("symbol") if whole else pl.lit(1.0)
        right = (pl.col("r") * slope).sign() == pl.col("y").sign()
        return (
            rows.with_columns(meta=right.cast(pl.Int8))
            .filter(pl.col("end").is_not_null())
            .select("symbol", session="end", y="meta")
        )

    return extract


def patches(from_the_end: bool):
    """Means of patches of four rows, counted from the end of the series or from its beginning."""
    n = pl.int_range(pl.len())
    patch = (pl.len() - 1 - n) // 4 if from_the_end else n // 4

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort(KEY).with_columns(r=RETURN.over("symbol"), patch=patch.over("symbol"))
        mean = pl.col("r").cum_sum().over("symbol", "patch") / pl.col("r").cum_count().over("symbol", "patch")
        return rows.select(*KEY, x=mean)

    return extract


def padded(later: bool):
    """Windows of returns whose missing beginning is filled with the first whole window's, or left missing."""
    steps = [RETURN.shift(k) for k in range(LENGTH)]
    return columns(*(s.backward_fill() if later else s for s in steps))


def disordered(leaky: bool) -> AuditReport:
    """Windows over rows that are not in order of time, so that some of a later day come before."""
    features = FEATURES
    index = window_index(features, LENGTH)
    if leaky:
        turned = pl.int_range(pl.len()).over("symbol")
        order = pl.when(turned % 9 == 4).then(turned + 2).otherwise(turned).cast(pl.Float64)
        features = features.with_columns(_o=order).sort("symbol", "_o", maintain_order=True).drop("_o")
        place = features.with_row_index("row").select(*KEY, pl.col("row").cast(pl.Int64))
        index = index.drop("row", "window_start", strict=False).join(place, on=KEY, how="left")
    return audit_windows(index, features, length=LENGTH)


def too_long(leaky: bool) -> AuditReport:
    """Windows with a row more than the model was built for, the next one's."""
    index = window_index(FEATURES, LENGTH)
    if leaky:
        index = index.with_columns(
            row=(pl.col("row") + 1).clip(upper_bound=FEATURES.height - 1), n_valid=pl.col("n_valid") + 1
        )
        ahead = FEATURES["symbol"].gather(index["row"]) == index["symbol"]
        index = index.filter(ahead)
    return audit_windows(index, FEATURES, length=LENGTH + 1)


def late_knowledge(leaky: bool) -> AuditReport:
    """Training rows whose labels were delivered when the test had begun."""
    ledger = FitLedger(MONTH)
    late = close_utc(FOLD.test_start) + timedelta(days=2)
    delivered = (
        pl.when(pl.col("session") == pl.col("session").max()).then(pl.lit(late)).otherwise("knowledge_time")
    )
    rows = TRAIN.with_columns(knowledge_time=delivered) if leaky else TRAIN
    ledger.fit("model", rows, len)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def labels_left_out(leaky: bool) -> AuditReport:
    """A threshold fitted on rows that do not say where their labels end."""
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    rows = TRAIN.tail(80)
    ledger.fit("threshold", rows.drop("label_end") if leaky else rows, len)
    return audit_fit_ledger(ledger, FOLD)


def refitted_on_everything(leaky: bool) -> AuditReport:
    """The best of a search fitted once more, on training and test rows together."""
    ledger = FitLedger(MONTH)
    ledger.fit("search", TRAIN, len, kind="hpo")
    everything = ALL.filter(pl.col("label_end").is_not_null() & (pl.col("session") <= FOLD.test_end))
    ledger.fit("model", everything if leaky else TRAIN, len)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def weights_of_a_later_fold(leaky: bool) -> AuditReport:
    """A fit that goes on from the weights of a later fold, read from a file."""
    ledger, view = FitLedger(MONTH), view_of_month("model/warm_start", reads_labels=True)
    later = outcomes_file()
    with view.sealed():
        ledger.fit("model", TRAIN, lambda rows: pl.read_parquet(later).height if leaky else rows.height)
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def rows_from_elsewhere(leaky: bool) -> AuditReport:
    """A fit that is on record with training rows, and reads others from a variable."""
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, lambda rows: len(ALL) if leaky else len(rows))
    return audit_fit_ledger(ledger, FOLD, TRAIN)


def purged_of_another_horizon(leaky: bool) -> AuditReport:
    """A second head of ten sessions trained on rows purged for a horizon of five."""
    ledger = FitLedger(MONTH)
    ledger.fit("model", TRAIN, len)
    long = TRAIN.with_columns(label_end=pl.col("label_end").dt.offset_by("14d"))
    ledger.fit("long_head", long if leaky else TRAIN, len, kind="model")
    return audit_fit_ledger(ledger, FOLD, TRAIN)


MUTANTS = [
    feature_mutant(
        "ingest/news_of_the_date",
        "news joined by their date, though some come after the close",
        f"{GITHUB}mementum/backtrader/issues/119: earnings announced after the close, traded the same day",
        news(by_date=True),
        news(by_date=False),
        "truncation perturbation",
        sources={"news": NEWS},
    ),
    feature_mutant(
        "ingest/exchange_of_the_same_date",
        "a market mean of the date over an exchange that closes hours later",
        f"{GITHUB}pbrissaud/suivi-bourse/issues/1013",
        market_mean(of_all=True),
        market_mean(of_all=False),
        "truncation perturbation",
        bars=two_exchanges,
    ),
    Mutant(
        "ingest/last_month_dropped",
        "names that left, without their last weeks",
        f"{GITHUB}SilvioBaratto/optimizer/issues/30 and Shumway 1997, https://doi.org/10.1111/j.1540-6261.1997.tb03818.x",
        frozenset({"universe"}),
        last_month_dropped,
    ),
    feature_mutant(
        "labels/rows_across_gaps",
        "five rows ahead in a symbol with gaps, filed five sessions ahead",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/295",
        rows_ahead(by_session=True),
        rows_ahead(by_session=False),
        "truncation perturbation",
        bars=gappy,
    ),
    feature_mutant(
        "labels/smoothed_beyond_the_end",
        "the return to a mean price around the end",
        f"{GITHUB}yuxiangalvin/DeepLOB-Model-Implementation-Project/issues/1",
        filed_at_end(SMOOTH.shift(-H) / CLOSE - 1),
        filed_at_end(CLOSE.rolling_mean(5).shift(-H) / CLOSE - 1),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/open_after_the_end",
        "a return to the open after the session on which it claims to end",
        f"{GITHUB}quantopian/alphalens/issues/338",
        filed_at_end(OPEN.shift(-H - 1) / CLOSE - 1),
        filed_at_end(OPEN.shift(-H) / CLOSE - 1),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/barriers_of_later_volatility",
        "barriers as wide as the volatility after the end",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/288",
        filed_at_end((FORWARD > LATER_SIGMA).cast(pl.Int8)),
        filed_at_end((FORWARD > SIGMA).cast(pl.Int8)),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/rank_of_the_month",
        "outcomes ranked among all that end in their month",
        f"{KAPOOR}: no separation of training and test data",
        month_rank(of_month=True),
        month_rank(of_month=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "labels/meta_in_sample",
        "meta-labels of a rule that was fitted on the outcomes that it is judged by",
        f"{GITHUB}alegonz/baikal/issues/15",
        meta_label(whole=True),
        meta_label(whole=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "sequences/patches_from_the_end",
        "patches counted from the end of the series",
        f"{GITHUB}hunkim/DeepLearningZeroToAll/issues/214",
        patches(from_the_end=True),
        patches(from_the_end=False),
        "truncation perturbation",
    ),
    feature_mutant(
        "sequences/padded_from_later",
        "the missing beginning of windows filled with what comes later",
        f"{GITHUB}timeseriesAI/tsai/issues/79",
        padded(later=True),
        padded(later=False),
        "truncation perturbation",
    ),
    Mutant(
        "sequences/rows_out_of_order",
        "windows over rows that are not in order of time",
        f"{GITHUB}hunkim/DeepLearningZeroToAll/issues/214",
        frozenset({"windows"}),
        disordered,
    ),
    Mutant(
        "sequences/one_row_longer",
        "windows that are a row longer, by the row after their decision",
        f"{GITHUB}VivekPa/AIAlpha/issues/8",
        frozenset({"windows"}),
        too_long,
    ),
    Mutant(
        "training/late_knowledge",
        "labels that were delivered when the test had begun",
        f"{GITHUB}dgunning/edgartools/issues/697",
        frozenset({"fit_ledger"}),
        late_knowledge,
    ),
    Mutant(
        "training/ends_left_out",
        "a threshold fitted on rows that do not say where their labels end",
        f"{GITHUB}hudson-and-thames/mlfinlab/issues/295",
        frozenset({"fit_ledger"}),
        labels_left_out,
    ),
    Mutant(
        "training/refitted_on_everything",
        "the best of a search fitted once more on training and test rows",
        f"{GITHUB}pycaret/pycaret/issues/1874",
        frozenset({"fit_ledger"}),
        refitted_on_everything,
    ),
    Mutant(
        "training/weights_of_a_later_fold",
        "a fit that goes on from the weights of a later fold",
        f"{GITHUB}freqtrade/freqtrade freqtrade/optimize/analysis/lookahead.py: removes old models first, "
        '"to be sure nothing is carried over from older backtests"',
        frozenset({"error"}),
        weights_of_a_later_fold,
    ),
    Mutant(
        "training/head_of_a_longer_horizon",
        "a head of another horizon trained on rows that were purged for a shorter one",
        f"{GITHUB}Open-Quant/openquant/issues/65",
        frozenset({"fit_ledger"}),
        purged_of_another_horizon,
    ),
    Mutant(
        "training/rows_from_elsewhere",
        "a fit that is on record with training rows and reads others from a variable",
        f"{KAPOOR}: pre-processing on training and test set",
        frozenset({"fit_ledger"}),
        rows_from_elsewhere,
        survives="the ledger knows the rows that a fit is given: its view holds later ones back, and `verify --cold` "
        "has none",
    ),
]
