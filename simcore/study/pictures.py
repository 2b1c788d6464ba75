"""Pictures of runs and sweeps, as SVG text that can stand in a page."""
from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from simcore import units
from simcore.study.compare import Comparison, Verdict
from simcore.study.findings import BUSY
from simcore.study.metrics import scale
from simcore.study.plan import Limit
from simcore.study.sweep import Results, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simcore.engine.histogram import Histogram
    from simcore.study.scenario import World

_STYLE: dict[Any, Any] = {"svg.hashsalt": "simcore", "svg.fonttype": "none", "font.family": "sans-serif",
                          "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
                          "axes.axisbelow": True}
P = ParamSpec("P")
T = TypeVar("T")
_HEAT = LinearSegmentedColormap.from_list("busy", ["#9fb3c8", "#5b8db8", "#e9a23b", "#d64545"])
_SHOWN = 24
"""Containers that a picture of the network has room for."""
_LINES = 6
_FAR = 300.0
"""Per cent of change from which on small ones would not be seen beside it."""


def _styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in our style, and leave everybody else's as it is."""
    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> T:
        with rc_context(_STYLE):
            return draw(*args, **kwargs)
    return in_style


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = out.getvalue()
    return text[text.index("<svg"):]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _node(axes: Axes, x: float, y: float, name: str, detail: str = "", fill: str = "#f4f6f8", width: float = 0.62) -> None:
    axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.26), width, 0.52, boxstyle="round,pad=0.02", fc=fill, ec="#52606d", lw=0.8))
    axes.text(x, y + (0.08 if detail else 0), name, ha="center", va="center", fontsize=8, fontweight="bold")
    if detail:
        axes.text(x, y - 0.13, detail, ha="center", va="center", fontsize=6.5, color="#52606d")


def _wire(axes: Axes, a: tuple[float, float], b: tuple[float, float], there: Mapping[str, Any], back: Mapping[str, Any]) -> None:
    """Both directions of a link, side by side: the fuller, the thicker and redder."""
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    across = (-(b[1] - a[1]) / length * 0.05, (b[0] - a[0]) / length * 0.05)
    for link, side, (p, q) in ((there, 1, (a, b)), (back, -1, (b, a))):
        dx, dy = across[0] * side, across[1] * side
        busy = link["utilisation"]
        colour = _HEAT(min(busy, 1.0))
        axes.annotate("", (q[0] + dx, q[1] + dy), (p[0] + dx, p[1] + dy),
                      arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 0.8 + 3 * min(busy, 1.0), "shrinkA": 0, "shrinkB": 0})
        said = ([f"{busy:.0%} busy"] if busy >= 0.01 else []) + ([f"{link['dropped']} dropped"] if link["dropped"] else []) \
            + ([f"{link['lost']} lost"] if link["lost"] else [])
        if said:
            angle = math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))
            axes.text((a[0] + b[0]) / 2 + dx * 3, (a[1] + b[1]) / 2 + dy * 3, ", ".join(said), fontsize=6.5, ha="center", va="center",
                      rotation=angle, rotation_mode="anchor", color="#a61b1b" if busy >= BUSY or link["dropped"] else "#323f4b")


@_styled
def network(world: World, summary: Mapping[str, Any]) -> str:
    """Who is where, and how full the links between them were."""
    links, host = summary["links"], world.host
    traffic = {name: sum(links[link]["packets"] for both in c.links.values() for link in both) for name, c in host.containers.items()}
    shown = list(host.containers)
    if len(shown) > _SHOWN:
        busiest = set(sorted(shown, key=lambda n: -traffic[n])[:_SHOWN - 1])
        shown = [n for n in shown if n in busiest]
    more = len(host.containers) - len(shown)
    rows = max(len(shown) + (more > 0), len(host.networks), len(world.internet.servers), 1)
    figure = _figure(10, max(1.6, 0.62 * rows))
    axes = figure.add_subplot()
    axes.axis("off")

    def places(n: int) -> list[float]:
        return [rows - (i + 0.5) * rows / max(n, 1) for i in range(n)]
    bridge_at = dict(zip(host.networks, places(len(host.networks)), strict=True))
    for y, name in zip(places(len(shown) + (more > 0)), [*shown, *([""] if more else [])], strict=True):
        if not name:
            axes.text(0, y, f"and {more} more", ha="center", va="center", fontsize=8, color="#52606d")
            continue
        container = host.containers[name]
        for net, (there, back) in container.links.items():
            _wire(axes, (0.31, y), (1.39, bridge_at[net]), links[there], links[back])
        _node(axes, 0, y, name, container.address)
    middle = rows / 2
    for net, y in bridge_at.items():
        axes.plot([2.01, 2.69], [y, middle], color="#9fb3c8", lw=0.8, zorder=0)
        _node(axes, 1.7, y, host.networks[net].interface, str(host.networks[net].pool.network), "#e3f0fa")
    _wire(axes, (3.31, middle), (4.69, middle), links[f"host/{host.interface}"], links["router/eth0"])
    _node(axes, 3.0, middle, "host", host.address, "#e3f0fa")
    servers = list(world.internet.servers)
    for i, (name, y) in enumerate(zip(servers, places(len(servers)), strict=True)):
        _wire(axes, (5.31, middle), (6.49, y), links[f"router/eth{i + 1}"], links[f"{name}/eth0"])
        _node(axes, 6.8, y, name, world.internet.addresses[name], "#eef5e4")
    _node(axes, 5.0, middle, "router", "", "#fdf3e1")
    axes.set_xlim(-0.4, 7.2 if servers else 5.4)
    axes.set_ylim(-0.05, rows + 0.05)
    return _svg(figure)


