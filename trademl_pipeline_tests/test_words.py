"""The package is named in the words of its field: what an identifier must not be called, and what to call it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trademl_pipeline"

# Word -> term. No part of an identifier: neither `voters` nor `first_voter` nor `VoterSpec`.
PARTS = {
    "voter": "base learner",
    "voters": "base learners",
    "effort": "preset",
    "efforts": "presets",
    "apart": "demean_within",
    "chances": "probabilities",
    "regressed": "y",
    "came": "outcome",
    "ripe": "matured",
    "unripe": "immature",
    "settled": "matured, label_horizon",
    "judged": "evaluated, portfolio",
    "book": "portfolio",
    "books": "portfolios",
    "unchosen": "unfiltered_portfolio",
    "looks": "primary_tests",
    "race": "first_passage",
    "races": "first-passage labels",
    "spell": "membership interval",
    "spells": "membership_intervals",
    "unsteady": "not rounding-stable",
    "liveness": "input_sensitivity",
    "contest": "champion/challenger evaluation",
    "patiently": "send_with_retry",
    "precursor": "leading_signal",
    "plantings": "planted events",
    "tape": "price generator",
    "fewest": "min_",
    "least": "min_",
    "slim": "small_32",
}
# Name -> term. Ordinary words inside a longer name, such as `units` in `business_units`; alone the old name of a thing.
NAMES = {
    "FitPlan": "TrainingConfig",
    "FoldPlan": "WalkForwardConfig",
    "MemberSpec": "EstimatorSpec",
    "Setting": "TrainingContext",
    "Patience": "RetryPolicy",
    "Answer": "Response",
    "Busy": "RateLimited",
    "SnapshotWindows": "ObservationWindows",
    "ONE_RUN_APART": "a backfill policy named by what it does",
    "less_group_means": "cross_sectional_demean",
    "drawn_means": "shrunken_means",
    "settled_after": "label_horizon",
    "may_come": "optional_outcomes",
    "member_table": "estimator_prediction_table",
    "made_up": "synthetic",
    "last_bit": "ULP noise",
    "check_alive": "input sensitivity",
    "truth": "y_true",
    "exclusive": "simplexes",
    "logs": "log_scale",
    "units": "volatility_scaled",
    "lead": "excess",
    "steady": "rounding_stable",
    "loose": "approximate",
    "strict": "exact",
    "carried": "reused",
    "tuned": "fine_tuned",
    "standing": "champion",
    "phases": "regimes",
    "futures": "simulated_paths",
    "chains": "task groups",
    "levels": "topological generations",
    "watching": "on_progress",
    "described": "column_docs",
    "drawn": "subsampled",
}
# Locals, parameters and fields that hide what they hold. Events of a run that is watched are told and said; the floors
# above the steps' own packages speak of them.
VAGUE = {"found", "said", "told", "took", "own", "kept", "held", "made", "asked", "wanted", "shown"}
RUNS = {"pipeline", "defs", "cli", "settings", "data_sets.py"}

EXCEPTIONS = {
    # The larger of two numbers, lane by lane; and the bounds of settings from below.
    "at_least": {"models/simd.py", "training/networks/schedule.py"},
    # Keys that a layer of settings must not contradict; no tolerance.
    "strict": {"settings/loading.py"},
}


def spoken(identifier: str) -> set[str]:
    """Return the words of an identifier: `FirstVoter` and `first_voter` are both `first` and `voter`."""
    return set(re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", identifier).lower().split("_"))


def defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of all that code gives a name to: what a library calls its own arguments is not ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def offences(tree: ast.AST, path: str) -> list[str]:
    """Return a line for each name in a module that is a word of the left column."""
    vague = set() if path.split("/")[0] in RUNS else VAGUE
    named = [*defined(tree), (1, path.split("/")[-1].removesuffix(".py"))]
    lines = []
    for line, name in named:
        plain = name.strip("_")
        terms = [PARTS[word] for word in spoken(name) & PARTS.keys()]
        terms += [NAMES[plain]] if plain in NAMES else []
        terms += ["what it holds"] if plain in vague else []
        if terms and path not in EXCEPTIONS.get(name, ()):
            lines.append(f"{path}:{line} {name}: call it {', '.join(terms)}")
    return lines


@pytest.mark.parametrize(
    "code",
    [
        "class MemberSpec: ...",
        "class VoterSpec: ...",
        "def first_voter(): ...",
        "def fit(effort): ...",
        "def fit(*, settled_after): ...",
        "unripe = rows.filter(late)",
        "self.books = {}",
        "import portfolio as book",
        "for found in rows: ...",
        "[held for held in rows]",
        "fewest_rows = 5",
        "with lake as told: ...",
    ],
)
def test_an_old_word_is_found(code: str) -> None:
    assert len(offences(ast.parse(code), "training/study.py")) == 1


def test_an_old_word_is_found_in_the_name_of_a_module() -> None:
    assert offences(ast.parse(""), "studies/voters.py")


@pytest.mark.parametrize(
    "code", ["x.cast(strict=False)", "zip(a, b, strict=True)", "rows.drawn", "units_sold = 1"]
)
def test_words_of_libraries_and_within_other_names_are_free(code: str) -> None:
    assert not offences(ast.parse(code), "training/study.py")


def test_no_identifier_is_an_old_word() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 200
    found = [
        line
        for path in files
        for line in offences(ast.parse(path.read_text()), path.relative_to(PACKAGE).as_posix())
    ]
    assert not found, "\n".join(found)


def test_every_exception_is_one() -> None:
    for name, paths in EXCEPTIONS.items():
        for path in paths:
            assert name in {n for _, n in defined(ast.parse((PACKAGE / path).read_text()))}, f"{path}: {name}"
