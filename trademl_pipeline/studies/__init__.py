"""Study declarations: what a user edits to add a study."""

from trademl_pipeline.studies.direction import DIRECTION
from trademl_pipeline.studies.spec import FoldPlan, StudySpec, StudySpecError

STUDIES: dict[str, StudySpec] = {study.name: study for study in (DIRECTION,)}

__all__ = ["STUDIES", "FoldPlan", "StudySpec", "StudySpecError"]
