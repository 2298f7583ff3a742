"""Labels: targets with the interval of sessions whose prices they read."""

from trademl_pipeline.labels.barrier import triple_barrier_labels
from trademl_pipeline.labels.breakout import CLASSES, STRATEGIC_VALUES, FirstPassageRules, breakout_labels
from trademl_pipeline.labels.direction import direction_labels
from trademl_pipeline.labels.forward import forecast_labels, forward_labels
from trademl_pipeline.labels.horizon import LabelInputError
from trademl_pipeline.labels.hybrid import hybrid_labels
from trademl_pipeline.labels.target import Target
from trademl_pipeline.labels.targets import TARGETS
from trademl_pipeline.labels.validation import pattern_validations

__all__ = [
    "CLASSES",
    "STRATEGIC_VALUES",
    "TARGETS",
    "FirstPassageRules",
    "LabelInputError",
    "Target",
    "breakout_labels",
    "direction_labels",
    "forecast_labels",
    "forward_labels",
    "hybrid_labels",
    "pattern_validations",
    "triple_barrier_labels",
]
