"""One scenario, run many times: with other seeds, and with other values of its keys; means with confidence intervals."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from simcore.docker import yaml12
from simcore.errors import ScenarioError
from simcore.files import write_csv, write_json
from simcore.study.farm import Farm, Run, Task
from simcore.study.progress import told
from simcore.study.source import Script, Source, source
from simcore.study.statistics import Estimate, estimate

if TYPE_CHECKING:
    import pandas

Settings = dict[str, Any]


@dataclass
class Point:
    """A scenario with its settings, and the runs that were made of it by seed."""

    settings: Settings
    source: Source
    runs: dict[int, Run] = field(default_factory=dict)

    @property
    def made(self) -> list[Run]:
        """Its runs in order of their seeds, in whatever order they were over."""
        return [self.runs[seed] for seed in sorted(self.runs)]

    @property
    def title(self) -> str:
        """Its settings, as text."""
        return ", ".join(f"{short(k)} = {v}" for k, v in self.settings.items()) or "as the file says"


@dataclass
class Results:
    """What all runs came to.

    Attributes
    ----------
    file : str
    keys : list of str
        What was varied.
    points : list of Point
    level : float
        Of the confidence intervals.
    partial : bool
        Whether Ctrl-C ended it before all runs were made.
    """

    file: str
    keys: list[str]
    points: list[Point]
    level: float = 0.95
    partial: bool = False

    def by_seed(self, point: int, metric: str) -> dict[int, float]:
        """A metric of each run of a point that has it, by the run's seed; of those drops that a run had none of, 0."""
        runs = sorted(self.points[point].runs.items())
        if metric.startswith("drops."):
            return {seed: run.metrics.get(metric, 0.0) for seed, run in runs}
        return {seed: run.metrics[metric] for seed, run in runs if metric in run.metrics}

    def values(self, point: int, metric: str) -> list[float]:
        """As `by_seed`, without the seeds."""
        return list(self.by_seed(point, metric).values())

    def estimate(self, point: int, metric: str) -> Estimate | None:
        """Mean and confidence interval over a point's runs; None if none of them has the metric."""
        values = self.values(point, metric)
        return estimate(values, self.level) if values else None

    def metrics(self) -> list[str]:
        """Every metric that some run has."""
        return list(dict.fromkeys(name for p in self.points for r in p.made for name in r.metrics))

    def titles(self, asked: Sequence[str] = ()) -> dict[str, str]:
        """The metrics asked for; else those that one wants to know first, with titles: where points are compared, not those that are
        0 everywhere.
        """
        if asked:
            return {name: name for name in asked}
        titles = {name: title for p in self.points for r in p.made for name, title in r.titles.items()}
        return {name: title for name, title in titles.items()
                if not self.keys or any(v for i in range(len(self.points)) for v in self.values(i, name))}

    def findings(self, point: int) -> list[tuple[dict[str, Any], int]]:
        """What stood out at a point, and in how many of its runs; of each kind and place the heaviest."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for run in self.points[point].made:
            for kind in {(f["what"], f["place"]): f for f in reversed(run.findings)}.values():
                found.setdefault((kind["what"], kind["place"]), []).append(kind)
        heaviest = [(max(group, key=lambda f: float(f["weight"])), len(group)) for group in found.values()]
        return sorted(heaviest, key=lambda h: -h[0]["weight"])

    def frame(self) -> pandas.DataFrame:
        """A table of pandas with a row a run: settings, seed, metrics."""
        import pandas as pd

        return pd.DataFrame(self._run_rows())

    def _run_rows(self) -> list[dict[str, Any]]:
        return [{**p.settings, "seed": seed, **p.runs[seed].metrics} for p in self.points for seed in sorted(p.runs)]

    def table(self) -> list[dict[str, Any]]:
        """A row for each point and metric: settings, metric, mean, low, high, runs."""
        names = self.metrics()
        return [{**p.settings, "metric": name, "mean": e.mean, "low": e.low, "high": e.high, "runs": e.n}
                for i, p in enumerate(self.points) for name in names if (e := self.estimate(i, name)) is not None]

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines; an interval of a single run has no ends."""
        names = self.metrics()
        return {"file": self.file, "varied": self.keys, "level": self.level, "partial": self.partial, "headlines": self.titles(),
                "points": [{"settings": p.settings, "seeds": sorted(p.runs),
                            "metrics": {name: bounds(e) for name in names if (e := self.estimate(i, name)) is not None},
                            "findings": [{**f, "runs": n} for f, n in self.findings(i)]} for i, p in enumerate(self.points)]}

    def write(self, directory: Path, whole: Mapping[str, Any]) -> list[Path]:
        """`runs.csv` and `results.csv`, and `results.json` with `whole`: `as_json`, or that of what the results are part of."""
        paths = [directory / name for name in ("runs.csv", "results.csv", "results.json")]
        write_csv(paths[0], self._run_rows())
        write_csv(paths[1], self.table())
        write_json(paths[2], whole)
        return paths


