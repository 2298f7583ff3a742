"""Mutants of markets that never close: sessions on weekends, UTC days, funding, candles that are still open."""

from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
from mutant import CLOSE, Mutant, columns, feature_mutant

from trademl_pipeline.leakage import audit_folds, audit_knowledge
from trademl_pipeline.market.calendar import close_utc, open_utc, sessions

GITHUB = "https://github.com/"
CALENDAR = "24/7"
DAYS = sessions(date(2021, 3, 1), date(2021, 5, 9), CALENDAR)


@cache
def coins(n: int = 5) -> pl.DataFrame:
    """Daily candles of UTC days, weekends among them, known ten seconds after they close."""
    random = np.random.default_rng(21)
    days = pl.Series("session", DAYS)
    closes = close_utc(days, CALENDAR)
    parts = []
    for i in range(n):
        close = 100 * (i + 1) * np.exp(np.cumsum(random.normal(0, 0.03, len(days))))
        opened = np.concatenate([[100.0 * (i + 1)], close[:-1]])
        part = pl.DataFrame({"symbol": f"C{i}", "session": days, "open": opened, "close": close})
        parts.append(
            part.with_columns(
                high=np.maximum(opened, close) * 1.01,
                low=np.minimum(opened, close) * 0.99,
                volume=np.exp(random.normal(10, 0.5, len(days))),
                event_time=closes,
                knowledge_time=closes + timedelta(seconds=10),
            )
        )
    return pl.concat(parts)


def clocked(known: pl.Expr, event: pl.Expr, *, decided: pl.Expr | None = None):
    rows = pl.DataFrame({"symbol": "C0", "session": DAYS}).with_columns(
        opens=open_utc(pl.Series(DAYS), CALENDAR), closes=close_utc(pl.Series(DAYS), CALENDAR)
    )
    rows = rows.with_columns(event_time=event, knowledge_time=known)
    at = pl.col("knowledge_time") if decided is None else decided
    return audit_knowledge(rows.with_columns(decision_time=at).drop("opens", "closes"), calendar=CALENDAR)


OPENS, CLOSES = pl.col("opens"), pl.col("closes")


def open_stamp(leaky: bool):
    """Candles stamped by their opening, as an exchange's interface gives them, taken as known then."""
    return clocked(OPENS if leaky else CLOSES, OPENS if leaky else CLOSES)


def running_candle(leaky: bool):
    """The last candle of a request is the one that runs: its close is that of the moment of the request."""
    asked = pl.when(pl.col("session") == DAYS[-1]).then(CLOSES - pl.duration(hours=9)).otherwise(CLOSES)
    return clocked(asked if leaky else CLOSES, CLOSES)


def day_of_another_zone(leaky: bool):
    """Days of an exchange that begin at 16:00 UTC, filed under the UTC day in which they begin."""
    end = CLOSES + pl.duration(hours=16)
    return clocked(CLOSES if leaky else end, end)


def _funding() -> pl.DataFrame:
    """Rates of eight hours: filed under the day in which they begin to accrue, known when they are settled."""
    rows = [(f"C{i}", day) for i in range(5) for day in DAYS]
    frame = pl.DataFrame(rows, schema=["symbol", "session"], orient="row")
    settled = pl.Series(close_utc(frame["session"], CALENDAR)) + timedelta(hours=8)
    rate = np.random.default_rng(3).normal(0, 1e-4, frame.height)
    return frame.with_columns(knowledge_time=settled, rate=pl.Series(rate))


FUNDING = _funding()


def funded(settled: bool):
    """The funding rate of each day: the last one settled, or the one that is filed under the day."""

    def extract(bars: pl.DataFrame, funding: pl.DataFrame) -> pl.DataFrame:
        if settled:
            joined = (
                bars.sort("knowledge_time")
                .join_asof(
                    funding.sort("knowledge_time").select("symbol", "knowledge_time", "rate"),
                    on="knowledge_time",
                    by="symbol",
                    check_sortedness=False,
                )
                .select("symbol", "session", x=1e4 * pl.col("rate"))
            )
            return joined
        keys = bars.select("symbol", "session").join(
            funding.select("symbol", "session", "rate"), on=["symbol", "session"], how="left"
        )
        return keys.select("symbol", "session", x=1e4 * pl.col("rate"))

    return extract


def _stocks() -> pl.DataFrame:
    """An index by its own dates, whose days end five hours after those of UTC."""
    level = 100 + np.cumsum(np.random.default_rng(4).normal(0, 1, len(DAYS)))
    known = close_utc(pl.Series(DAYS), CALENDAR) + timedelta(hours=5)
    return pl.DataFrame({"session": DAYS, "knowledge_time": known, "level": level})


INDEX = _stocks()


