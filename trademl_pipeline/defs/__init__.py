"""Dagster definitions: thin assets, checks, partitions, resources, jobs, schedules and sensors."""
