"""The store: DuckLake attachment, table schemas, transactional publish and snapshots."""
