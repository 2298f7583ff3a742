import subprocess
import sys

LIGHT = [
    "trademl_pipeline.models.registry",
    "trademl_pipeline.training.networks.schedule",
    "trademl_pipeline.sequences.windows",
    "trademl_pipeline.training.ensemble.weights",
    "trademl_pipeline.evaluation.conformal",
    "trademl_pipeline.training.tuning",
    "trademl_pipeline.training.trials",
    "trademl_pipeline.training.saved",
    "trademl_pipeline.registry.promotion",
]


def test_what_declarations_import_loads_no_heavy_library():
    heavy = "{'torch', 'mlflow', 'lightgbm', 'xgboost', 'optuna', 'shap', 'numba'}"
    code = f"import sys, {', '.join(LIGHT)}; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
