"""The store: DuckLake attachment, table schemas, transactional publish and snapshots."""

from trademl_pipeline.lake.schemas import (
    AUDITS,
    LABEL_DIRECTION,
    QUARANTINED_BARS,
    RAW_BARS,
    TableSchema,
    feature_table,
    model_table,
    prediction_table,
    sequence_table,
)
from trademl_pipeline.lake.store import Lake, LakeConfig, PublishResult, S3Config

__all__ = [
    "AUDITS",
    "LABEL_DIRECTION",
    "QUARANTINED_BARS",
    "RAW_BARS",
    "Lake",
    "LakeConfig",
    "PublishResult",
    "S3Config",
    "TableSchema",
    "feature_table",
    "model_table",
    "prediction_table",
    "sequence_table",
]
