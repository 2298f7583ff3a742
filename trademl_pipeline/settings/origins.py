"""A layer of settings: values, each with its origin; and the layers that settings are being made of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


@dataclass(frozen=True)
class Origin:
    """The place where a value was said.

    Attributes:
        kind: "flag", "environment", "file" or "default".
        where: the flag, the variable, or file:line; empty for a default.
    """

    kind: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".strip()


@dataclass(frozen=True)
class Layer:
    """Values by key (`section.name`) and their origins."""

    values: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def nested(self) -> dict[str, dict[str, Any]]:
        """The values by section."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in self.values.items():
            section, name = key.split(".")
            sections.setdefault(section, {})[name] = value
        return sections


class LayerSource(PydanticBaseSettingsSource):
    """A layer, as pydantic-settings takes it."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The values of a section."""
        return self._layer.nested().get(field_name), field_name, True

    def __call__(self) -> dict[str, Any]:
        """All values of the layer."""
        return dict(self._layer.nested())


_in_force: ContextVar[tuple[Layer, ...]] = ContextVar("layers", default=())


@contextmanager
def layered(*layers: Layer) -> Iterator[None]:
    """Settings that are made within have their values from these layers, the strongest first."""
    token = _in_force.set(layers)
    try:
        yield
    finally:
        _in_force.reset(token)


def layers_in_force(settings_cls: type[BaseSettings]) -> tuple[LayerSource, ...]:
    """The sources of settings that are being made."""
    return tuple(LayerSource(settings_cls, layer) for layer in _in_force.get())