@_styled
def over_time(rows: Sequence[Mapping[str, float]], links: Mapping[str, Any]) -> str | None:
    """Queues and utilisation of the links that had most to do, and conntrack entries, over the run; None without samples."""
    if not rows:
        return None
    times = [r["time_s"] for r in rows]
    busiest = sorted(links, key=lambda n: (-links[n]["mean_queue"], -links[n]["utilisation"]))
    queued = [n for n in busiest if max(r[f"{n} queue"] for r in rows) >= 0.5][:_LINES]
    used = [n for n in sorted(links, key=lambda n: -links[n]["utilisation"]) if links[n]["utilisation"] >= 0.01][:_LINES]
    states = [key for key in dict.fromkeys(k for r in rows for k in r) if key.startswith("conntrack ")]
    panels = [p for p in ((used, "share of time sending", " utilisation"), (queued, "frames waiting", " queue"),
                          (states, "conntrack entries", "")) if p[0]]
    if not panels:
        return None
    figure = _figure(10, 2.1 * len(panels))
    for i, (names, label, suffix) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, i + 1)
        for name in names:
            axes.plot(times, [r.get(name + suffix, 0) for r in rows], lw=1.2, label=name.removeprefix("conntrack "))
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, times[-1])
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_xlabel("seconds")
    return _svg(figure)


