"""The networks by name. Importing this module does not import torch; building a network does."""

from dataclasses import asdict, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_MODULES = {
    "mamba_forecast": "MambaForecast",
    "mamba_attention": "MambaAttention",
    "lstm_backbone": "LSTMBackbone",
    "lstm_attention": "LSTMAttention",
    "transformer": "Transformer",
    "xlstm": "XLSTM",
    "hybrid": "Hybrid",
}
NETWORKS = tuple(_MODULES)


def presets(name: str) -> tuple[str, ...]:
    """Names of a network's presets."""
    return tuple(_module(name).PRESETS)


def config(name: str, features: int, preset: str | None = None, **changes: Any) -> Any:
    """The frozen config of a network.

    Args:
        name: one of NETWORKS.
        features: columns of its input.
        preset: one of ``presets(name)``; None: the defaults.
        changes: fields that differ from the preset.

    Raises:
        ValueError: unknown name, preset or field.
    """
    module = _module(name)
    kind = getattr(module, _MODULES[name] + "Config")
    if preset is not None and preset not in presets(name):
        raise ValueError(f"{name} has no preset {preset!r}; choose one of {', '.join(presets(name))}")
    values = (module.PRESETS[preset] if preset else {}) | changes
    known = {f.name for f in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(
            f"{name} has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return kind(features=features, **values)


def build(name: str, features: int, preset: str | None = None, seed: int = 0, **changes: Any) -> "nn.Module":
    """Build a network with weights drawn from ``seed``; the caller's random state is left as it was.

    Args:
        name: one of NETWORKS.
        features: columns of its input.
        preset: one of ``presets(name)``; None: the defaults.
        seed: of the weights.
        changes: fields that differ from the preset.

    Raises:
        ValueError: unknown name, preset or field.
    """
    import torch

    settings = config(name, features, preset, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(_module(name), _MODULES[name])(settings)


def describe(name: str, network: "nn.Module") -> dict[str, Any]:
    """Name, full config and parameter count, as plain data for metadata."""
    return {"network": name, "config": asdict(network.config), "parameters": count_parameters(network)}  # pyright: ignore


def head_names(network: "nn.Module") -> tuple[str, ...]:
    """First parts of the parameter names of a network's heads; all else is its backbone."""
    return network.HEADS  # pyright: ignore


def count_parameters(network: "nn.Module") -> int:
    """Trainable numbers of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _module(name: str) -> Any:
    if name not in _MODULES:
        raise ValueError(f"unknown network {name!r}; choose one of {', '.join(NETWORKS)}")
    return import_module(f"trademl_pipeline.models.{name}")
