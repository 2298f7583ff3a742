"""Findings of a walk over an extractor: all that it can look into besides its arguments. See `reach`."""

from dataclasses import dataclass, field
from typing import Any

from trademl_pipeline.leakage.feature_audit.bindings import Binding
from trademl_pipeline.leakage.feature_audit.places import Place


@dataclass
class Reached:
    """Everything that an extractor can look into, see `reach`.

    Attributes:
        tables: bindings that hold rows which can be put back cut.
        named: label -> why it counts as data that nothing can cut.
        places: that can change.
        caches: (label, function) with an `lru_cache`.
    """

    tables: list[Binding] = field(default_factory=list[Binding])
    named: dict[str, str] = field(default_factory=dict[str, str])
    places: list[Place] = field(default_factory=list[Place])
    caches: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    def add(self, other: "Reached") -> None:
        """Add what another walk has reached."""
        self.tables += other.tables
        self.named = {**other.named, **self.named}
        self.places += other.places
        self.caches += other.caches
