"""How far one can go: the greatest or least value of a key for which a scenario keeps within limits."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simcore.errors import ScenarioError
from simcore.study.farm import Farm
from simcore.study.metrics import parse, written
from simcore.study.progress import told
from simcore.study.statistics import Estimate
from simcore.study.sweep import Point, Results, base_seed, collect, make_point, short

WIDE = 8.0
"""Ranges whose ends differ by more than this factor are searched by ratio, others by difference."""


@dataclass(frozen=True)
class Limit:
    """What must hold of a metric's mean.

    Attributes
    ----------
    metric : str
    most : bool
        Whether `value` is the most it may be, else the least.
    value : float
    """

    metric: str
    most: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """`METRIC<=VALUE` or `METRIC>=VALUE`; the value with its unit, as `10ms` or `1%`.

        Raises
        ------
        ScenarioError
            If it is not of this form.
        """
        match = re.fullmatch(r"\s*([^<>=]+?)\s*([<>])=?\s*(\S+)\s*", text)
        try:
            if match is None:
                raise ValueError("no limit")
            return cls(match[1], match[2] == "<", parse(match[1], match[3]))
        except ValueError:
            raise ScenarioError(f"--limit {text}: expected METRIC<=VALUE or METRIC>=VALUE, as workloads.0.response_s.p99<=50ms") from None

    def holds(self, e: Estimate) -> bool:
        """Whether the mean keeps it."""
        return e.mean <= self.value if self.most else e.mean >= self.value

    def decided(self, e: Estimate) -> bool:
        """Whether the whole confidence interval is on one side."""
        return not e.low < self.value < e.high

    def __str__(self) -> str:
        return f"{self.metric} {'≤' if self.most else '≥'} {written(self.metric, self.value)}"


@dataclass(frozen=True)
class Range:
    """Where to search: two numbers, whole ones if both are, with the same unit behind them if they have one."""

    low: float
    high: float
    unit: str
    whole: bool

    @classmethod
    def parse(cls, text: str) -> Range:
        """`LOW..HIGH`, as `1..500` or `10Mbit..1000Mbit`.

        Raises
        ------
        ScenarioError
            If it is not of this form, or not a range.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)([a-zA-Zµ%/]*)\.\.(\d+(?:\.\d+)?)([a-zA-Zµ%/]*)\s*", text)
        if match is None or match[2] not in ("", match[4]):
            raise ScenarioError(f"--over {text}: expected LOW..HIGH, in one unit, as 1..500 or 10Mbit..1000Mbit")
        low, high = float(match[1]), float(match[3])
        if not low < high:
            raise ScenarioError(f"--over {text}: expected the lower value first")
        return cls(low, high, match[4], "." not in match[1] + match[3] and not match[4])

    def setting(self, x: float) -> Any:
        """The value as the file would have it."""
        return round(x) if self.whole else f"{x:.5g}{self.unit}" if self.unit else float(f"{x:.5g}")

    def between(self, a: float, b: float, tolerance: float) -> float | None:
        """The next value to look at between two; None if they are close enough."""
        by_ratio = self.low > 0 and self.high / self.low > WIDE
        a, b = min(a, b), max(a, b)
        if by_ratio and a > 0:
            middle, close = math.sqrt(a * b), b / a <= 1 + tolerance
        else:
            middle, close = (a + b) / 2, b - a <= tolerance * (self.high - self.low)
        if self.whole:
            middle = float(round(middle))
            close = close or middle in (a, b)
        return None if close else middle


@dataclass
class Plan:
    """What a search came to.

    Attributes
    ----------
    key : str
    range : Range
    limits : list of Limit
    results : Results
        Of every value that was looked at, in order of the value.
    good, bad : Point or None
        Next to each other, where the limits are still kept and where no longer; one is None if they are kept, or broken, at both
        ends of the range.
    """

    key: str
    range: Range
    limits: list[Limit]
    results: Results
    good: Point | None = None
    bad: Point | None = None

    @property
    def undecided(self) -> list[Point]:
        """Where some interval lies on both sides of a limit, however many runs were made."""
        return [p for p in self.results.points if any(e is not None and not limit.decided(e) for limit, e in self.measured(p))]

    def number(self, point: Point) -> int:
        """A point's place in the results."""
        return next(i for i, p in enumerate(self.results.points) if p is point)

    def measured(self, point: Point) -> list[tuple[Limit, Estimate | None]]:
        """Each limit, and what was measured of it at a point."""
        return [(limit, self.results.estimate(self.number(point), limit.metric)) for limit in self.limits]

    def broken(self, point: Point) -> list[Limit]:
        """The limits that a point does not keep; a metric that no run of it has (no request was answered, say) breaks its limit."""
        return [limit for limit, e in self.measured(point) if e is None or not limit.holds(e)]

    def answer(self) -> str:
        """The result in a sentence."""
        limits = " and ".join(map(str, self.limits))
        name, low, high = short(self.key), self.range.setting(self.range.low), self.range.setting(self.range.high)
        if self.results.partial and (self.good is None or self.bad is None):
            return f"{name}: stopped before anything was known"
        if self.bad is None:
            return f"{name}: {limits} holds at {low} and at {high}; what breaks it lies beyond"
        if self.good is None:
            return f"{name}: {limits} holds neither at {low} nor at {high}"
        rising = self.number(self.good) < self.number(self.bad)
        text = (f"{name} = {self.good.settings[self.key]} is the {'most' if rising else 'least'} for which {limits}; "
                f"at {self.bad.settings[self.key]} it no longer holds")
        if not self.undecided:
            return text
        sure = [p for p in self.results.points if all(p is not u for u in self.undecided)]
        in_order = sure if rising else sure[::-1]
        kept = [p.settings[self.key] for p in in_order if not self.broken(p)]
        lost = [p.settings[self.key] for p in in_order if self.broken(p)]
        return (text + f" ({self.results.level:.0%} sure: " + (f"kept at {kept[-1]}" if kept else "kept nowhere")
                + (f", broken at {lost[0]})" if lost else ", broken nowhere)"))

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {"key": self.key, "limits": list(map(str, self.limits)), "answer": self.answer(),
                "value": self.good.settings[self.key] if self.good is not None and self.bad is not None else None,
                "beyond": self.bad.settings[self.key] if self.good is not None and self.bad is not None else None,
                "undecided": [p.settings[self.key] for p in self.undecided], **self.results.as_json()}


