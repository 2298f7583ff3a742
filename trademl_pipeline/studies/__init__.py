"""Study declarations: what a user edits to add a study."""

from trademl_pipeline.studies.breakout import BREAKOUT
from trademl_pipeline.studies.direction import DIRECTION
from trademl_pipeline.studies.hybrid import HYBRID
from trademl_pipeline.studies.mamba_forecast import MAMBA_FORECAST
from trademl_pipeline.studies.pattern_confidence import PATTERN_CONFIDENCE
from trademl_pipeline.studies.spec import StudySpec, StudySpecError, WalkForwardConfig

STUDIES: dict[str, StudySpec] = {
    study.name: study for study in (MAMBA_FORECAST, BREAKOUT, PATTERN_CONFIDENCE, DIRECTION, HYBRID)
}

__all__ = ["DIRECTION", "STUDIES", "StudySpec", "StudySpecError", "WalkForwardConfig"]
