"""The thresholds of a consolidation pattern: configuration, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PatternRules:
    """When a consolidation begins and ends.

    A session qualifies if bbw_percentile_100 is below `max_bbw_percentile`, adx_14 is below `max_adx`, and
    volume_ratio_20 is below `max_volume_ratio` or range_ratio_20 is below `max_range_ratio`.

    Attributes:
        max_bbw_percentile: share, mandatory: without it most of the patterns are no consolidations.
        max_adx: index, 0-100.
        max_volume_ratio: of the mean of 20 sessions.
        max_range_ratio: of the mean of 20 sessions.
        sessions: qualifying sessions in a row that activate the pattern and span its channel.
        power: a close above `power * upper` is the breakout.
        max_sessions: active sessions after which a pattern expires.
        touch: distance from a boundary, as a share of it, that counts as a touch.
    """

    max_bbw_percentile: float = 0.30
    max_adx: float = 32.0
    max_volume_ratio: float = 1.0
    max_range_ratio: float = 1.0
    sessions: int = 10
    power: float = 1.005
    max_sessions: int = 120
    touch: float = 0.01