def plan(file: str | Path, key: str, over: Range, limits: Sequence[Limit], *, runs: int = 5, most_runs: int = 20, tolerance: float = 0.02,
         seed: int | None = None, duration: float | None = None, engine: str = "compiled", overrides: Sequence[str | Path] = (),
         settings: Mapping[str, Any] | None = None, level: float = 0.95, scheduler: str | None = None, workers: int | None = None,
         progress: bool = False) -> Plan:
    """Search for the value where limits cease to hold, by bisection: there must be one such place.

    At each value `runs` runs are made, and as many again up to `most_runs` while a limit lies within a confidence interval; then
    the mean decides. All values see the same seeds.

    Parameters
    ----------
    file : str or Path
    key : str
        What is varied (`simcore.docker.settings`).
    over : Range
    limits : sequence of Limit
        All must hold.
    tolerance : float
        How close together the two values are in the end: a share of the value, or of the range if that is narrow.
    runs, seed, duration, engine, overrides, settings, level, scheduler, workers, progress
        As `simcore.study.sweep.sweep`.

    Raises
    ------
    ScenarioError
        As there; and if no run has a metric that is limited.
    """
    points = dict[float, Point]()

    def point(x: float) -> Point:
        points[x] = make_point(file, {key: over.setting(x)}, overrides, settings, duration)
        return points[x]

    ends = [point(over.low), point(over.high)]
    found = Plan(key, over, list(limits), Results(str(file), [key], ends, level))

    def how_far(wall: float) -> str:
        runs = sum(len(p.runs) for p in points.values())
        between = "" if found.good is None or found.bad is None else \
            f", between {found.good.settings[key]} and {found.bad.settings[key]}"
        return f"{runs} runs at {len(points)} values{between}"

    def measure(farm: Farm, new: Sequence[Point]) -> None:
        found.results.points = [points[x] for x in sorted(points)]
        for made in range(0, max(most_runs, runs), runs):
            todo = [(p, base_seed(p.source, seed) + made + r) for p in new for r in range(min(runs, max(most_runs, runs) - made))]
            collect(farm, todo, duration, engine, tell)
            new = [p for p in new if any(e is not None and not limit.decided(e) for limit, e in found.measured(p))]
            if not new:
                break

    with Farm(scheduler, workers, 2 * runs) as farm, told(progress, how_far) as tell:
        try:
            measure(farm, ends)
            known = found.results.metrics()
            for limit in limits:
                if limit.metric not in known and not limit.metric.startswith("drops."):
                    raise ScenarioError(f"--limit {limit.metric}: no such metric; " + similar(limit.metric, known))
            good = next((x for x in (over.low, over.high) if not found.broken(points[x])), None)
            bad = next((x for x in (over.low, over.high) if found.broken(points[x])), None)
            while good is not None and bad is not None:
                found.good, found.bad = points[good], points[bad]
                if (x := over.between(good, bad, tolerance)) is None:
                    break
                measure(farm, [point(x)])
                good, bad = (good, x) if found.broken(points[x]) else (x, bad)
            else:
                found.good, found.bad = (None if good is None else points[good]), (None if bad is None else points[bad])
        except KeyboardInterrupt:
            found.results.partial = True
            found.results.points = [p for p in found.results.points if p.runs]
    return found


def similar(metric: str, known: Sequence[str]) -> str:
    """Names that were perhaps meant."""
    last = metric.split(".")[-1]
    close = [name for name in known if name.startswith("workloads.") or name.split(".")[-1] == last]
    return "expected one of " + ", ".join(close[:12]) + (" …" if len(close) > 12 else "")
