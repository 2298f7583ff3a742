"""Is a month of bars good enough? Every check's count against the share that may be found, as one table.

Rows that broke a rule of `rows.split_bars` count from the quarantine; what no single row gives away counts from
`checks`. How many findings are an alarm, and how loud, is configuration: see `Rule` and `rules_from`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import polars as pl

from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_bounds
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.market.quality.checks import CHECKS, vendor_disagreement, window
from trademl_pipeline.market.universes import members_on
from trademl_pipeline.tables import quality_table

Severity = Literal["WARN", "ERROR"]
RULES_KEY = "quality.rules"
EXAMPLES = 5

# The quarantine's reasons, by the check they count for; all others are bad_rows.
_REASONS = {"duplicate": "duplicates", "high_too_low": "ohlc_order", "low_too_high": "ohlc_order"}
DESCRIPTIONS = {
    "duplicates": "Rows in quarantine since their key occurs again.",
    "ohlc_order": "Rows in quarantine since high is not the highest of their prices, or low not the lowest.",
    "bad_rows": "Rows in quarantine for another reason: no number, not positive, off the calendar, ...",
    "missing_sessions": "Sessions of the calendar without a bar between two bars of a symbol.",
    "stale_runs": "Five or more sessions without volume at one close.",
    "zero_volume": "Bars on which nothing traded.",
    "missing_volume": "Bars without a volume, as those of an index.",
    "flat_bars": "Bars whose four prices are one, although something traded: there is only a close.",
    "unadjusted_splits": "Moves that look like a split which the source did not tell of.",
    "reverting_spikes": "Moves far beyond the usual that the next bar takes back.",
    "interpolated_bars": "Bars on a straight line, or said again, volume included.",
    "members_without_prices": "Sessions on which a member of the universe has no bar: the dead often have none.",
    "vendor_disagreement": "Returns on which a second source differs by more than a hundredth.",
}


class QualityRuleError(MarketError):
    """A rule of the quality checks that makes no sense."""


@dataclass(frozen=True)
class Rule:
    """When a check fails, and how loud.

    Attributes:
        severity: WARN, or ERROR.
        limit: share of the bars looked at that may be found without failing.
    """

    severity: Severity = "WARN"
    limit: float = 0.0


DEFAULT_RULES: dict[str, Rule] = {
    "duplicates": Rule("ERROR", 0.001),
    "ohlc_order": Rule("WARN", 0.001),
    "bad_rows": Rule("ERROR", 0.01),
    "missing_sessions": Rule("WARN", 0.005),
    "stale_runs": Rule("WARN", 0.001),
    "zero_volume": Rule("WARN", 0.01),
    "missing_volume": Rule("WARN", 0.0),
    "flat_bars": Rule("WARN", 0.02),
    "unadjusted_splits": Rule("ERROR", 0.0),
    "reverting_spikes": Rule("WARN", 0.0005),
    "interpolated_bars": Rule("WARN", 0.001),
    "vendor_disagreement": Rule("WARN", 0.01),
    "members_without_prices": Rule("WARN", 0.1),
}


# Of an index there is no volume, and of some only a close.
REFERENCE_RULES: dict[str, Rule] = {
    **{
        c: rule
        for c, rule in DEFAULT_RULES.items()
        if c not in ("vendor_disagreement", "members_without_prices")
    },
    "missing_volume": Rule("WARN", 1.0),
    "flat_bars": Rule("WARN", 1.0),
}


def rules_from(text: str | None, defaults: Mapping[str, Rule] = DEFAULT_RULES) -> dict[str, Rule]:
    """The default rules with what a configuration changes.

    Args:
        text: JSON: by check a severity, `{"missing_sessions": "ERROR"}`, or severity and limit,
            `{"zero_volume": {"severity": "ERROR", "limit": 0.05}}`. None or empty changes nothing.
        defaults: the rules to change; a check that they leave out is not made.

    Raises:
        QualityRuleError: it is no JSON, or names no check or severity; the message says what there is.
    """
    if not text:
        return dict(defaults)
    try:
        changes = json.loads(text)
    except json.JSONDecodeError as error:
        raise QualityRuleError(
            f'{RULES_KEY} is not JSON ({error}); write e.g. {{"missing_sessions": "ERROR"}}'
        ) from error
    if not isinstance(changes, dict):
        raise QualityRuleError(f"{RULES_KEY} is {changes!r}; it maps checks to severities")
    rules = dict(defaults)
    for check, change in changes.items():
        if check not in DEFAULT_RULES:
            raise QualityRuleError(
                f"{RULES_KEY} names {check!r}, which is no check; there are {', '.join(DEFAULT_RULES)}"
            )
        changed = _changed(check, rules.get(check, DEFAULT_RULES[check]), change)
        if check in rules:
            rules[check] = changed
    return rules


def _changed(check: str, rule: Rule, change: object) -> Rule:
    fields = {"severity": change} if isinstance(change, str) else change
    if not isinstance(fields, Mapping) or set(fields) - {"severity", "limit"}:
        raise QualityRuleError(
            f"{RULES_KEY}, {check}: {change!r}; give a severity, or an object with severity and limit"
        )
    severity, limit = fields.get("severity", rule.severity), fields.get("limit", rule.limit)
    if severity not in get_args(Severity):
        raise QualityRuleError(
            f"{RULES_KEY}, {check}: severity {severity!r}; it may be {' or '.join(get_args(Severity))}"
        )
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 <= limit <= 1:
        raise QualityRuleError(f"{RULES_KEY}, {check}: limit {limit!r}; it is a share from 0 to 1")
    return replace(rule, severity=severity, limit=float(limit))


def quality_of_months(
    bars: pl.DataFrame,
    quarantined: pl.DataFrame,
    months: Sequence[str],
    *,
    rules: Mapping[str, Rule] | None = None,
    other: pl.DataFrame | None = None,
    membership_intervals: pl.DataFrame | None = None,
    calendar: str = DEFAULT_CALENDAR,
) -> dict[str, pl.DataFrame]:
    """By month one row per check. A month is the same, whichever others are asked for with it.

    Args:
        bars: the months' bars and those of `checks.LOOKBACK` sessions before.
        quarantined: the months' refused rows, with their `reason`; with a column `month`, rows without a date count
            there.
        months: "YYYY-MM-01", without holes.
        rules: None is `DEFAULT_RULES`.
        other: bars of a second source over the same sessions; without it vendors are not compared.
        membership_intervals: symbol, start_date, end_date of the universe; without it its members are not looked for.
        calendar: that the sessions are on.

    Returns:
        The columns of `tables.quality_table`, in the order of the rules: check, severity, rows (bars looked
        at), count, symbols, share, limit, passed, examples.
    """
    rules = rules or DEFAULT_RULES
    seen = window(bars, calendar)
    findings_of = {name: check(seen) for name, check in CHECKS.items()}
    if other is not None:
        findings_of["vendor_disagreement"] = vendor_disagreement(seen, window(other, calendar))
    refused = _dated(quarantined)
    findings_of |= _refused(refused)
    reports = {}
    for month in months:
        inside = pl.col("session").is_between(*month_bounds(month))
        rows = seen.rows.filter(inside)
        month_findings = {check: findings.filter(inside) for check, findings in findings_of.items()}
        looked_at = dict.fromkeys(month_findings, rows.height)
        looked_at |= dict.fromkeys(_OF_QUARANTINE, rows.height + refused.filter(inside).height)
        if membership_intervals is not None:
            month_findings["members_without_prices"], looked_at["members_without_prices"] = _unpriced(
                membership_intervals, rows
            )
        summary = [
            _line(check, rule, month_findings[check], looked_at[check])
            for check, rule in rules.items()
            if check in month_findings
        ]
        reports[month] = pl.DataFrame(summary, schema=quality_table("raw_bars").polars_schema, orient="row")
    return reports


def report_table(report: pl.DataFrame) -> str:
    """A month's checks as Markdown, those that failed first."""
    lines = ["| check | found | of | share | limit | | examples |", "|---|---|---|---|---|---|---|"]
    for row in report.sort("passed", maintain_order=True).iter_rows(named=True):
        verdict = "passed" if row["passed"] else row["severity"]
        examples = str(row["examples"]).replace("|", "\\|")
        lines.append(
            f"| {row['check']} | {row['count']} | {row['rows']} | {row['share']:.3%} | {row['limit']:.3%} | {verdict} "
            f"| {examples} |"
        )
    return "\n".join(lines)


