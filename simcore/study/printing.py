"""What `simcore sweep`, `simcore compare`, `simcore plan` and `simcore reach` print."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simcore.measure.report import print_findings
from simcore.study.compare import AFTER, BEFORE, Comparison, Verdict
from simcore.study.metrics import scale, written
from simcore.study.plan import Plan
from simcore.study.reach import Reached, Target, alike
from simcore.study.statistics import Estimate
from simcore.study.sweep import Results, short

COLUMN = 13
"""Characters that a column needs."""
KINDS = {"gone": "no longer", "new": "new", "still": "as before"}
"""Findings of a comparison, as they are called."""
_COLOURS = {Verdict.better: "green", Verdict.worse: "red", Verdict.unsure: "dim", Verdict.slight: "dim", Verdict.same: "dim"}


def print_reach(console: Console, answers: Sequence[Reached]) -> None:
    """For each port who reaches it and as whom, and what stops the others."""
    table = Table(title="who reaches what", title_justify="left", title_style="bold", pad_edge=False)
    for name in ("port", "from", "result", "seen there as", "what happens on the way"):
        table.add_column(name, overflow="fold")
    before: tuple[Target, str] | None = None
    for a, clients in alike(answers):
        t = a.target
        if before is not None and t != before[0]:
            table.add_section()
        port = f"{a.address}:{t.port}/{t.protocol}, " + ("published by " if t.published_at else "") + t.name
        seen = ("themselves" if len(clients) > 1 else "itself") if a.own else a.seen_as
        table.add_row("" if (t, a.address) == before else port, ", ".join(clients), a.outcome, seen if a.outcome == "reached" else "",
                      escape(", ".join(a.way) or a.why))
        before = t, a.address
    console.print(table)


def with_interval(name: str, e: Estimate | None) -> str:
    """A metric's mean and half interval, in one unit; as many digits as the interval leaves sense in."""
    if e is None:
        return "-"
    factor, unit = scale(name, abs(e.mean))
    space = "" if unit in ("", "%") else " "
    if not e.known or e.half <= 1e-9 * abs(e.mean):             # none, but for rounding
        return written(name, e.mean)
    half = e.half * factor
    digits = max(0, 1 - math.floor(math.log10(half))) if half < 1e15 else 0
    return f"{e.mean * factor:.{min(digits, 9)}f} ± {half:.{min(digits, 9)}f}{space}{unit}"


def signed(name: str, e: Estimate | None) -> str:
    """A difference as `with_interval` writes it, with its sign."""
    text = with_interval(name, e)
    return "+" + text if e is not None and e.mean > 0 else text


def print_sweep(console: Console, results: Results, metrics: Sequence[str] = ()) -> None:
    """A row for each point: its settings, the metrics, and what stood out."""
    titles = results.titles(metrics)
    made = [(i, p) for i, p in enumerate(results.points) if p.runs]
    if not results.keys:
        table = Table(title=_title(results), title_justify="left", title_style="bold", pad_edge=False)
        table.add_column("", overflow="fold")
        table.add_column("mean ± half interval", justify="right")
        for name, title in titles.items():
            for i, _ in made:
                table.add_row(title, with_interval(name, results.estimate(i, name)))
        console.print(table)
    else:
        names = list(titles)
        most = max(1, console.width // COLUMN - len(results.keys))
        for first in range(0, len(names), most):            # as many beside each other as can be read
            table = Table(title=_title(results) if first == 0 else None, title_justify="left", title_style="bold", pad_edge=False)
            for key in results.keys:
                table.add_column(short(key), overflow="fold")
            for name in names[first:first + most]:
                table.add_column(titles[name], justify="right", overflow="fold")
            for i, point in made:
                table.add_row(*(str(point.settings[key]) for key in results.keys),
                              *(with_interval(name, results.estimate(i, name)) for name in names[first:first + most]))
            console.print(table)
    print_findings(console, grouped(results), "results.json")


def compared(comparison: Comparison, titles: Mapping[str, str]) -> list[tuple[list[str], Verdict | None]]:
    """A row for each metric: its title, before, after, the difference, that as a share, and what it says."""
    rows = []
    for name, title in titles.items():
        share, verdict = comparison.relative(name), comparison.verdict(name)
        times = "" if share is None else f"{share.mean:+.0%}" if abs(share.mean) < 10 else f"× {1 + share.mean:.3g}"
        rows.append(([title, *(with_interval(name, comparison.results.estimate(side, name)) for side in (BEFORE, AFTER)),
                      signed(name, comparison.difference(name)), times, verdict.value if verdict else ""], verdict))
    return rows


def print_comparison(console: Console, comparison: Comparison, metrics: Sequence[str] = ()) -> None:
    """A row for each metric, what they say, and what no longer stands out, or does now."""
    titles = comparison.results.titles(metrics)
    console.print(f"before  {escape(comparison.before)}\nafter   {escape(comparison.after)}", soft_wrap=True)
    table = Table(title=_made(comparison.results), title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("before", "after", "difference"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("")
    for row, verdict in compared(comparison, titles):
        table.add_row(*map(escape, row), style=_COLOURS.get(verdict, "") if verdict else "")
    console.print(table)
    console.print(f"[bold]{escape(comparison.answer())}[/bold]", soft_wrap=True)
    for kind, found in comparison.findings().items():
        print_findings(console, [(f, f"{KINDS[kind]}, {where}") for f, where in found], "results.json")


def print_plan(console: Console, plan: Plan) -> None:
    """The answer, what was measured on the way to it, and what breaks first."""
    table = Table(title=_title(plan.results), title_justify="left", title_style="bold", pad_edge=False)
    table.add_column(short(plan.key))
    for limit in plan.limits:
        table.add_column(str(limit), justify="right", overflow="fold")
    table.add_column("")
    for i, point in enumerate(plan.results.points):
        undecided = any(point is u for u in plan.undecided)
        mark = ("no" if plan.broken(point) else "yes") + (", a near thing" if undecided else "")
        table.add_row(str(point.settings[plan.key]),
                      *(with_interval(limit.metric, plan.results.estimate(i, limit.metric)) for limit in plan.limits), mark)
    console.print(table)
    console.print(f"[bold]{escape(plan.answer())}[/bold]", soft_wrap=True)
    if plan.bad is not None:
        found = plan.results.findings(plan.number(plan.bad))
        print_findings(console, [(f, f"at {plan.bad.title}, in {n} of {len(plan.bad.runs)} runs") for f, n in found], "results.json")


def _title(results: Results) -> str:
    return f"{results.file}: {_made(results)}"


def _made(results: Results) -> str:
    runs = sorted({len(p.runs) for p in results.points if p.runs}) or [0]
    count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return f"{count} runs each, {results.level:.0%} confidence"


def grouped(results: Results) -> list[tuple[dict[str, Any], str]]:
    """What stood out anywhere: each kind and place once, where it was heaviest, and at how many of the points it was."""
    found: dict[tuple[str, str], list[tuple[dict[str, Any], int, int]]] = {}
    for i in range(len(results.points)):
        for finding, runs in results.findings(i):
            found.setdefault((finding["what"], finding["place"]), []).append((finding, runs, i))
    out = []
    for group in sorted(found.values(), key=lambda g: -max(f["weight"] for f, _, _ in g)):
        finding, runs, i = max(group, key=lambda g: float(g[0]["weight"]))
        point = results.points[i]
        where = f"in {runs} of {len(point.runs)} runs" if len(results.points) == 1 else \
            f"at {point.title}, in {runs} of {len(point.runs)} runs; at {len(group)} of {len(results.points)} points in all"
        out.append((finding, where))
    return out