def bounds(e: Estimate) -> dict[str, Any]:
    """An estimate for machines."""
    return {"mean": e.mean, "low": e.low if e.known else None, "high": e.high if e.known else None, "runs": e.n}


def short(key: str) -> str:
    """A key without what goes without saying."""
    return key.removeprefix("x-simcore.")


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """`KEY=VALUE,VALUE,…`; values as in YAML, so that `{kind: red, limit: 100}` is one.

    Raises
    ------
    ScenarioError
        If it is not of this form.
    """
    key, equals, rest = text.partition("=")
    parsed = _parsed(key, equals, f"[{rest}]")
    if parsed is None or not parsed[1]:
        raise ScenarioError(f"--vary {text}: expected KEY=VALUE,VALUE,… as x-simcore.links.host.rate=10Mbit,100Mbit")
    return parsed


def parse_set(text: str) -> tuple[str, Any]:
    """`KEY=VALUE`, the value as in YAML.

    Raises
    ------
    ScenarioError
        If it is not of this form.
    """
    parsed = _parsed(*text.partition("="))
    if parsed is None:
        raise ScenarioError(f"--set {text}: expected KEY=VALUE, as x-simcore.links.host.rate=10Mbit")
    return parsed


def _parsed(key: str, equals: str, value: str) -> tuple[str, Any] | None:
    """A key and a value in YAML; None if there is no key, or the value is none."""
    if not equals or not key.strip():
        return None
    try:
        return key.strip(), yaml12.load(value)
    except yaml.YAMLError:
        return None


def base_seed(what: Source, seed: int | None) -> int:
    """The first run's seed: that asked for, or the file's."""
    return seed if seed is not None else 0 if isinstance(what, Script) else what.x.seed


def sweep(file: str | Path, vary: Mapping[str, Sequence[Any]] | None = None, *, runs: int = 5, seed: int | None = None,
          duration: float | None = None, engine: str = "compiled", overrides: Sequence[str | Path] = (),
          settings: Mapping[str, Any] | None = None, level: float = 0.95, scheduler: str | None = None, workers: int | None = None,
          progress: bool = False) -> Results:
    """Run a scenario `runs` times at each combination of values.

    The seeds are the same at every point (`seed`, `seed` + 1, …): points differ by their settings, not by their luck. Results do
    not depend on where and in which order the runs were made.

    Parameters
    ----------
    file : str or Path
        A Compose file, or a Python scenario whose `build` takes what is varied as arguments.
    vary : mapping
        Values of each key; `simcore.docker.settings` says what a key is.
    runs : int
        With different seeds, at each point.
    seed, duration, engine, overrides
        As for one run.
    settings : mapping, optional
        Values that are the same at every point.
    level : float
        Of the confidence intervals.
    scheduler, workers
        As `simcore.study.farm.Farm`.
    progress : bool
        Tell on stderr how far it is.

    Raises
    ------
    ScenarioError
        If the file, or what a setting makes of it, is wrong: before anything is run.
    """
    vary = vary or {}
    points = [make_point(file, dict(zip(vary, values, strict=True)), overrides, settings, duration)
              for values in itertools.product(*vary.values())]
    results = Results(str(file), list(vary), points, level)
    make_runs(results, runs, seed, duration, engine, scheduler, workers, progress)
    return results


def make_runs(results: Results, runs: int, seed: int | None, duration: float | None, engine: str, scheduler: str | None,
              workers: int | None, progress: bool) -> None:
    """Run each point with `runs` seeds; arguments as `sweep`'s. Ctrl-C leaves those that are over."""
    todo = [(p, base_seed(p.source, seed) + r) for r in range(runs) for p in results.points]
    with Farm(scheduler, workers, len(todo)) as farm, told(progress, lambda wall: _how_far(results, len(todo), wall)) as tell:
        try:
            collect(farm, todo, duration, engine, tell)
        except KeyboardInterrupt:
            results.partial = True


def make_point(file: str | Path, chosen: Settings, overrides: Sequence[str | Path], settings: Mapping[str, Any] | None,
               duration: float | None) -> Point:
    """A scenario with what was chosen at this point, over the `settings` of all; ScenarioError as `sweep`."""
    return Point(chosen, source(Path(file), [Path(o) for o in overrides], {**(settings or {}), **chosen}, duration))


def _how_far(results: Results, wanted: int, wall: float) -> str:
    made = sum(len(p.runs) for p in results.points)
    return f"{made} of {wanted} runs, {wall / max(made, 1) * (wanted - made):.0f} s left"


def collect(farm: Farm, todo: Sequence[tuple[Point, int]], duration: float | None, engine: str, tell: Callable[[], None]) -> None:
    """Make runs, put each where it belongs, and `tell` after each."""
    def done(i: int, run: Run) -> None:
        point, seed = todo[i]
        point.runs[seed] = run
        tell()
    farm.run([Task(p.source, seed, duration, engine) for p, seed in todo], done)
