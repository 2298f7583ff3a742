"""The saved model as MLflow runs it ("models from code": MLflow executes this file, nothing is pickled)."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model  # noqa: TID253
from mlflow.pyfunc.model import PythonModel  # noqa: TID253


class TradingModel(PythonModel):
    """Loads the saved folder and predicts from a dict of arrays: ``x`` and further inputs by name."""

    def load_context(self, context: Any) -> None:
        """Read the model once."""
        from trademl_pipeline.training.saved import load_model

        self.saved = load_model(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # pyright: ignore
        """Outputs by name, of ``{"x": …}``. No type hints: MLflow would take them for a schema of its own."""
        inputs = dict(model_input)
        return self.saved.predict(inputs.pop("x"), **inputs)


set_model(TradingModel())
