"""Distributions of sizes and times, as scenario files write them."""
from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
KINDS = ("constant", "uniform", "exponential", "pareto", "lognormal", "empirical")


class Distribution:
    """A positive random quantity.

    Written as a number (constant), or as a mapping of one kind:

    `exponential: mean`, `uniform: [low, high]`, `pareto: {mean, shape}` (shape above 1), `lognormal: {mean, sigma}` (sigma of
    the logarithm), `empirical: [[value, weight], ...]` or `empirical: file.csv` (lines of value,weight).

    Parameters
    ----------
    spec : number, str or mapping
    unit : callable
        Reads a value with its unit, as `simcore.units.size`.

    Raises
    ------
    ValueError
        If it is none of these.
    """

    def __init__(self, spec: Any, unit: Callable[[Any], float] = float) -> None:
        self.spec = spec
        if not isinstance(spec, Mapping):
            kind, given = "constant", spec
        elif len(spec) != 1 or next(iter(spec)) not in KINDS:
            raise ValueError(f"{dict(spec)} is no distribution, expected a number or one of {', '.join(KINDS)}")
        else:
            [(kind, given)] = spec.items()
        self.kind = kind
        try:
            self._draw = getattr(self, f"_{kind}")(given, unit)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{kind}: {given!r} does not say all that a distribution of this kind needs ({error})") from None

    def sample(self, rng: np.random.Generator, n: int) -> Values:
        """`n` values, float64 (n,)."""
        return np.asarray(self._draw(rng, n), dtype=np.float64)

    @property
    def mean(self) -> float:
        """The expected value."""
        return self._mean

    def _constant(self, given: Any, unit: Callable[[Any], float]) -> Callable[..., Any]:
        value = self._mean = float(unit(given))
        return lambda rng, n: np.full(n, value)

    def _uniform(self, given: Sequence[Any], unit: Callable[[Any], float]) -> Callable[..., Any]:
        low, high = (float(unit(v)) for v in given)
        if low > high:
            raise ValueError(f"uniform: {low:g} is above {high:g}")
        self._mean = (low + high) / 2
        return lambda rng, n: rng.uniform(low, high, n)

    def _exponential(self, given: Any, unit: Callable[[Any], float]) -> Callable[..., Any]:
        mean = self._mean = float(unit(given))
        return lambda rng, n: rng.exponential(mean, n)

    def _pareto(self, given: Mapping[str, Any], unit: Callable[[Any], float]) -> Callable[..., Any]:
        mean, shape = float(unit(given["mean"])), float(given["shape"])
        if shape <= 1:
            raise ValueError(f"pareto: shape {shape:g} has no mean, expected more than 1")
        self._mean = mean
        least = mean * (shape - 1) / shape
        return lambda rng, n: least * (1 + rng.pareto(shape, n))

    def _lognormal(self, given: Mapping[str, Any], unit: Callable[[Any], float]) -> Callable[..., Any]:
        mean, sigma = float(unit(given["mean"])), float(given["sigma"])
        self._mean = mean
        return lambda rng, n: rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, n)

    def _empirical(self, given: Any, unit: Callable[[Any], float]) -> Callable[..., Any]:
        if isinstance(given, str):
            try:
                with Path(given).open(newline="") as f:
                    given = [row for row in csv.reader(f) if row]
            except OSError as error:
                raise ValueError(f"empirical: {given}: {error.strerror}") from None
        values = np.array([float(unit(v)) for v, _ in given])
        weights = np.array([float(w) for _, w in given])
        if not len(values) or (weights < 0).any() or weights.sum() <= 0:
            raise ValueError("empirical: expected pairs of value and weight, not all weights 0")
        share = weights / weights.sum()
        self._mean = float(values @ share)
        return lambda rng, n: rng.choice(values, n, p=share)
