"""What the statically strict packages use of scipy.stats, which ships no types."""

from typing import Literal

import numpy as np

class ConfidenceInterval:
    low: float
    high: float

class BinomTestResult:
    def proportion_ci(
        self, confidence_level: float = ..., method: Literal["exact", "wilson", "wilsoncc"] = ...
    ) -> ConfidenceInterval: ...

class SignificanceResult:
    statistic: float
    pvalue: float

def binomtest(k: int, n: int, p: float = ...) -> BinomTestResult: ...
def fisher_exact(
    table: list[list[int]], alternative: Literal["two-sided", "less", "greater"] = ...
) -> SignificanceResult: ...
def kurtosis(a: np.ndarray, *, fisher: bool = ...) -> float: ...
def skew(a: np.ndarray) -> float: ...
