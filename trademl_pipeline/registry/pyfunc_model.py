"""A saved fold as MLflow runs it ("models from code": MLflow executes this file, nothing is pickled)."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model  # noqa: TID253
from mlflow.pyfunc.model import PythonModel  # noqa: TID253


class TradingModel(PythonModel):
    """Loads a study's saved folder and predicts from a dict of arrays: ``x`` and, where asked for, ``symbol``."""

    def load_context(self, context: Any) -> None:
        """Read the models once; a file that is not the one that was saved is refused."""
        from trademl_pipeline.training.fitted_study import load_study

        self.study = load_study(Path(context.artifacts["study"]))

    def predict(self, context, model_input, params=None):  # pyright: ignore
        """Columns of the task by name. No type hints: MLflow would take them for a schema of its own."""
        from trademl_pipeline.sequences.windows import windows_of_arrays

        return self.study.predict(windows_of_arrays(**model_input))


set_model(TradingModel())
