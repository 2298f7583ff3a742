"""What every asset shows of itself in the UI: row counts, column schema, column lineage, small figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.gate import Published
from trademl_pipeline.lake.schema import TableSchema

OWNERS = ["team:quant-platform"]


def column_schema(schema: TableSchema, descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """The table's columns as Dagster shows them."""
    said = descriptions or {}
    nullable = set(schema.columns) if schema.nullable == "all" else schema.nullable
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(dtype),
                description=said.get(name),
                constraints=dg.TableColumnConstraints(nullable=name in nullable),
            )
            for name, dtype in schema.columns.items()
        ]
    )


def column_lineage(sources: Mapping[str, Sequence[tuple[str, str]]]) -> dg.TableColumnLineage:
    """Lineage from {column: [(upstream asset, upstream column), ...]}."""
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
    lineage: dg.TableColumnLineage | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Definition-time metadata of an asset that is a table of the lake."""
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(schema, descriptions),
        "dagster/table_name": f"lake.{schema.name}",
    }
    if lineage is not None:
        metadata["dagster/column_lineage"] = lineage
    return metadata


def month_metadata(published: Published, frame: pl.DataFrame) -> dict[str, Any]:
    """Figures of one published month."""
    result, report = published.result, published.report
    metadata: dict[str, Any] = {
        "dagster/row_count": int(result.rows),
        "rows_replaced": int(result.replaced),
        "unchanged": bool(result.unchanged),
        "snapshot": int(result.snapshot),
        "data_version": result.data_version,
        "attempts": int(result.attempts),
        "gate": dg.MetadataValue.md(report.to_markdown()),
    }
    for name in ("symbol", "session"):
        if name in frame.columns:
            metadata[f"{name}s"] = int(frame[name].n_unique())
    return metadata
