from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.text import interval, number, percent, plural, points


def test_numbers_have_a_true_minus_and_no_signed_zero():
    assert number(-0.0481, 3) == "−0.048"
    assert number(0.0481, 2, signed=True) == "+0.05"
    assert number(-0.0001, 2, signed=True) == "0.00"
    assert number(None) == number(float("nan")) == "–"


def test_shares_are_percent_and_differences_points():
    assert percent(0.5314) == "53.1 %"
    assert points(0.0174) == "+1.7"
    assert percent(None) == "–"


def test_intervals_say_the_unit_once():
    score = Score("x", 0.5, 0.41, 0.62, 10, 5)
    assert interval(score, "percent") == "41.0 to 62.0 %"
    assert interval(score, "signed", 2) == "+0.41 to +0.62"
    assert interval(Score("x", 0.5, None, None, 10, 5)) == "no interval"


def test_counts_agree_with_their_noun():
    assert plural(1, "month") == "1 month"
    assert plural(1200, "session") == "1,200 sessions"
