"""A run, a sweep, a comparison or a plan as one page: pictures, tables, and what they say."""
from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simcore.errors import ScenarioError
from simcore.files import write_text
from simcore.measure.report import APP_COLUMNS, app_row, result_text
from simcore.study.compare import Comparison
from simcore.study.findings import times
from simcore.study.metrics import written
from simcore.study.plan import Plan
from simcore.study.printing import KINDS, compared, grouped, with_interval
from simcore.study.sweep import Results, short
from simcore.traffic.title import title as name_of

if TYPE_CHECKING:
    from simcore.study.scenario import World

SAMPLES = 200
"""Points of a picture over time."""
ROWS = 8
"""Of resources in a page, the fullest."""
LEAST = 0.001
"""Share in use from which on a resource is worth a row."""


def _render(path: Path, **values: Any) -> None:
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("simcore.study"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    write_text(path, pages.get_template("report.html.j2").render(**values))


def available() -> None:
    """Say so if what draws and writes pages is not installed.

    Raises
    ------
    ScenarioError
        Naming what to install.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ScenarioError(f"a report needs {name}: pip install 'simcore-natfast[study]'")


def write_run(path: Path, title: str, world: World, summary: Mapping[str, Any]) -> None:
    """The page of one run."""
    from simcore.study import pictures

    waits = {name_of(summary["workloads"][i]): h for i, h in world.workloads.response_times.items()}
    drawn = [("The network, and how busy each link was", pictures.network(world, summary)),
             ("Over time", pictures.over_time(world.sampler.rows, summary["links"]) if world.sampler else None),
             ("Response times", pictures.response_times(waits)), ("Round trips", pictures.round_trips(summary["workloads"]))]
    links = sorted(summary["links"].items(), key=lambda item: -item[1]["utilisation"])
    _render(path, title=title, answer=summary["conclusion"], findings=[(f, "") for f in summary["findings"]],
            pictures=[(caption, svg) for caption, svg in drawn if svg],
            tables=[("Workloads", ["workload", "result"],
                     [[name_of(w), result_text(w)] for w in summary["workloads"]]),
                    *([("Applications", list(APP_COLUMNS), [app_row(name, app) for name, app in summary["apps"].items()])]
                      if summary["apps"] else []),
                    ("How full what can run out was", ["", "used", "full at"], _headroom(summary)),
                    ("Links that were used, the busiest first", ["link", "rate", "frames", "dropped", "lost", "busy", "mean wait"],
                     [[name, written("_bps", x["rate_bps"]) if x["rate_bps"] else "unlimited", x["packets"], x["dropped"], x["lost"],
                       f"{x['utilisation']:.1%}", written("_us", x["mean_wait_us"])] for name, x in links if x["packets"]][:40])],
            foot=f"{summary['simulated_s']:.6g} s simulated, seed {summary['seed']}, {summary['packets']} frames over links"
                 + (", stopped before its end" if summary["partial"] else ""))


def _headroom(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row for each of the fullest resources, and at how many times this load each would be full."""
    return [[h["resource"], f"{h['used']:.1%}", f"{times(h['used'])} times this load" if h["used"] < 1 else "this load"]
            for h in summary["headroom"][:ROWS] if h["used"] >= LEAST]


def _points(results: Results, metrics: Mapping[str, str]) -> tuple[str, list[str], list[list[str]]]:
    rows = [[*(str(p.settings[key]) for key in results.keys), str(len(p.runs)),
             *(with_interval(name, results.estimate(i, name)) for name in metrics)] for i, p in enumerate(results.points) if p.runs]
    return (f"Means and {results.level:.0%} confidence intervals", [*map(short, results.keys), "runs", *metrics.values()], rows)


def _foot(results: Results) -> str:
    seeds = sorted({seed for p in results.points for seed in p.runs})
    return f"{sum(len(p.runs) for p in results.points)} runs, seeds {seeds[0]} to {seeds[-1]}" if seeds else "no runs"


def write_sweep(path: Path, results: Results, metrics: Sequence[str] = ()) -> None:
    """The page of a sweep: a picture for each metric."""
    from simcore.study import pictures

    titles = results.titles(metrics)
    drawn = [(None, pictures.curve(results, name, title)) for name, title in titles.items()] if results.keys else \
        [("Every run, and the mean with its interval", pictures.spread(results, titles))]
    _render(path, title=results.file, answer="", findings=grouped(results), pictures=[(c, svg) for c, svg in drawn if svg],
            tables=[_points(results, titles)], foot=_foot(results) + (", stopped before all were made" if results.partial else ""))


def write_comparison(path: Path, comparison: Comparison, metrics: Sequence[str] = ()) -> None:
    """The page of a comparison: by how much each metric changes, and every pair of runs."""
    from simcore.study import pictures

    results = comparison.results
    titles = results.titles(metrics)
    drawn = [("By how much each changes, in per cent of what it was", pictures.changes(comparison, titles)),
             ("Every pair of runs, and the means with their intervals", pictures.spread(results, titles))]
    _render(path, title=results.file, answer=comparison.answer(),
            findings=[(f, f"{KINDS[kind]}, {where}") for kind, found in comparison.findings().items() for f, where in found],
            pictures=[(c, svg) for c, svg in drawn if svg],
            tables=[(f"Means and {results.level:.0%} confidence intervals", ["", "before", "after", "difference", "", ""],
                     [row for row, _ in compared(comparison, titles)])],
            foot=_foot(results) + (", stopped before all were made" if results.partial else ""))


def write_plan(path: Path, plan: Plan) -> None:
    """The page of a search: the answer, how each limit was approached, and what breaks first."""
    from simcore.study import pictures

    mark = None if plan.good is None or plan.bad is None else pictures.number(plan.good.settings[plan.key])
    drawn = [(None, pictures.curve(plan.results, limit.metric, str(limit), limit, mark)) for limit in plan.limits]
    beyond = [] if plan.bad is None else plan.results.findings(plan.number(plan.bad))
    _render(path, title=plan.results.file, answer=plan.answer(),
            findings=[(f, f"at {plan.bad.title}, in {n} of {len(plan.bad.runs)} runs" if plan.bad else "") for f, n in beyond],
            pictures=[(c, svg) for c, svg in drawn if svg],
            tables=[_points(plan.results, {limit.metric: str(limit) for limit in plan.limits})], foot=_foot(plan.results))
