from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.evaluation.metrics import directional_accuracy
from trademl_pipeline.reports import build_report
from trademl_pipeline.reports.periods import consistency


def part(report):
    return report.summary()["sections"]["consistency"]


def test_months_of_a_short_range_and_halves_are_those_of_the_rows(made, config):
    inputs = made.inputs()
    got = part(build_report(inputs, config))
    months, halves, _ = got["tables"]
    assert [row[0] for row in months["rows"]] == [f"2019-0{m}" for m in range(1, 10)]
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    may = directional_accuracy(rows.filter(pl.col("session").dt.month() == 5), None).value
    assert months["rows"][4][months["head"].index("directional accuracy")].startswith(f"{100 * may:.1f} %")
    assert sum(int(row[2].replace(",", "")) for row in halves["rows"]) == rows.height


@pytest.mark.parametrize(
    ("years", "first"),
    [(1, ["2019-Q1", "2019-Q2", "2019-Q3", "2019-Q4"]), (5, ["2019", "2020", "2021", "2022"])],
)
def test_a_year_goes_by_quarters_and_a_long_range_by_years(config, years, first):
    rng = np.random.default_rng(1)
    days = pl.date_range(date(2019, 1, 1), date(2018 + years, 12, 31), "7d", eager=True)
    n = 5 * len(days)
    rows = pl.DataFrame(
        {
            "symbol": ["A", "B", "C", "D", "E"] * len(days),
            "session": [d for d in days for _ in range(5)],
            "score": rng.standard_normal(n),
            "return_1": rng.standard_normal(n),
        }
    ).with_columns(forward_return=pl.col("return_1"))
    got = consistency(rows, replace(config, task="forecast"))
    assert [row[0] for row in got.tables[0].rows][:4] == first


def test_symbols_are_counted_against_their_own_baseline(made, config):
    inputs = made.inputs(0.3)
    got = part(build_report(inputs, config))
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    leads = {}
    for (name,), own in rows.group_by("symbol"):
        score = directional_accuracy(own, None)
        leads[name] = score.value - score.baselines["majority"]
    above = sum(lead > 0 for lead in leads.values())
    assert f"above its baseline in {above} of 15 symbols" in got["text"][1]
    shown = [row[0] for row in got["tables"][2]["rows"]]
    assert len(shown) == 10
    assert shown[0] == max(leads, key=leads.get)
    assert shown[-1] == min(leads, key=leads.get)


@pytest.mark.parametrize("symbols", [["S00"], ["S00", "S01"]])
def test_few_symbols_are_all_shown_and_one_is_not_compared(made, config, symbols):
    inputs = made.inputs()
    few = replace(inputs, predictions=inputs.predictions.filter(pl.col("symbol").is_in(symbols)))
    book = replace(config.portfolio_config, weighting="sign")
    got = part(build_report(few, replace(config, portfolio=book)))
    assert len(got["tables"]) == (2 if len(symbols) == 1 else 3)
