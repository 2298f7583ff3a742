"""Metadata of assets in the UI: column schema, column lineage, figures of its months."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from trademl_pipeline.lake.schema import TableSchema
from trademl_pipeline.pipeline.plain_data import plain_json
from trademl_pipeline.pipeline.shown import FilePath, Json, Markdown, Metadata
from trademl_pipeline.studies import StudySpec

OWNERS = ["team:quant-platform"]
TABLE_KINDS = {"duckdb", "parquet", "polars"}


Shown = str | int | float | dg.MetadataValue | None


def to_dagster(metadata: Metadata) -> dict[str, Shown]:
    """Return metadata of a step as Dagster shows it.

    Args:
        metadata: numbers, texts, and the classes of `pipeline.shown`; scalars of numpy become plain ones, and numbers
            that JSON does not know become text.
    """
    return {name: _value(value) for name, value in metadata.items()}


def _value(value: Any) -> Shown:
    if isinstance(value, Markdown):
        return dg.MetadataValue.md(value.text)
    if isinstance(value, Json):
        return dg.MetadataValue.json(plain_json(value.data))
    if isinstance(value, FilePath):
        return dg.MetadataValue.path(value.path)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return dg.MetadataValue.text(str(value))
    return value


def column_schema(schema: TableSchema, descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return the table's columns as Dagster shows them."""
    texts = descriptions or {}
    nullable = set(schema.columns) if schema.nullable == "all" else schema.nullable
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(dtype),
                description=texts.get(name),
                constraints=dg.TableColumnConstraints(nullable=name in nullable),
            )
            for name, dtype in schema.columns.items()
        ]
    )


def column_lineage(sources: Mapping[str, Sequence[tuple[str, str]]]) -> dg.TableColumnLineage:
    """Return lineage from {column: [(upstream asset, upstream column), ...]}."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=name) for asset, name in deps
            ]
            for column, deps in sources.items()
        }
    )


def table_metadata(
    schema: TableSchema,
    lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> dict[str, str | dg.TableSchema | dg.TableColumnLineage]:
    """Return the definition-time metadata of an asset that is a table of the lake.

    Args:
        schema: the table.
        lineage: what each column is made of: {column: [(upstream asset, upstream column), ...]}.
        descriptions: what each column is.
    """
    metadata: dict[str, str | dg.TableSchema | dg.TableColumnLineage] = {
        "dagster/column_schema": column_schema(schema, descriptions),
        "dagster/table_name": f"lake.{schema.name}",
    }
    if lineage:
        metadata["dagster/column_lineage"] = column_lineage(lineage)
    return metadata


def kinds_of(study: StudySpec) -> set[str]:
    """Return what the UI says a study's models are made with; Dagster shows three."""
    libraries = ["torch"] if study.networks else []
    libraries += [m.kind for m in study.training.estimators if m.kind in ("lightgbm", "xgboost")]
    return {*libraries[:2], "mlflow"}
