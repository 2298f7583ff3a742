import functools
from datetime import date

import polars as pl
import pytest

from trademl_pipeline.leakage import (
    ExtractorOutputError,
    LeakageError,
    NonDeterministicExtractorError,
    OutsideDataError,
    audit_features,
)
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, bars, features, probes

BARS = bars()
MARKET = BARS.group_by("session").agg(market=pl.col("close").mean()).sort("session")
SETTINGS = {"market": MARKET}
CUT = ["truncation", "perturbation"]


def with_market(frame: pl.DataFrame, market: pl.DataFrame, ahead: int) -> pl.DataFrame:
    moved = market.sort("session").select(
        "session", m=(pl.col("market") / pl.col("market").shift(1) - 1).shift(-ahead)
    )
    return features(RETURN)(frame).join(moved, on="session", how="left")


def from_global(frame: pl.DataFrame, ahead: int) -> pl.DataFrame:
    return with_market(frame, MARKET, ahead)


def from_settings(frame: pl.DataFrame, ahead: int) -> pl.DataFrame:
    return with_market(frame, SETTINGS["market"], ahead)


class Holder:
    def __init__(self, market: pl.DataFrame, ahead: int) -> None:
        self.market = market
        self.ahead = ahead

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_market(frame, self.market, self.ahead)

    def method(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_market(frame, self.market, self.ahead)


def in_closure(ahead: int):
    market = MARKET.clone()
    return lambda frame: with_market(frame, market, ahead)


def in_default(ahead: int):
    def extract(frame: pl.DataFrame, market: pl.DataFrame = MARKET) -> pl.DataFrame:
        return with_market(frame, market, ahead)

    return extract


WAYS = {
    "closure": in_closure,
    "default": in_default,
    "global": lambda ahead: functools.partial(from_global, ahead=ahead),
    "global of a helper": lambda ahead: lambda frame: from_global(frame, ahead),
    "dictionary": lambda ahead: functools.partial(from_settings, ahead=ahead),
    "partial": lambda ahead: functools.partial(with_market, market=MARKET, ahead=ahead),
    "partial by position": lambda ahead: functools.partial(lambda m, b: with_market(b, m, ahead), MARKET),
    "callable instance": lambda ahead: Holder(MARKET, ahead),
    "bound method": lambda ahead: Holder(MARKET, ahead).method,
    "instance in a closure": lambda ahead: (lambda h: lambda frame: h.method(frame))(Holder(MARKET, ahead)),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_frame_that_the_extractor_holds_is_cut_with_the_bars(way):
    refused = audit_features(WAYS[way](1), BARS, probes=CUT, cutoffs=5)
    assert probes(refused) == set(CUT)
    assert {v.column for v in refused.violations} == {"m"}
    clean = audit_features(WAYS[way](0), BARS, probes=CUT)
    clean.assert_clean()
    assert clean.coverage["truncation"]["held_frames"]


def test_the_held_frames_are_given_back():
    holder = Holder(MARKET, 1)
    partial = functools.partial(lambda m, b: with_market(b, m, 0), MARKET)
    for extract in (holder, partial):
        audit_features(extract, BARS, probes=CUT, cutoffs=2)
    assert holder.market is MARKET
    assert partial.args[0] is MARKET


def test_they_are_given_back_when_the_extractor_raises():
    def extract(frame: pl.DataFrame, market: pl.DataFrame = MARKET) -> pl.DataFrame:
        if market.height < 40:
            raise RuntimeError("too short")
        return with_market(frame, market, 0)

    with pytest.raises(ValueError, match="too short"):
        audit_features(extract, BARS, probes=CUT)
    assert extract.__defaults__[0] is MARKET


def test_a_held_calendar_is_known_in_advance_and_stays_whole():
    days = BARS.select(pl.col("session").unique().sort()).with_row_index("i")
    last = days["session"].max()

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        ends = days.group_by(pl.col("session").dt.truncate("1mo")).agg(end=pl.col("i").max())
        with_end = days.with_columns(month=pl.col("session").dt.truncate("1mo")).join(
            ends, left_on="month", right_on="session"
        )
        left = with_end.select("session", left=pl.col("end").cast(pl.Int64) - pl.col("i").cast(pl.Int64))
        return frame.select("symbol", "session").join(left, on="session", how="left")

    assert last == days["session"].max()
    audit_features(extract, BARS, probes=CUT).assert_clean()


def test_a_held_frame_without_time_is_not_audited_unless_vouched_for():
    volumes = BARS.group_by("symbol").agg(usual=pl.col("volume").mean())

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.join(volumes, on="symbol").select(
            "symbol", "session", x=pl.col("volume") / pl.col("usual")
        )

    report = audit_features(extract, BARS, probes=CUT, cutoffs=3)
    assert not report.passed
    assert report.unaudited == ("volumes: 6 rows without a time by which to cut them",)
    with pytest.raises(LeakageError, match="Not audited, since nothing can cut volumes"):
        report.assert_clean()
    vouched = audit_features(extract, BARS, probes=CUT, cutoffs=3, allow=["volumes"])
    vouched.assert_clean()
    assert vouched.coverage["truncation"]["vouched_for"] == ["volumes"]


FITTED: dict[str, float] = {}
MEAN = None


def fitted_once_in_a_dict(frame: pl.DataFrame) -> pl.DataFrame:
    if "mean" not in FITTED:
        FITTED["mean"] = frame["close"].mean()
    return frame.select("symbol", "session", x=CLOSE / FITTED["mean"])


def fitted_once_in_a_global(frame: pl.DataFrame) -> pl.DataFrame:
    global MEAN
    if MEAN is None:
        MEAN = frame["close"].mean()
    return frame.select("symbol", "session", x=CLOSE / MEAN)


@functools.cache
def usual_close(_: str) -> float:
    return LATEST["close"].mean()


LATEST: dict[str, pl.Series] = {}


def fitted_once_in_a_cache(frame: pl.DataFrame) -> pl.DataFrame:
    LATEST["close"] = frame["close"]
    return frame.select("symbol", "session", x=CLOSE / usual_close("all"))


class FittedOnce:
    mean = None

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.mean is None:
            self.mean = frame["close"].mean()
        return frame.select("symbol", "session", x=CLOSE / self.mean)


class Scaler:
    def fit(self, values: pl.Series) -> None:
        self.mean_ = values.mean()


def fitted_once_in_an_object():
    scaler = Scaler()

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        if not hasattr(scaler, "mean_"):
            scaler.fit(frame["close"])
        return frame.select("symbol", "session", x=CLOSE / scaler.mean_)

    return extract


def fitted_once_in_a_list():
    means: list[float] = []

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        if not means:
            means.append(frame["close"].mean())
        return frame.select("symbol", "session", x=CLOSE / means[0])

    return extract


@pytest.mark.parametrize(
    "extract",
    [
        fitted_once_in_a_dict,
        fitted_once_in_a_global,
        fitted_once_in_a_cache,
        FittedOnce(),
        FittedOnce().__call__,
        fitted_once_in_an_object(),
        fitted_once_in_a_list(),
    ],
    ids=["dict", "global", "cache", "instance", "method", "object", "list"],
)
def test_what_was_fitted_on_the_first_call_does_not_hide_from_the_later_ones(extract):
    report = audit_features(extract, BARS, probes=CUT, cutoffs=4)
    assert probes(report) == set(CUT)
    assert report.coverage["truncation"]["state_put_back"]


def test_the_state_is_left_as_it_was():
    FITTED.clear()
    once = FittedOnce()
    audit_features(fitted_once_in_a_dict, BARS, probes=CUT, cutoffs=2)
    audit_features(once, BARS, probes=CUT, cutoffs=2)
    assert FITTED == {}
    assert once.mean is None


def test_a_cache_that_outlives_its_bars_is_refused_by_the_incremental_probe():
    cache: dict[str, pl.DataFrame] = {}

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        if "levels" not in cache:
            cache["levels"] = features(RETURN.rolling_mean(5), CLOSE.rolling_mean(5) / CLOSE)(frame)
        return frame.select("symbol", "session").join(cache["levels"], on=["symbol", "session"], how="left")

    report = audit_features(extract, BARS, warmup=10)
    assert "incremental" in probes(report)
    assert "cache" in report.coverage["incremental"]["state_put_back"]


def test_a_memo_that_always_agrees_with_its_bars_passes():
    memo: dict[int, int] = {}

    def weekday(day: int) -> int:
        return memo.setdefault(day, day % 7)

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        days = [weekday(d) for d in frame["session"].to_physical()]
        return features(RETURN)(frame).with_columns(d=pl.Series(days))

    audit_features(extract, BARS, warmup=3).assert_clean()


PEEKING = features(RETURN.shift(-1), RETURN)(BARS)


def looked_up(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("symbol", "session").join(PEEKING, on=["symbol", "session"], how="left")


def some_looked_up(frame: pl.DataFrame) -> pl.DataFrame:
    return features(RETURN)(frame).join(
        PEEKING.select("symbol", "session", y="x0"), on=["symbol", "session"], how="left"
    )


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        (looked_up, "does not depend on the bars"),
        (some_looked_up, "y is copied from a frame"),
    ],
)
def test_features_computed_beforehand_are_an_error_and_never_a_pass(extract, message):
    with pytest.raises(OutsideDataError, match=message):
        audit_features(extract, BARS)


def test_bars_held_in_place_of_the_bars_given_are_an_error_and_never_a_pass():
    with pytest.raises(ExtractorOutputError, match="not in the bars it was given"):
        audit_features(lambda frame: features(RETURN)(BARS), BARS)


def test_features_read_from_a_file_are_an_error(tmp_path):
    path = tmp_path / "features.parquet"
    PEEKING.write_parquet(path)

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "session").join(
            pl.read_parquet(path), on=["symbol", "session"], how="left"
        )

    with pytest.raises(
        OutsideDataError,
        match=r"the extractor reads by polars.read_parquet .*features.parquet, on all bars.* pass it with sources=",
    ):
        audit_features(extract, BARS)


