"""What independent runs say of a quantity."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean : float
    half : float
        Half the interval's width; infinite for a single value, which says nothing of how far others lie.
    n : int
        Values.
    """

    mean: float
    half: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval at all: a single value has none."""
        return math.isfinite(self.half)

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean of independent values, with the interval that covers the truth with probability `level`.

    Student's t: exact for normal values, and close for means over runs, which are nearly so (Law, Simulation Modeling and
    Analysis, section 9.4: replications). Equal values, as of a model without randomness, give an interval of no width.

    Raises
    ------
    ValueError
        Without values, or for a level that is no probability.
    """
    from scipy.special import stdtrit  # a quantile of t; scipy.stats takes a second to import

    n = len(values)
    if n == 0:
        raise ValueError("no values to estimate from")
    if not 0 < level < 1:
        raise ValueError(f"confidence level {level} is not between 0 and 1")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, math.inf, 1)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return Estimate(mean, float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n), n)
