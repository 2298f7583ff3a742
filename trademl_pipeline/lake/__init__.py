"""The store: DuckLake attachment, transactional publish and snapshots."""

from trademl_pipeline.lake.schema import GatedTable, Ledger, TableSchema, UngatedTable
from trademl_pipeline.lake.store import Lake, LakeConfig, PublishResult, S3Config

__all__ = [
    "GatedTable",
    "Lake",
    "LakeConfig",
    "Ledger",
    "PublishResult",
    "S3Config",
    "TableSchema",
    "UngatedTable",
]