def beside_index(same_date: bool):
    """An index whose day of the same date ends five hours after the UTC day."""

    def extract(bars: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        rows = index.sort("session").select("session", r=pl.col("level") / pl.col("level").shift(1) - 1)
        if not same_date:
            rows = rows.with_columns(pl.col("session").dt.offset_by("1d"))
        joined = bars.select("symbol", "session").join(rows, on="session", how="left")
        return joined.select("symbol", "session", x="r")

    return extract


def weekend_on_friday(whole: bool):
    """Weekends folded into the Friday before them, as a resampling to business days does."""
    monday = pl.col("session").dt.truncate("1w")
    weekday = pl.col("session").dt.weekday()

    def extract(bars: pl.DataFrame) -> pl.DataFrame:
        rows = bars.sort("symbol", "session").with_columns(
            friday=pl.when(weekday >= 5).then(monday.dt.offset_by("4d")).otherwise("session")
        )
        last = CLOSE.last().over("symbol", "friday") if whole else CLOSE
        return rows.select("symbol", "session", (last / CLOSE.shift(7).over("symbol")).alias("x"))

    return extract


H = 5


def _labels() -> pl.DataFrame:
    rows = [("C0", day, DAYS[i + H], H) for i, day in enumerate(DAYS[:-H])]
    frame = pl.DataFrame(rows, schema=["symbol", "session", "label_end", "horizon"], orient="row")
    return frame.with_columns(pl.col("horizon").cast(pl.Int16))


START = DAYS[45]


def weekends_not_purged(leaky: bool):
    """Labels that end on a weekend have no place in the calendar of an exchange, and are not purged."""
    labels = _labels().filter(pl.col("session") < START)
    ended = pl.col("label_end") < START
    weekend = pl.col("label_end").dt.weekday() >= 6
    train = labels.filter(ended | weekend if leaky else ended)
    test = _labels().filter(pl.col("session") >= START)
    return audit_folds(train, test, embargo=0, calendar=CALENDAR)


def horizon_of_an_exchange(leaky: bool):
    """Five sessions around the clock, of which those that end on a weekend claim the Friday before."""
    labels = _labels()
    if leaky:
        labels = labels.with_columns(
            label_end=pl.when(pl.col("label_end").dt.weekday() >= 6)
            .then(pl.col("label_end").dt.truncate("1w").dt.offset_by("4d"))
            .otherwise("label_end")
        )
    train = labels.filter(pl.col("label_end") < START)
    test = labels.filter(pl.col("session") >= START)
    return audit_folds(train, test, embargo=0, calendar=CALENDAR)


def _filed(bars: pl.DataFrame, *, early: bool) -> pl.DataFrame:
    """Returns of three days, filed on the session on which they claim to be known."""
    rows = bars.sort("symbol", "session").with_columns(
        y=(CLOSE.shift(-3) / CLOSE - 1).over("symbol"), end=pl.col("session").shift(-3).over("symbol")
    )
    if early:
        weekday = pl.col("end").dt.weekday()
        friday = pl.col("session").shift(-2).over("symbol")
        rows = rows.with_columns(end=pl.when(weekday == 6).then(friday).otherwise("end"))
        rows = rows.unique(["symbol", "end"], keep="last", maintain_order=True)
    return rows.filter(pl.col("end").is_not_null()).select("symbol", session="end", y="y")


MUTANTS = [
    Mutant(
        "ingest/candle_stamped_at_opening_24_7",
        "candles known at their opening, as an exchange stamps them",
        f"{GITHUB}shobhit727/trade/issues/31: opening times looked up, closes returned",
        frozenset({"knowledge"}),
        open_stamp,
    ),
    Mutant(
        "ingest/running_candle_24_7",
        "the last candle of a request, which has not closed",
        f"{GITHUB}bybit-exchange/pybit/issues/175 and {GITHUB}Haehnchen/crypto-trading-bot/issues/67",
        frozenset({"knowledge"}),
        running_candle,
    ),
    Mutant(
        "ingest/day_of_another_zone_24_7",
        "days that end at 16:00 UTC filed as if they ended at midnight before",
        f"{GITHUB}pbrissaud/suivi-bourse/issues/1013",
        frozenset({"knowledge"}),
        day_of_another_zone,
    ),
    feature_mutant(
        "ingest/funding_before_settlement_24_7",
        "the funding rate of a day that is settled eight hours after it",
        f"{GITHUB}freqtrade/freqtrade/issues/12310",
        funded(settled=False),
        funded(settled=True),
        "truncation perturbation",
        bars=coins,
        sources={"funding": FUNDING},
    ),
    feature_mutant(
        "ingest/index_of_the_same_date_24_7",
        "an index whose day of the same date ends hours after the UTC day",
        f"{GITHUB}mementum/backtrader/issues/119",
        beside_index(same_date=True),
        beside_index(same_date=False),
        "truncation perturbation",
        bars=coins,
        sources={"index": INDEX},
    ),
    feature_mutant(
        "features/weekend_on_friday_24_7",
        "weekends folded into the Friday before them",
        f"{GITHUB}freqtrade/technical/issues/268",
        weekend_on_friday(whole=True),
        weekend_on_friday(whole=False),
        "truncation perturbation",
        bars=coins,
    ),
    feature_mutant(
        "features/volume_of_the_week_24_7",
        "volume as a share of its week, which goes on",
        f"{GITHUB}freqtrade/freqtrade-strategies/pull/285",
        lambda bars: bars.select(
            "symbol",
            "session",
            x=pl.col("volume") / pl.col("volume").mean().over("symbol", pl.col("session").dt.truncate("1w")),
        ),
        columns(pl.col("volume") / pl.col("volume").rolling_mean(7)),
        "truncation perturbation",
        bars=coins,
    ),
    feature_mutant(
        "labels/end_on_monday_24_7",
        "labels of three days whose end is put off the weekend to the Friday before",
        f"{GITHUB}stefan-jansen/machine-learning-for-trading/pull/461",
        lambda bars: _filed(bars, early=True),
        lambda bars: _filed(bars, early=False),
        "truncation perturbation",
        bars=coins,
    ),
    Mutant(
        "labels/horizon_of_an_exchange_24_7",
        "sessions around the clock whose weekends are not counted",
        f"{GITHUB}stefan-jansen/machine-learning-for-trading/pull/461",
        frozenset({"folds"}),
        horizon_of_an_exchange,
    ),
    Mutant(
        "training/weekends_not_purged_24_7",
        "labels that end on a weekend escape the purge",
        f"{GITHUB}Open-Quant/openquant/issues/65",
        frozenset({"folds"}),
        weekends_not_purged,
    ),
]
