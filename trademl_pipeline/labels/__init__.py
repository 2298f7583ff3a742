"""Labels: targets with the interval of sessions whose prices they read."""

from trademl_pipeline.labels.direction import direction_labels
from trademl_pipeline.labels.horizon import LabelInputError

__all__ = ["LabelInputError", "direction_labels"]