@_styled
def response_times(histograms: Mapping[str, Histogram]) -> str | None:
    """The share of requests that took longer than a time; None if none was answered."""
    tables = {name: h.table() for name, h in histograms.items() if h.count}
    if not tables:
        return None
    figure = _figure(10, 2.8)
    axes = figure.add_subplot()
    for name, table in tables.items():
        above = 1 - table[:, 2].cumsum() / table[:, 2].sum()
        axes.step(table[:, 1] * 1e3, above, where="post", lw=1.3, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(min(0.5 / t[:, 2].sum() for t in tables.values()), 1e-6), top=1.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("milliseconds until the answer")
    axes.set_ylabel("share that took longer")
    axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


@_styled
def round_trips(workloads: Sequence[Mapping[str, Any]]) -> str | None:
    """Pings in turn, those without an answer as crosses; None where there are too few."""
    pings = [w for w in workloads if w["kind"] == "ping" and len(w.get("rtt_s", ())) >= 5]
    if not pings:
        return None
    figure = _figure(10, 2.4)
    axes = figure.add_subplot()
    for w in pings:
        [line] = axes.plot([math.nan if r is None else r * 1e3 for r in w["rtt_s"]], marker=".", lw=1, label=f"{w['from']} → {w['to']}")
        lost = [i for i, r in enumerate(w["rtt_s"]) if r is None]
        axes.plot(lost, [0.0] * len(lost), "x", color=line.get_color())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("ping (× lost)")
    axes.set_ylabel("round trip, ms")
    axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


@_styled
def spread(results: Results, titles: Mapping[str, str]) -> str | None:
    """Of few points each metric's runs as dots, those of a seed joined, and the means with their confidence intervals."""
    last = len(results.points) - 1
    rows = [(name, title, values) for name, title in titles.items()
            if any(values := [results.by_seed(i, name) for i in range(last + 1)])]
    if not rows:
        return None
    figure = _figure(10, (0.75 + 0.5 * last) * len(rows) + 0.2)
    for i, (name, title, values) in enumerate(rows):
        factor, unit = scale(name, max(abs(v) for each in values for v in each.values()))
        axes = figure.add_subplot(len(rows), 1, i + 1)
        for seed in dict.fromkeys(seed for each in values for seed in each):
            runs = [(each[seed] * factor, -p) for p, each in enumerate(values) if seed in each]
            axes.plot(*zip(*runs, strict=True), "o-", ms=4, lw=0.7, alpha=0.5, color="C0")
        for p in range(last + 1):
            if (e := results.estimate(p, name)) is not None:
                half = e.half * factor if e.known else 0.0
                axes.errorbar([e.mean * factor], [0.4 - p], xerr=[half], fmt="D", ms=4, capsize=4, color="C1")
        axes.set_ylim(-last - 0.4, 0.9)
        axes.set_yticks([-p for p in range(last + 1)] if last else [], [", ".join(map(str, p.settings.values())) for p in results.points]
                        if last else [])
        axes.set_title(title + (f", {unit}" if unit else ""), fontsize=8, loc="left", pad=2)
    return _svg(figure)


@_styled
def changes(comparison: Comparison, titles: Mapping[str, str]) -> str | None:
    """By how many per cent of what it was each metric changes, with the confidence interval; None where nothing can be said so."""
    rows = []
    for name, title in titles.items():
        share, verdict = comparison.relative(name), comparison.verdict(name)
        if share is not None and verdict is not None:
            rows.append((title, 100 * share.mean, 100 * share.half, _VERDICTS.get(verdict, "#9fb3c8")))
    if not rows:
        return None
    figure = _figure(10, 0.3 * len(rows) + 0.6)
    axes = figure.add_subplot()
    for i, (_, mean, half, colour) in enumerate(rows):
        axes.errorbar([mean], [-i], xerr=[half], fmt="D", ms=4, capsize=3, color=colour)
    axes.axvline(0, color="#52606d", lw=0.8)
    axes.set_yticks([-i for i in range(len(rows))], [title for title, *_ in rows], fontsize=8)
    axes.set_ylim(0.6 - len(rows), 0.6)
    if max(abs(mean) + half for _, mean, half, _ in rows) > _FAR:
        axes.set_xscale("symlog", linthresh=100)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("per cent")
    return _svg(figure)


_VERDICTS = {Verdict.better: "#3f9142", Verdict.worse: "#d64545", Verdict.more: "C0", Verdict.less: "C0"}


def number(value: Any) -> float | None:
    """A setting as a number to draw along an axis, None for what is none."""
    if isinstance(value, bool):
        return None
    for parse in (float, units.rate, units.duration, units.share):
        try:
            return float(parse(value))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return None


@_styled
def curve(results: Results, metric: str, title: str, limit: Limit | None = None, at: float | None = None) -> str | None:
    """A metric against what was varied first, a line for each combination of the rest, with confidence intervals.

    Parameters
    ----------
    limit : Limit, optional
        Drawn as a line.
    at : float, optional
        A value to mark.
    """
    key, others = results.keys[0], results.keys[1:]
    groups: dict[str, list[tuple[Any, int]]] = {}
    for i, p in enumerate(results.points):
        groups.setdefault(", ".join(f"{short(k)} = {p.settings[k]}" for k in others), []).append((p.settings[key], i))
    estimates = {i: e for i in range(len(results.points)) if (e := results.estimate(i, metric)) is not None}
    if not estimates:
        return None
    factor, unit = scale(metric, max(abs(e.mean) for e in estimates.values()))
    numbers = {i: number(p.settings[key]) for i, p in enumerate(results.points)}
    numeric = all(n is not None for n in numbers.values())
    names = list(dict.fromkeys(str(p.settings[key]) for p in results.points))
    figure = _figure(6.4, 3.0)
    axes = figure.add_subplot()
    for name, members in groups.items():
        there = [(n if numeric and (n := numbers[i]) is not None else float(names.index(str(v))), estimates[i])
                 for v, i in members if i in estimates]
        there.sort(key=lambda xe: xe[0])
        xs = [x for x, _ in there]
        half = [e.half * factor if e.known else 0.0 for _, e in there]
        axes.errorbar(xs, [e.mean * factor for _, e in there], yerr=half, marker="o", ms=3.5, lw=1.2 if numeric else 0, elinewidth=1,
                      capsize=2.5, label=name or None)
    if numeric:
        values = sorted(v for v in numbers.values() if v is not None)
        if values[0] > 0 and values[-1] / values[0] > 8:
            axes.set_xscale("log")
    else:
        axes.set_xticks(range(len(names)), names)
    means = [e.mean for e in estimates.values()]
    if min(means) > 0 and max(means) / min(means) > 20:
        axes.set_yscale("log")
    if limit is not None:
        axes.axhline(limit.value * factor, color="#d64545", lw=1, ls="--", label=str(limit))
    if at is not None:
        axes.axvline(at, color="#52606d", lw=1, ls=":")
    axes.set_xlabel(short(key))
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=9, loc="left")
    if any(groups) or limit is not None:
        axes.legend(fontsize=7, frameon=False)
    return _svg(figure)
