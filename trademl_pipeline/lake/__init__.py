"""The store: DuckLake attachment, transactional publish and snapshots."""

from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.lake.store import Lake, LakeConfig, PublishResult, S3Config

__all__ = ["Lake", "LakeConfig", "PublishResult", "S3Config", "TableSchema"]
