"""Months made again by processes that the kernel keeps from what came later: honest ones hold, plants do not."""

from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.certificates.verification import Verification
from trademl_pipeline.lake import kernel_seal
from trademl_pipeline.pipeline import cold
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.verify import verify_month
from trademl_pipeline.studies import STUDIES
from trademl_pipeline_tests.cold_start import cold_start
from trademl_pipeline_tests.defs.conftest import LAST, Workplace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not kernel_seal.landlock_version(), reason="this kernel has no Landlock"),
]
SAMPLE = Sample(cutoffs=1, seed=0)


def start(plant: str = "", before: str = "") -> tuple[str, ...]:
    return cold_start('{"direction": small.small_direction()}', plant, before)


def verified(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, **planted: str) -> Verification:
    monkeypatch.setattr(cold, "COMMAND", start(**planted))
    return verify_month(workplace.workspace(), STUDIES["direction"], LAST, SAMPLE, cold=True)


def finding(result: Verification, what: str = cold.COLD_RUN) -> tuple[str, str]:
    return next((c.outcome, c.finding) for c in result.comparisons if c.what == what)


def test_an_honest_month_is_fitted_and_predicted_without_what_came_later(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    result = verified(workplace, monkeypatch)
    assert result.holds, result.to_plain()
    assert finding(result)[0] == "same"
    assert finding(result, "model fitted again")[0] == "same"
    assert "Landlock" in finding(result, "sealed by")[1]


MIXED = """
from trademl_pipeline.pipeline import predict
honest = predict.PredictionStep.run
def run(step, view, *rest, **named):
    frame, by_estimator = honest(step, view, *rest, **named)
    return frame.with_columns((pl.col("score") + known()).alias("score")), by_estimator
predict.PredictionStep.run = run
"""
# Ways to what came later that a seal within the process does not see, each with what it is refused as.
PLANTS = {
    "a reader that was kept before the seal": (
        'import polars as pl\n_read = pl.read_parquet\ndef known():\n    return _read({file!r})["z"].mean()',
        "Permission denied",
    ),
    "the seal taken off": (
        "import polars as pl\nfrom trademl_pipeline.lake import Lake, LakeConfig\n"
        "from trademl_pipeline.lake.seal import permitted\ndef known():\n    with permitted():\n"
        '        return Lake(LakeConfig.of({home!r})).read("labels_direction")["forward_return"].mean()',
        "opens ",
    ),
    "a program": (
        "import polars as pl\nimport ctypes\ndef known():\n"
        '    code = ctypes.CDLL(None).system(b"cat {file} > taken")\n'
        '    if code: raise PermissionError("cat was refused")\n    return float(code)',
        "cat was refused",
    ),
    "a server": (
        "import polars as pl\nimport ctypes\ndef known():\n    s = ctypes.CDLL(None, use_errno=True).socket(2, 1, 0)\n"
        '    if s < 0: raise OSError(ctypes.get_errno(), "no socket")\n    return float(s)',
        "no socket",
    ),
    "the month's own mean": (
        'import polars as pl\ndef known():\n    return pl.col("score").mean()',
        "score, ",
    ),
}


@pytest.mark.parametrize("way", PLANTS)
def test_a_leak_that_a_seal_within_the_process_does_not_see_is_refused_by_the_cold_run(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    file = tmp_path / "next_returns.parquet"
    pl.DataFrame({"z": [0.01, 0.02]}).write_parquet(file)
    source, said = PLANTS[way]
    plant = source.replace("{file!r}", repr(str(file))).replace("{file}", str(file))
    plant = plant.replace("{home!r}", repr(str(workplace.home))) + MIXED
    result = verified(workplace, monkeypatch, plant=plant)
    assert result.exit_code == 1
    outcome, found = finding(result)
    assert outcome == "differs"
    assert said in found, found
