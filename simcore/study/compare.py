"""One scenario against another: the same seeds for both, and what differs beyond chance."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from simcore.errors import ScenarioError
from simcore.study.metrics import more_is_better, written
from simcore.study.source import source
from simcore.study.statistics import Estimate, estimate
from simcore.study.sweep import Point, Results, base_seed, bounds, make_runs, short

SIDE = "scenario"
"""The key of the two points' settings; `before` and `after` are its values."""
BEFORE, AFTER = 0, 1
"""Which point of the results is which."""
SLIGHT = 0.005
"""Share of the mean before, up to which a difference does not matter, however sure it is."""


class Verdict(str, Enum):
    """What a metric's difference says; where more is neither better nor worse, only that there is one."""

    better = "better"
    worse = "worse"
    more = "more"
    less = "less"
    unsure = "no difference seen"
    slight = "hardly differs"
    same = "the same"


@dataclass
class Comparison:
    """What the runs of both came to.

    Attributes
    ----------
    before, after : str
        What they are, in words.
    results : Results
        Two points: before, and after.
    """

    before: str
    after: str
    results: Results

    def difference(self, metric: str) -> Estimate | None:
        """After less before, over the seeds that both were run with; None where they have no run with the metric in common.

        The two runs of a seed draw the same arrivals, sizes and losses as long as they can, so that what chance does to both
        falls out of their difference: its interval is narrower than those of the two means let expect (common random numbers
        and the paired-t interval: Law, Simulation Modeling and Analysis, sections 10.2.1 and 11.2).
        """
        before, after = (self.results.by_seed(side, metric) for side in (BEFORE, AFTER))
        differences = [after[seed] - before[seed] for seed in before if seed in after]
        return estimate(differences, self.results.level) if differences else None

    def verdict(self, metric: str) -> Verdict | None:
        """What is said of a metric; None where there is nothing to compare, or one pair of runs only."""
        e = self.difference(metric)
        if e is None or not e.known:
            return None
        if e.mean == 0 and e.half == 0:
            return Verdict.same
        if e.low <= 0 <= e.high:
            return Verdict.unsure
        if (share := self.relative(metric)) is not None and abs(share.mean) <= SLIGHT:
            return Verdict.slight
        better = more_is_better(metric)
        if better is None:
            return Verdict.more if e.mean > 0 else Verdict.less
        return Verdict.better if better == (e.mean > 0) else Verdict.worse

    def relative(self, metric: str) -> Estimate | None:
        """The difference as a share of the mean before; None where that is none, or 0."""
        e, base = self.difference(metric), self.results.estimate(BEFORE, metric)
        if e is None or base is None or not base.mean:
            return None
        return Estimate(e.mean / abs(base.mean), e.half / abs(base.mean), e.n)

    def findings(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """What stood out, and in how many runs: `gone` only before, `new` only after, and `still` in both (as after)."""
        before, after = ({(f["what"], f["place"]): (f, f"in {n} of {len(self.results.points[side].runs)} runs")
                          for f, n in self.results.findings(side)} for side in (BEFORE, AFTER))
        return {"gone": [found for key, found in before.items() if key not in after],
                "new": [found for key, found in after.items() if key not in before],
                "still": [found for key, found in after.items() if key in before]}

    def answer(self) -> str:
        """What differs of what one wants to know first, in a sentence."""
        said: dict[Verdict | None, list[str]] = {}
        for metric, title in self.results.titles().items():
            means = [written(metric, e.mean) for side in (BEFORE, AFTER) if (e := self.results.estimate(side, metric)) is not None]
            said.setdefault(self.verdict(metric), []).append(f"{title} ({' → '.join(means)})")
        parts = [f"{verdict.value}: {', '.join(said[verdict])}" for verdict in (Verdict.better, Verdict.worse, Verdict.more, Verdict.less)
                 if verdict in said]
        if rest := sum(len(said.get(verdict, ())) for verdict in (Verdict.unsure, Verdict.slight, Verdict.same)):
            parts.append((f"{rest} {'others' if rest > 1 else 'other'}: " if parts else "") + "no difference seen")
        return "; ".join(parts) or "there is nothing to compare"

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        names = self.results.metrics()
        differences = {name: {**bounds(e), "relative": share.mean if share else None, "verdict": verdict.value if verdict else None}
                       for name in names if (e := self.difference(name)) is not None
                       for share, verdict in ((self.relative(name), self.verdict(name)),)}
        return {"before": self.before, "after": self.after, "answer": self.answer(), "differences": differences,
                "findings": {kind: [f for f, _ in found] for kind, found in self.findings().items()}, **self.results.as_json()}


def compare(file: str | Path, other: str | Path | None = None, *, runs: int = 5, seed: int | None = None, duration: float | None = None,
            engine: str = "compiled", overrides: Sequence[str | Path] = (), settings: Mapping[str, Any] | None = None, level: float = 0.95,
            scheduler: str | None = None, workers: int | None = None, progress: bool = False) -> Comparison:
    """Run a scenario, and another or the same with changes, with the same seeds.

    Parameters
    ----------
    file : str or Path
        Before.
    other : str or Path, optional
        After, if it is not the same file.
    runs : int
        Of each, with different seeds: `seed`, `seed` + 1, ….
    seed : int, optional
        Instead of that of `file`.
    overrides, settings
        What is changed after.
    duration, engine, level, scheduler, workers, progress
        As `simcore.study.sweep.sweep`.

    Raises
    ------
    ScenarioError
        If a file, or what a setting makes of it, is wrong, or nothing is changed: before anything is run.
    """
    settings = settings or {}
    if other is None and not overrides and not settings:
        raise ScenarioError(f"{file}: nothing to compare it with: expected another file, --override or --set")
    changes = [*map(str, overrides), *(f"{short(key)} = {value}" for key, value in settings.items())]
    after = str(other or file) + (" with " + ", ".join(changes) if changes else "")
    points = [Point({SIDE: "before"}, source(Path(file), duration=duration)),
              Point({SIDE: "after"}, source(Path(other or file), [Path(o) for o in overrides], settings, duration))]
    found = Comparison(str(file), after, Results(f"{file}, {after}", [SIDE], points, level))
    make_runs(found.results, runs, base_seed(points[BEFORE].source, seed), duration, engine, scheduler, workers, progress)
    return found
