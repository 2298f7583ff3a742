"""Every table of the lake and what its columns mean: the one place that knows them."""

from trademl_pipeline.tables.audits import AUDITS, NIGHTLY_AUDITS, TRIES
from trademl_pipeline.tables.folds import (
    CROSS_VALIDATION_COLUMNS,
    certificate_table,
    champion_table,
    cross_validation_table,
    estimator_prediction_table,
    model_table,
    prediction_table,
)
from trademl_pipeline.tables.inputs import (
    LABEL_DIRECTION,
    PATTERNS,
    feature_table,
    label_table,
    sequence_table,
)
from trademl_pipeline.tables.market import (
    QUARANTINED_BARS,
    QUARANTINED_REFERENCES,
    RAW_BARS,
    REFERENCE_BARS,
    SECTORS,
    UNIVERSE_MEMBERS,
    quality_table,
)

__all__ = [
    "AUDITS",
    "CROSS_VALIDATION_COLUMNS",
    "LABEL_DIRECTION",
    "NIGHTLY_AUDITS",
    "PATTERNS",
    "QUARANTINED_BARS",
    "QUARANTINED_REFERENCES",
    "RAW_BARS",
    "REFERENCE_BARS",
    "SECTORS",
    "TRIES",
    "UNIVERSE_MEMBERS",
    "certificate_table",
    "champion_table",
    "cross_validation_table",
    "estimator_prediction_table",
    "feature_table",
    "label_table",
    "model_table",
    "prediction_table",
    "quality_table",
    "sequence_table",
]
