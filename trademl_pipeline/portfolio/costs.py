"""Costs of trading: the one place that knows them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Costs of a trade and the limit to its size.

    Attributes:
        commission: share of the traded value, each side (0.001 is 0.1 %).
        slippage: share of the traded value, each side (0.001 is 10 bps).
        volume_cap: largest share of a session's volume that one fill may take.
    """

    commission: float = 0.001
    slippage: float = 0.001
    volume_cap: float = 0.05

    def __post_init__(self) -> None:
        if self.commission < 0 or self.slippage < 0:
            raise ValueError(
                f"costs cannot be below 0, got commission {self.commission}, slippage {self.slippage}"
            )
        if not 0 < self.volume_cap <= 1:
            raise ValueError(f"volume_cap must lie in (0, 1], got {self.volume_cap}")

    @property
    def a_side(self) -> float:
        """Commission and slippage together, as a share of the traded value."""
        return self.commission + self.slippage
