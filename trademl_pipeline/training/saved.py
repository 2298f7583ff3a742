"""A model on disk with all it needs to predict: network or trees, scaling, feature names, and its origin.

A folder of plain files: ``model.json`` and, for networks, ``weights.pt``, read without unpickling code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trademl_pipeline.training.inner_split import FitError
from trademl_pipeline.training.linear import LinearModel
from trademl_pipeline.training.trees.classes import TreeModel
from trademl_pipeline.training.trees.values import ValueTrees

FORMAT = 1
NETWORK, TREES, VALUE_TREES, LINEAR = "network", "trees", "value_trees", "linear"
_CARD, _WEIGHTS = "model.json", "weights.pt"


@dataclass(frozen=True)
class SavedModel:
    """A fitted model that takes raw features.

    Attributes:
        kind: ``network``, ``trees``, ``value_trees`` or ``linear``.
        name: of the network (``models.registry``) or ``lightgbm``, ``xgboost``, ``linear``.
        features: names of the columns, in order.
        length: steps of a window; 1 for trees and the linear model.
        inputs: further inputs of a network by name, with their width.
        metadata: fold, snapshot, code version, config and what else the caller wants kept; plain data.
        model: ``models.prepared.Prepared``, ``TreeModel``, ``ValueTrees`` or ``LinearModel``.
    """

    kind: str
    name: str
    features: tuple[str, ...]
    length: int
    inputs: Mapping[str, int]
    metadata: Mapping[str, Any]
    model: Any

    def predict(self, x: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, (batch, …) each; for trees ``probabilities``, for value trees and linear models columns.

        Args:
            x: raw features, (batch, length, features) for networks, (batch, features) or (batch, 1, features)
                for the others. NaN is missing. Leading steps that are NaN throughout are padding.
            inputs: further inputs, (batch, width).

        Raises:
            FitError: wrong shape, infinite values, a window of padding only, unknown inputs.
        """
        x = np.asarray(x)
        if self.kind == TREES:
            return {"probabilities": self.model.predict_proba(x.reshape(len(x), -1))}
        if self.kind in (LINEAR, VALUE_TREES):
            values = self.model.predict(x.reshape(len(x), -1))
            columns = self.model.columns if self.kind == LINEAR else self.model.columns.names
            return {name: values[:, i] for i, name in enumerate(columns)}
        if x.ndim != 3 or x.shape[1:] != (self.length, len(self.features)):
            raise FitError(
                f"{self.name} takes (batch, {self.length}, {len(self.features)}) features, got {x.shape}"
            )
        if np.isinf(x).any():
            raise FitError("the features hold infinite values; the model cannot place them")
        if unknown := set(inputs) - set(self.inputs):
            raise FitError(f"{self.name} has no inputs {sorted(unknown)}; it has {sorted(self.inputs)}")
        if len(x) == 0:
            one = {k: np.zeros((1, width)) for k, width in self.inputs.items()}
            return {k: v[:0] for k, v in self.predict(np.zeros((1, *x.shape[1:])), **one).items()}
        mask = np.logical_or.accumulate(~np.isnan(x).all(axis=2), axis=1)
        if not mask[:, -1].all():
            raise FitError(
                f"window {int(np.argmin(mask[:, -1]))} holds no real step; there is nothing to judge"
            )
        import torch

        with torch.inference_mode():
            tensors = {k: torch.as_tensor(v, dtype=torch.float32) for k, v in inputs.items()}
            whole = bool(mask.all())
            steps = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
            out = self.model(steps, None if whole else torch.from_numpy(mask), **tensors)
            return {name: value.numpy() for name, value in out.items()}

    def save(self, folder: Path) -> None:
        """Write the folder; it must not hold another model."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _CARD).exists():
            raise FileExistsError(f"{folder} already holds a model; choose another folder")
        card: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.name,
            "features": list(self.features),
            "length": self.length,
            "inputs": dict(self.inputs),
            "metadata": dict(self.metadata),
        }
        if self.kind == TREES:
            card["trees"] = self.model.to_text()
        elif self.kind in (LINEAR, VALUE_TREES):
            card[self.kind] = self.model.to_text()
        else:
            import torch

            from trademl_pipeline.models.registry import describe

            card |= describe(self.name, self.model.network)
            torch.save(self.model.state_dict(), folder / _WEIGHTS)
        (folder / _CARD).write_text(json.dumps(card, indent=1, default=str))


def saved_network(
    name: str,
    fitted: Any,
    features: tuple[str, ...],
    length: int,
    metadata: Mapping[str, Any],
    inputs: Mapping[str, int] | None = None,
) -> SavedModel:
    """Return a ``FittedNetwork`` as a saved model.

    Args:
        name: of the network, one of `models.registry.NETWORKS`.
        fitted: the ``FittedNetwork``.
        features: names of the columns, in order.
        length: steps of a window.
        metadata: fold, snapshot, config and what else is to be kept; plain data.
        inputs: further inputs of the network by name, with their width; None: none.

    Raises:
        FitError: the names do not fit the width of the network.
    """
    width = len(fitted.scaling.centre)
    if len(features) != width:
        raise FitError(f"{len(features)} feature names for a network of {width} features")
    return SavedModel(NETWORK, name, tuple(features), length, inputs or {}, metadata, fitted.model.eval())


def load_model(folder: Path) -> SavedModel:
    """Read what :meth:`SavedModel.save` wrote.

    Raises:
        FileNotFoundError: no model in the folder.
        ValueError: written by a newer version.
    """
    path = Path(folder) / _CARD
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no {_CARD}; it is not a saved model")
    card = json.loads(path.read_text())
    if card["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {card['format']}, this version reads {FORMAT}; update the package"
        )
    if card["kind"] == TREES:
        model: Any = TreeModel.from_text(card["trees"])
    elif card["kind"] in (LINEAR, VALUE_TREES):
        plain = LinearModel if card["kind"] == LINEAR else ValueTrees
        model = plain.from_text(card[card["kind"]])
    else:
        import torch

        from trademl_pipeline.models.prepared import Prepared
        from trademl_pipeline.models.registry import build

        settings = dict(card["config"])
        state = torch.load(Path(folder) / _WEIGHTS, weights_only=True, map_location="cpu")
        network = build(card["name"], settings.pop("features"), **settings)
        model = Prepared(network, state["centre"].numpy(), state["scale"].numpy())
        model.load_state_dict(state)
        model.eval()
    return SavedModel(
        card["kind"],
        card["name"],
        tuple(card["features"]),
        card["length"],
        card["inputs"],
        card["metadata"],
        model,
    )
