from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_trades

CLOSE = datetime(2019, 3, 1, 21, tzinfo=UTC)


def trades(
    n: int = 4, *, order: timedelta = timedelta(hours=1), fill: timedelta = timedelta(hours=17, minutes=30)
):
    key = {"trade_id": range(n), "symbol": [f"S{i}" for i in range(n)]}
    closes = [CLOSE + timedelta(days=i) for i in range(n)]
    signals = pl.DataFrame({**key, "signal_time": closes})
    orders = pl.DataFrame({**key, "order_time": [c + order for c in closes]})
    fills = pl.DataFrame({**key, "fill_time": [c + fill for c in closes]})
    return signals, orders, fills


def test_signal_order_fill_passes():
    report = audit_trades(*trades())
    report.assert_clean()
    assert report.coverage["execution"]["fills"] == 4


@pytest.mark.parametrize(
    ("order", "fill", "columns"),
    [
        (timedelta(0), timedelta(hours=1), {"order_time"}),
        (timedelta(hours=1), timedelta(hours=1), {"fill_time"}),
        (timedelta(0), timedelta(0), {"order_time", "fill_time"}),
        (timedelta(hours=-6), timedelta(hours=-5), {"order_time", "fill_time"}),
    ],
    ids=["ordered at the signal", "filled at the order", "all on one close", "filled at the open before"],
)
def test_what_happens_at_one_moment_or_earlier_is_refused(order, fill, columns):
    report = audit_trades(*trades(order=order, fill=fill))
    assert {v.column for v in report.violations} == columns
    assert all(v.count == 4 for v in report.violations)


def test_one_early_fill_is_named():
    signals, orders, fills = trades()
    early = (
        pl.when(pl.col("trade_id") == 2)
        .then(pl.col("fill_time") - pl.duration(days=1))
        .otherwise("fill_time")
    )
    report = audit_trades(signals, orders, fills.with_columns(fill_time=early))
    assert {(v.symbol, v.count) for v in report.violations} == {("S2", 1)}


def test_partial_fills_and_unfilled_orders_are_fine():
    signals, orders, fills = trades()
    report = audit_trades(signals, orders, pl.concat([fills.head(2), fills.head(2)]))
    report.assert_clean()
    assert report.coverage["execution"]["unfilled_orders"] == 2


def test_fills_without_order_and_orders_without_signal_are_refused():
    signals, orders, fills = trades()
    assert {v.column for v in audit_trades(signals, orders.head(3), fills).violations} == {
        "order_time",
        "signal_time",
    } - {"signal_time"}
    assert {v.column for v in audit_trades(signals.head(3), orders, fills).violations} == {"signal_time"}


def test_a_signal_from_what_was_not_known_is_refused():
    signals, orders, fills = trades()
    late = signals.with_columns(knowledge_time=pl.col("signal_time") + pl.duration(minutes=1))
    assert [v.max_delta for v in audit_trades(late, orders, fills).violations] == [60.0]


def test_symbol_and_session_are_a_key_where_there_is_no_other():
    frames = [
        f.drop("trade_id").with_columns(
            session=pl.lit(CLOSE.date()) + pl.duration(days=pl.int_range(pl.len()))
        )
        for f in trades(fill=timedelta(0))
    ]
    report = audit_trades(*frames)
    assert not report.passed
    assert report.coverage["execution"]["key"] == ["symbol", "session"]
    assert audit_trades(*trades(), on=["trade_id", "symbol"]).passed


SIGNALS, ORDERS, FILLS = trades()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ((SIGNALS.clear(), ORDERS, FILLS), "no signals"),
        ((SIGNALS, ORDERS.drop("order_time"), FILLS), "none of order_time, "),
        ((SIGNALS, ORDERS, FILLS.with_columns(fill_time=pl.lit(None, pl.Datetime("us", "UTC")))), "nulls"),
        ((SIGNALS, ORDERS, FILLS.with_columns(fill_time=pl.lit("noon"))), "must be a Datetime"),
        (
            (SIGNALS, ORDERS, FILLS.with_columns(pl.col("fill_time").dt.replace_time_zone(None))),
            "different zones",
        ),
        ((pl.concat([SIGNALS, SIGNALS]), ORDERS, FILLS), "several rows for one trade_id"),
        (tuple(f.select(f.columns[-1]) for f in (SIGNALS, ORDERS, FILLS)), "nothing identifies a trade"),
    ],
)
def test_trades_that_cannot_be_audited_are_an_error(frames, message):
    with pytest.raises(AuditInputError, match=message):
        audit_trades(*frames)


def test_a_key_must_be_in_all_three():
    with pytest.raises(AuditInputError, match="not all of"):
        audit_trades(SIGNALS, ORDERS, FILLS, on="ticket")


def daily(order_days: int, fill_days: int) -> list[pl.DataFrame]:
    frames = [SIGNALS, ORDERS, FILLS]
    day = pl.lit(CLOSE.date()) + pl.duration(days=pl.col("trade_id"))
    ahead = [0, order_days, fill_days]
    return [
        f.with_columns((day + pl.duration(days=n)).alias(f.columns[-1]))
        for f, n in zip(frames, ahead, strict=True)
    ]


def test_where_only_days_are_known_the_fill_must_be_of_a_later_day():
    audit_trades(*daily(0, 1)).assert_clean()
    assert [v.column for v in audit_trades(*daily(0, 0)).violations] == ["fill_time"]
    assert {v.column for v in audit_trades(*daily(-1, 1)).violations} == {"order_time"}


def test_without_a_key_the_trades_of_a_symbol_are_paired_in_order():
    frames = [f.drop("trade_id").with_columns(symbol=pl.lit("S0")) for f in trades()]
    audit_trades(*frames).assert_clean()
    same = [f.drop("trade_id").with_columns(symbol=pl.lit("S0")) for f in trades(fill=timedelta(0))]
    assert not audit_trades(*same).passed
    with pytest.raises(AuditInputError, match="nothing identifies"):
        audit_trades(frames[0].head(3), *frames[1:])
