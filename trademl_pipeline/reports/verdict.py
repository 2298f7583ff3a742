"""The verdict of a report: what `judging` says of its figures."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["edge", "no edge", "alarm"]
LABELS: dict[Kind, str] = {"edge": "Edge", "no edge": "No edge", "alarm": "Alarm"}


@dataclass(frozen=True)
class Verdict:
    """The judgement: its kind, one headline, and the sentences that give its reasons, weightiest first."""

    kind: Kind
    headline: str
    reasons: tuple[str, ...]
