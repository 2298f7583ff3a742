"""Which assets a study is made of, in the order in which one reads another."""

from trademl_pipeline.pipeline.report import report_name
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import (
    PATTERNS,
    RAW_BARS,
    REFERENCE_BARS,
    UNIVERSE_MEMBERS,
    champion_table,
    quality_table,
)

BAR_QUALITY = quality_table(RAW_BARS.name).name
COMPARISON_ASSET = "validation_report"


def input_assets(study: StudySpec) -> list[str]:
    """Return the inputs of a study's models, each after what it reads."""
    patterns = [PATTERNS.name] if study.decisions == "snapshots" else []
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
    tried = [study.cross_validation.name] if study.fit.cross_validate is not None else []
    return [study.models.name, study.predictions.name, *tried]


def month_assets(study: StudySpec) -> list[str]:
    """Return everything of one closed month of a study."""
    champion = champion_table(study.name).name
    return [*input_assets(study), *fold_assets(study), champion, report_name(study.name)]
