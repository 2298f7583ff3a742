"""Splitting bars into good rows and quarantined rows, with the reasons.

Every row that goes in comes out on exactly one side. A row is bad when

- a key is missing (`null_symbol`, `null_session`) or its session is not on the calendar (`off_calendar`),
- a price or the volume is missing, not a number or infinite (`not_finite`), a price is not positive
  (`not_positive`), or the volume is negative (`negative_volume`),
- its prices contradict each other (`high_too_low`: high < max(open, close); `low_too_high`: low >
  min(open, close)),
- a corporate action is impossible (`bad_split`, `bad_dividend`),
- its times are missing or out of order (`null_time`, `known_before_event`),
- the source itself could not read it (its `defect`),
- its key occurs again (`duplicate`): among rows without another defect, copies that say the same keep the
  first; where they disagree all of them go, for nothing tells which is right.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, index_of
from trademl_pipeline.market.errors import BarsSchemaError
from trademl_pipeline.market.schema import BAR_DTYPES, DEFECT, PRICE_COLUMNS, ROW, conform
from trademl_pipeline.tables import QUARANTINED_BARS

# Columns in which two rows of one key must agree to be copies.
_CONTENT = (*PRICE_COLUMNS, "volume", "split_factor", "dividend", "adjusted")
_KEY = ("symbol", "session")


class SplitBars(NamedTuple):
    """The two sides of a split: `good` in the schema RAW_BARS, `quarantined` in QUARANTINED_BARS."""

    good: pl.DataFrame
    quarantined: pl.DataFrame


def split_bars(
    frame: pl.DataFrame,
    *,
    ingested_at: datetime,
    calendar: str | None = DEFAULT_CALENDAR,
    volume_required: bool = True,
) -> SplitBars:
    """Judge every row of a source's frame.

    Args:
        frame: bars as a source returns them (`schema.SOURCE_COLUMNS`, `row` and `defect` optional), in any
            order.
        ingested_at: the moment to record, with time zone.
        calendar: the exchange calendar that sessions must be on; None checks none.
        volume_required: whether a bar without a volume is bad; an index has none.

    Returns:
        good: sorted by (symbol, session), unique, validated against the table's schema;
        quarantined: the rest as given, with `reason` ("; "-joined, offending values included) and `row`
            (the source's own row where it gives one, else the position in `frame`).

    Raises:
        BarsSchemaError: a column is absent or of a type that cannot be read; no row can be judged then.
        ValueError: `ingested_at` has no time zone.
    """
    if ingested_at.tzinfo is None:
        raise ValueError("ingested_at has no time zone; pass an aware datetime")
    bars = conform(frame)
    if ROW not in bars.columns:
        bars = bars.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64))
    if DEFECT not in bars.columns:
        bars = bars.with_columns(pl.lit(None, pl.String).alias(DEFECT))
    on_calendar = (
        index_of(bars["session"], calendar).is_not_null() if calendar else bars["session"].is_not_null()
    )
    bars = bars.with_columns(on_calendar.alias("_on_calendar"))

    rules = _rules(calendar, volume_required)
    broken = pl.any_horizontal(condition for condition, _ in rules)
    bars = bars.with_columns(broken.fill_null(True).alias("_broken"))
    bad = bars.filter("_broken")
    if bad.height:
        bad = bad.with_columns(_reason(rules).alias("reason"))
    else:
        bad = bad.with_columns(pl.lit(None, pl.String).alias("reason"))
    good, doubles = _split_duplicates(bars.filter(~pl.col("_broken")))

    stamp = (
        pl.lit(ingested_at).dt.convert_time_zone("UTC").cast(BAR_DTYPES["ingested_at"]).alias("ingested_at")
    )
    quarantined = (
        pl.concat([bad, doubles]).with_columns(stamp).select(list(QUARANTINED_BARS.columns)).sort(ROW)
    )
    good = _validated(good.with_columns(stamp).select(list(BAR_DTYPES)), volume_required)
    return SplitBars(good, quarantined)


def _cell_texts(*columns: str) -> pl.Expr:
    parts = [pl.format(f"{c}={{}}", pl.col(c).cast(pl.String).fill_null("null")) for c in columns]
    return pl.concat_str(parts, separator=", ")


def _less(a: str, b: str) -> pl.Expr:
    # Polars orders NaN above every number; a price that is none has its own rule.
    return (pl.col(a) < pl.col(b)) & pl.col(a).is_finite() & pl.col(b).is_finite()


def _rules(calendar: str | None, volume_required: bool) -> list[tuple[pl.Expr, pl.Expr]]:
    """Pairs of (the row is bad, what to say). A comparison with null is null: another rule speaks of that."""
    col = pl.col
    rules = [
        (col(DEFECT).is_not_null(), col(DEFECT)),
        (
            col("symbol").is_null() | (col("symbol").str.strip_chars() == ""),
            pl.lit("null_symbol: the row has no symbol"),
        ),
        (col("session").is_null(), pl.lit("null_session: the row has no date")),
        (
            ~col("_on_calendar") & col("session").is_not_null(),
            pl.format("off_calendar: {} is no session of {}", col("session"), pl.lit(calendar)),
        ),
    ]
    for name in (*PRICE_COLUMNS, "volume"):
        absent_is_bad = name != "volume" or volume_required
        finite = col(name).is_finite().fill_null(not absent_is_bad)
        rules.append((~finite, pl.format("not_finite: {}", _cell_texts(name))))
    for name in PRICE_COLUMNS:
        rules.append((col(name) <= 0, pl.format("not_positive: {}", _cell_texts(name))))
    rules += [
        ((col("volume") < 0).fill_null(False), pl.format("negative_volume: {}", _cell_texts("volume"))),
        (
            _less("high", "open") | _less("high", "close"),
            pl.format("high_too_low: {}", _cell_texts("high", "open", "close")),
        ),
        (
            _less("open", "low") | _less("close", "low"),
            pl.format("low_too_high: {}", _cell_texts("low", "open", "close")),
        ),
        (
            ~(col("split_factor").is_finite() & (col("split_factor") > 0)).fill_null(False),
            pl.format("bad_split: {}", _cell_texts("split_factor")),
        ),
        (
            ~(col("dividend").is_finite() & (col("dividend") >= 0)).fill_null(False),
            pl.format("bad_dividend: {}", _cell_texts("dividend")),
        ),
        (
            # A row off the calendar has no close, which its own rule already says.
            (col("event_time").is_null() | col("knowledge_time").is_null()) & col("_on_calendar"),
            pl.format("null_time: {}", _cell_texts("event_time", "knowledge_time")),
        ),
        (
            col("knowledge_time") < col("event_time"),
            pl.format("known_before_event: {}", _cell_texts("knowledge_time", "event_time")),
        ),
    ]
    return rules


def _reason(rules: list[tuple[pl.Expr, pl.Expr]]) -> pl.Expr:
    reasons = [pl.when(condition).then(text) for condition, text in rules]
    return pl.concat_str(reasons, separator="; ", ignore_nulls=True)


def _split_duplicates(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sorted unique rows, and the rows that the module's rule for duplicates refuses, with their reason."""
    bars = bars.sort(*_KEY, ROW)
    same_key = pl.all_horizontal(pl.col(k) == pl.col(k).shift(1) for k in _KEY).fill_null(False)
    repeats = bars.select(same_key).to_series()
    if not repeats.any():
        return bars, bars.clear().with_columns(pl.lit(None, pl.String).alias("reason"))
    doubled = (repeats | repeats.shift(-1, fill_value=False)).alias("_doubled")
    bars = bars.with_columns(doubled)
    groups = bars.filter("_doubled").with_columns(
        first_row=pl.col(ROW).first().over(_KEY),
        rows=pl.col(ROW).cast(pl.String).str.join(", ").over(_KEY),
        differing=pl.concat_str(
            [
                pl.when(pl.col(c).n_unique().over(_KEY) > 1).then(
                    pl.format(
                        "{} {}",
                        pl.lit(c),
                        pl.col(c).cast(pl.String).unique(maintain_order=True).str.join(" / ").over(_KEY),
                    )
                )
                for c in _CONTENT
            ],
            separator=", ",
            ignore_nulls=True,
        ),
    )
    first_rows = groups.filter((pl.col("differing") == "") & (pl.col(ROW) == pl.col("first_row")))
    refused = groups.filter((pl.col("differing") != "") | (pl.col(ROW) != pl.col("first_row"))).with_columns(
        pl.when(pl.col("differing") == "")
        .then(pl.format("duplicate: says the same as row {}", pl.col("first_row")))
        .otherwise(pl.format("duplicate: rows {} disagree on {}", pl.col("rows"), pl.col("differing")))
        .alias("reason")
    )
    helpers = ["first_row", "rows", "differing", "_doubled"]
    good = pl.concat([bars.filter(~pl.col("_doubled")).drop("_doubled"), first_rows.drop(helpers)]).sort(
        *_KEY
    )
    return good, refused.drop(helpers)


@lru_cache(maxsize=2)
def _table(volume_required: bool) -> Any:
    # pandera costs a second to import, which loading the definitions must not pay.
    import pandera.polars as pa

    positive, not_negative = pa.Check.gt(0), pa.Check.ge(0)
    checks = {
        **dict.fromkeys((*PRICE_COLUMNS, "split_factor"), positive),
        "volume": not_negative,
        "dividend": not_negative,
    }
    columns = {
        name: pa.Column(dtype, checks.get(name), nullable=name == "volume" and not volume_required)
        for name, dtype in BAR_DTYPES.items()
    }
    rows = [
        pa.Check(_ordered, name="high_is_highest_and_low_is_lowest"),
        pa.Check(_known_after_event, name="known_after_event"),
    ]
    return pa.DataFrameSchema(
        columns, checks=rows, unique=list(_KEY), strict=True, ordered=True, name="raw_bars"
    )


def _ordered(data: Any) -> pl.LazyFrame:
    high, low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return data.lazyframe.select((pl.col("high") >= high) & (pl.col("low") <= low))


def _known_after_event(data: Any) -> pl.LazyFrame:
    return data.lazyframe.select(pl.col("knowledge_time") >= pl.col("event_time"))


def _validated(good: pl.DataFrame, volume_required: bool) -> pl.DataFrame:
    """Good rows, checked once more against the table as pandera sees it: what the rules missed stops here."""
    from pandera.errors import SchemaError

    try:
        return _table(volume_required).validate(good)
    except SchemaError as error:
        column = str(getattr(error.schema, "name", ""))
        raise BarsSchemaError(
            f"bars that passed every row rule break the table raw_bars: {error}", column
        ) from error
