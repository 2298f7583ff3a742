"""Features: named causal expressions from bars, in the four sets of the studies."""

from trademl_pipeline.features.errors import FeatureInputError
from trademl_pipeline.features.feature import Feature
from trademl_pipeline.features.registry import FEATURE_SETS, FEATURES, compute, feature_inputs, warmup

__all__ = ["FEATURES", "FEATURE_SETS", "Feature", "FeatureInputError", "compute", "feature_inputs", "warmup"]