def test_the_same_table_as_a_declared_source_is_audited_as_data():
    def extract(frame: pl.DataFrame, sentiment: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "session").join(sentiment, on=["symbol", "session"], how="left")

    audit_features(extract, BARS, sources={"sentiment": PEEKING}, cutoffs=4).assert_clean()


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("session").dt.weekday(),
        pl.int_range(pl.len()),
        pl.col("symbol").hash(7) % 5,
        pl.col("close") > pl.col("open"),
        (pl.col("close") - pl.col("low")) / (pl.col("high") - pl.col("low")),
        pl.lit(1.0),
    ],
    ids=["weekday", "age", "constant of a symbol", "candle", "place in the range", "constant"],
)
def test_columns_that_hardly_move_are_not_taken_for_looked_up(expression):
    extract = lambda frame: frame.sort("symbol", "session").select(  # noqa: E731
        "symbol", "session", x=expression.over("symbol")
    )
    audit_features(extract, BARS, probes=CUT, cutoffs=3).assert_clean()


def test_a_peek_at_tomorrows_candle_is_refused_by_made_up_futures():
    candle = (pl.col("close") / pl.col("open")).shift(-1)
    assert "perturbation" in probes(
        audit_features(features(candle), BARS, probes=["perturbation"], cutoffs=3)
    )