def calendar_of(bars: pl.DataFrame) -> str:
    """The calendar of bars that do not say: "24/7" where anything trades on a weekend, XNYS otherwise."""
    weekend = bars.select((pl.col("session").dt.weekday() > 5).any()).item()
    return AROUND_THE_CLOCK if weekend else DEFAULT_CALENDAR


_OF_QUARANTINE = ("duplicates", "ohlc_order", "bad_rows")


def _dated(quarantined: pl.DataFrame) -> pl.DataFrame:
    """The refused rows, those whose date says nothing on the first day of the month that they came with."""
    if "month" not in quarantined.columns:
        return quarantined
    in_month = pl.col("session").dt.strftime("%Y-%m-01") == pl.col("month")
    first = pl.col("month").str.to_date("%Y-%m-%d")
    return quarantined.with_columns(pl.when(in_month).then("session").otherwise(first).alias("session"))


def _unpriced(membership_intervals: pl.DataFrame, bars: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Members of the bars' sessions that have no bar on them, and how many members there are to look for."""
    there = members_on(membership_intervals, bars["session"].unique().to_list())
    absent = there.join(bars, on=["symbol", "session"], how="anti")
    detail, count = pl.lit("a member without a bar").alias("detail"), pl.lit(1, pl.Int64).alias("count")
    return absent.select("symbol", "session", count, detail), there.height


def _refused(quarantined: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The refused rows by check. A row refused for two reasons counts for both."""
    codes = quarantined.select(
        "symbol", "session", pl.lit(1, pl.Int64).alias("count"), pl.col("reason").alias("detail")
    ).with_row_index("_row")
    each = codes.with_columns(pl.col("detail").str.split("; ").alias("_said")).explode("_said")
    code = pl.col("_said").str.extract(r"^(\w+):")
    # The pieces of a reason that are no code of their own belong to the one before.
    each = each.filter(code.is_not_null()).with_columns(
        code.replace_strict(_REASONS, default="bad_rows").alias("_check")
    )
    each = each.unique(["_row", "_check"], maintain_order=True)
    return {
        check: each.filter(pl.col("_check") == check).select("symbol", "session", "count", "detail")
        for check in _OF_QUARANTINE
    }


def _line(check: str, rule: Rule, findings: pl.DataFrame, rows: int) -> tuple:
    count = int(findings["count"].sum())
    share = count / rows if rows else float(count > 0)
    largest = findings.sort("count", "session", "symbol", descending=[True, False, False]).head(EXAMPLES)
    examples = "; ".join(
        f"{symbol} {session}: {detail}" for symbol, session, _, detail in largest.iter_rows()
    )
    symbols = int(findings["symbol"].n_unique())
    return (check, rule.severity, rows, count, symbols, share, rule.limit, share <= rule.limit, examples)
