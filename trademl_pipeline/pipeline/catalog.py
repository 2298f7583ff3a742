"""Which assets there are, what each reads, and how its months are made."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from trademl_pipeline.features import FEATURE_SETS
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.pipeline import bar_quality, raw_bars, reference_bars, universe_members
from trademl_pipeline.pipeline.cross_validate import cross_validation_months
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.features import feature_stage
from trademl_pipeline.pipeline.labels import label_stage
from trademl_pipeline.pipeline.lookback import Lookback
from trademl_pipeline.pipeline.months import Body, RunInfo
from trademl_pipeline.pipeline.patterns import pattern_stage
from trademl_pipeline.pipeline.predict import prediction_months
from trademl_pipeline.pipeline.report import comparison_months, report_months, report_name
from trademl_pipeline.pipeline.sequences import sequence_stage
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.pipeline.stage import Stage, stage_months
from trademl_pipeline.pipeline.train import TrainOptions, model_months
from trademl_pipeline.settings import DEFAULT_CALENDAR
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables import PATTERNS, RAW_BARS, REFERENCE_BARS, UNIVERSE_MEMBERS, champion_table
from trademl_pipeline.tables.bar_tables import DAILY, TIMEFRAMES, bar_tables

BAR_QUALITY = bar_quality.BAR_QUALITY.name
COMPARISON_ASSET = "validation_report"

StageMaker = Callable[[str], Stage]
Opener = Callable[[Site, RunInfo, Sequence[str], TrainOptions], Body]


def input_assets(study: StudySpec) -> list[str]:
    """Return the inputs of a study's models, each after what it reads."""
    patterns = [PATTERNS.name] if study.decisions == "pattern_observations" else []
    return [
        RAW_BARS.name,
        BAR_QUALITY,
        REFERENCE_BARS.name,
        UNIVERSE_MEMBERS.name,
        study.features.name,
        *patterns,
        study.labels.name,
        study.windows.name,
    ]


def fold_assets(study: StudySpec) -> list[str]:
    """Return what a fold of a study makes, each after what it reads."""
    cross_validated = [study.cross_validation.name] if study.training.cross_validate is not None else []
    return [study.models.name, study.predictions.name, *cross_validated]


def month_assets(study: StudySpec) -> list[str]:
    """Return everything of one closed month of a study."""
    champion = champion_table(study.name).name
    return [*input_assets(study), *fold_assets(study), champion, report_name(study.name)]


def stage_makers(studies: Sequence[StudySpec]) -> dict[str, StageMaker]:
    """Return what makes each stage on a calendar, by the name of its table."""
    makers: list[StageMaker] = [
        *(partial(feature_stage, name) for name in FEATURE_SETS),
        pattern_stage,
        *(partial(label_stage, target) for target in TARGETS.values()),
        *(partial(sequence_stage, study) for study in studies),
    ]
    return {make(DEFAULT_CALENDAR).schema.name: make for make in makers}


def input_reads() -> dict[str, Mapping[str, Lookback]]:
    """Return for each input asset which months of which assets a month of it reads."""
    makers = stage_makers(list(STUDIES.values()))
    return {
        **{bar_tables(timeframe).bars.name: {} for timeframe in TIMEFRAMES},
        BAR_QUALITY: bar_quality.READS,
        REFERENCE_BARS.name: reference_bars.READS,
        UNIVERSE_MEMBERS.name: universe_members.READS,
        **{name: make(DEFAULT_CALENDAR).reads for name, make in makers.items()},
    }


def generations(assets: Sequence[str]) -> list[list[str]]:
    """Return input assets in groups, each of which reads only what groups before it make.

    Raises:
        StepError: one of them is no input of models.
    """
    reads = input_reads()
    for asset in assets:
        if asset not in reads:
            raise StepError(f"{asset} is no input of models; these are: {', '.join(reads)}")
    left: list[str] = list(assets)
    groups: list[list[str]] = []
    while left:
        waiting = set(left)
        ready: list[str] = [asset for asset in left if not waiting & set(reads[asset])]
        groups.append(ready)
        left = [asset for asset in left if asset not in ready]
    return groups


@contextmanager
def opened(
    asset: str, site: Site, run: RunInfo, months: Sequence[str], options: TrainOptions
) -> Generator[Body]:
    """Open what makes and publishes months of an asset.

    Args:
        asset: its name.
        site: the data set.
        run: that publishes.
        months: month keys, in order; the months that will be asked for.
        options: what the run asks of training.

    Raises:
        StepError: there is no such asset, or it cannot be made at all.
    """
    timeframes = {bar_tables(timeframe).bars.name: timeframe for timeframe in TIMEFRAMES}
    if asset in timeframes:
        source, staging = site.source(timeframes[asset]), site.artifacts.staging
        with raw_bars.raw_bars_months(
            source, site.lake, run, months, staging, only_missing=site.only_missing
        ) as body:
            yield body
        return
    yield _opener(asset)(site, run, months, options)


def _opener(asset: str) -> Opener:
    openers: dict[str, Opener] = {
        BAR_QUALITY: lambda site, run, months, options: bar_quality.bar_quality_months(
            site.quality, site.lake, run, months, site.calendar
        ),
        REFERENCE_BARS.name: lambda site, run, months, options: reference_bars.reference_bars_months(
            site.simulated_market,
            site.references,
            site.quality,
            site.lake,
            run,
            site.sample,
            site.calendar,
        ),
        UNIVERSE_MEMBERS.name: lambda site, run, months, options: universe_members.universe_members_months(
            site.universe, site.lake, run
        ),
        COMPARISON_ASSET: lambda site, run, months, options: comparison_months(site.artifacts, list(STUDIES)),
    }
    for study in STUDIES.values():
        openers |= _study_openers(study)
    if asset not in openers:
        openers |= {name: _stage_opener(make) for name, make in stage_makers(list(STUDIES.values())).items()}
    if asset not in openers:
        raise StepError(f"there is no asset {asset!r}; there are: {', '.join(openers)}")
    return openers[asset]


def _stage_opener(make: StageMaker) -> Opener:
    return lambda site, run, months, options: stage_months(make(site.calendar), site.lake, run, site.sample)


def _study_openers(study: StudySpec) -> dict[str, Opener]:
    return {
        study.models.name: lambda site, run, months, options: model_months(
            site.workspace, site.tracker, study, run, options
        ),
        study.predictions.name: lambda site, run, months, options: prediction_months(
            site.workspace, study, run, site.sample
        ),
        study.cross_validation.name: lambda site, run, months, options: cross_validation_months(
            site.lake, study, run, site.calendar, options.threads
        ),
        report_name(study.name): lambda site, run, months, options: report_months(
            site.workspace, site.tracker, study, site.source(DAILY), run, site.costs
        ),
    }