def test_a_result_that_counts_its_calls_is_an_error_and_never_a_pass():
    calls = []

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(1)
        return features(RETURN)(frame).with_columns(n=pl.lit(len(calls)))

    with pytest.raises(NonDeterministicExtractorError, match="two calls"):
        audit_features(extract, BARS)


def test_state_that_changes_results_is_refused_without_a_warmup_too():
    cache: dict[str, pl.DataFrame] = {}

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        if "levels" not in cache:
            cache["levels"] = features(CLOSE.rolling_mean(5) / CLOSE)(frame)
        return frame.select("symbol", "session").join(cache["levels"], on=["symbol", "session"], how="left")

    def once_more(frame: pl.DataFrame) -> pl.DataFrame:
        return extract(frame).with_columns(n=pl.lit(len(cache["levels"])))

    report = audit_features(once_more, BARS, cutoffs=3)
    assert "incremental" in probes(report)


def test_a_month_cut_out_of_a_short_history_is_not_taken_for_looked_up():
    month = (date(2019, 2, 1), date(2019, 2, 28))
    short = bars(12, 40).filter(pl.col("session") <= month[1])

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        values = features(CLOSE / CLOSE.shift(30) - 1, RETURN.rolling_std(35), RETURN)(frame)
        return values.filter(pl.col("session").is_between(*month))

    audit_features(extract, short, sessions=month, probes=CUT, cutoffs=3).assert_clean()
