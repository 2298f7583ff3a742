"""Dagster definitions: thin assets, checks, partitions, resources, jobs, schedules and sensors."""

import warnings

import dagster as dg

# Partitioned checks, backfill policies and mappings beyond the first partition are previews in the pinned Dagster; its
# warnings about them would bury a user's own.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
# The two names of "all months in one run" (see partitions.py) meet in a study's jobs.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")


def build_definitions() -> dg.Definitions:
    """Everything of the code location: the shared stages, then each study's."""
    from trademl_pipeline.defs.audits.leakage_audit import leakage_audit_asset
    from trademl_pipeline.defs.features.features import feature_assets
    from trademl_pipeline.defs.jobs import (
        comparison_job,
        ingest_jobs,
        month_job_name,
        nightly_job,
        prepare_all_job,
        study_jobs,
        train_job_name,
    )
    from trademl_pipeline.defs.labels.labels import label_assets
    from trademl_pipeline.defs.maintenance import maintenance_job
    from trademl_pipeline.defs.market.quality import bar_quality, raw_bars_quality
    from trademl_pipeline.defs.market.raw_bars import bars_assets, raw_bars, raw_bars_gate
    from trademl_pipeline.defs.market.reference_bars import reference_bars, reference_bars_gate
    from trademl_pipeline.defs.market.universe_members import universe_members, universe_members_gate
    from trademl_pipeline.defs.models.champion import champion_assets
    from trademl_pipeline.defs.models.cross_validation import cross_validation_assets
    from trademl_pipeline.defs.models.model import model_assets
    from trademl_pipeline.defs.patterns.patterns import pattern_assets
    from trademl_pipeline.defs.predictions.predictions import prediction_assets
    from trademl_pipeline.defs.reports.validation import comparison_asset, report_assets
    from trademl_pipeline.defs.resources import resources
    from trademl_pipeline.defs.schedules import (
        drift_sensor,
        ingest_schedule,
        maintenance_schedule,
        next_fold_sensor,
        nightly_schedule,
        retrain_schedule,
    )
    from trademl_pipeline.defs.sensors import report_failures
    from trademl_pipeline.defs.sequences.sequences import sequence_assets
    from trademl_pipeline.features import FEATURE_SETS
    from trademl_pipeline.labels import TARGETS
    from trademl_pipeline.studies import STUDIES
    from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables

    parts: list[dg.AssetsDefinition | dg.AssetChecksDefinition] = [raw_bars, raw_bars_gate]
    parts += [raw_bars_quality, bar_quality, reference_bars, reference_bars_gate]
    parts += [universe_members, universe_members_gate]
    for timeframe in TIMEFRAMES[1:]:
        parts += bars_assets(timeframe)
    jobs = list(ingest_jobs())
    schedules = [
        ingest_schedule(job, bar_tables(timeframe).bars.name)
        for job, timeframe in zip(jobs, TIMEFRAMES, strict=True)
    ]
    jobs += [prepare_all_job(list(STUDIES.values())), comparison_job()]
    sensors = [report_failures]
    for set_name in FEATURE_SETS:
        parts += feature_assets(set_name)
    parts += pattern_assets()
    for target in TARGETS.values():
        parts += label_assets(target)
    for study in STUDIES.values():
        parts += sequence_assets(study)
        parts += model_assets(study)
        parts += cross_validation_assets(study)
        parts += prediction_assets(study)
        parts += champion_assets(study)
        parts += report_assets(study)
        by_name = {job.name: job for job in study_jobs(study)}
        month_job, train_job = by_name[month_job_name(study.name)], by_name[train_job_name(study.name)]
        jobs += by_name.values()
        schedules.append(retrain_schedule(study, month_job))
        sensors.append(next_fold_sensor(study, month_job, train_job))
        sensors.append(drift_sensor(study, train_job))
    parts.append(comparison_asset(list(STUDIES.values())))
    parts.append(leakage_audit_asset(list(STUDIES.values())))
    nightly = nightly_job()
    jobs += [nightly, maintenance_job]
    schedules += [nightly_schedule(nightly), maintenance_schedule(maintenance_job)]
    return dg.Definitions(
        # A run is a process of its own, and its steps follow one another: a process for each step would cost two
        # seconds a step and give nothing. Folds run in parallel as runs.
        executor=dg.in_process_executor,
        assets=[part for part in parts if not isinstance(part, dg.AssetChecksDefinition)],
        asset_checks=[part for part in parts if isinstance(part, dg.AssetChecksDefinition)],
        resources=resources(),
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
    )
