"""Predictions of a trained network for windows, in batches."""

import numpy as np
import torch  # noqa: TID253

from trademl_pipeline.models.prepared import Prepared
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.training.inner_split import FitError

Outputs = dict[str, np.ndarray]
PREDICT_BATCH = 512


def predict(model: Prepared, windows: Windows, batch_size: int = PREDICT_BATCH) -> Outputs:
    """Outputs of a model in evaluation mode.

    Raises:
        FitError: the features differ in number from those it was trained on, or hold infinite values.
    """
    if windows.features != len(model.centre):
        raise FitError(f"the model takes {len(model.centre)} features, the windows have {windows.features}")
    model.eval()
    device = model.centre.device
    parts: list[dict[str, torch.Tensor]] = []
    with torch.no_grad():
        # an empty set of windows still tells the names and shapes of the outputs
        for first in range(0, max(len(windows), 1), batch_size):
            position = np.arange(first, min(first + batch_size, len(windows)))
            if not len(position):
                empty = torch.zeros(1, windows.length, windows.features, device=device)
                inputs = {k: torch.zeros(1, *v.shape[1:], device=device) for k, v in windows.inputs.items()}
                return {k: v[:0].cpu().numpy() for k, v in model(empty, None, **inputs).items()}
            x, mask, inputs, _ = tensors(windows, position, device)
            if x.isinf().any():
                raise FitError("the features hold infinite values; the model cannot place them")
            parts.append({k: v.float().cpu() for k, v in model(x, mask, **inputs).items()})
    return {name: torch.cat([p[name] for p in parts]).numpy() for name in parts[0]}


def tensors(windows: Windows, position: np.ndarray, device: torch.device):
    """x, mask, further inputs and targets of some windows, on the device."""
    x, mask = windows.batch(position)
    inputs = {
        k: torch.as_tensor(v[position], dtype=torch.float32, device=device) for k, v in windows.inputs.items()
    }
    targets = {k: torch.as_tensor(v[position], device=device) for k, v in windows.targets.items()}
    return torch.from_numpy(x).to(device), torch.from_numpy(mask).to(device), inputs, targets
