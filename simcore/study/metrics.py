"""A run's summary as numbers with names, which sweeps tabulate and planners search by."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simcore import units
from simcore.traffic.title import title

NOT_MEASURED = frozenset({"engine", "seed", "partial", "conntrack", "interfaces", "flows", "findings", "headroom", "port", "stopped_by",
                          "workers", "pool", "timeout_s"})
"""Keys of a summary that are no measurements, or too many."""
HEADLINES: Mapping[str, Sequence[str]] = {
    "http": ("requests.total_time.mean", "requests.failed_share"),
    "ping": ("rtt_s.mean", "rtt_s.max", "rtt_s.lost_share"),
    "dns": ("lookups.total_time.mean", "lookups.total_time.max", "lookups.failed_share"),
    "udp": ("mean_delay_s", "loss"),
    "trace": ("mean_delay_s", "loss"),
    "bulk": ("goodput_bps",),
    "load": ("requests_per_s", "response_s.mean", "response_s.p99", "failed", "stalled"),
}
"""What one wants to know first of a kind of workload."""


def metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a summary, by its path in it: `links.host/eth0.utilisation`, `workloads.0.response_s.p99`.

    A list of results becomes its `mean` and `max`; of those that brought none, `lost_share` is the share. A list of
    requests becomes that of each of their numbers, `requests.total_time.mean`, and `failed_share` of those with an error.
    """
    out: dict[str, float] = {}
    for key, value in summary.items():
        if key not in NOT_MEASURED:
            _flatten(key, value, out)
    return out


def _flatten(name: str, value: Any, out: dict[str, float]) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        out[name] = float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in NOT_MEASURED:
                _flatten(f"{name}.{key}", inner, out)
    elif isinstance(value, list) and value:
        if name in ("workloads", "cpu.cores"):
            for i, inner in enumerate(value):
                _flatten(f"{name}.{i}", inner, out)
        elif all(isinstance(item, Mapping) for item in value):
            _of_results(name, value, out)
        elif all(item is None or isinstance(item, int | float) for item in value):
            _of_numbers(name, value, out)
            if name.endswith(".rtt_s"):
                out[f"{name}.lost_share"] = sum(item is None for item in value) / len(value)


def _of_results(name: str, results: Sequence[Mapping[str, Any]], out: dict[str, float]) -> None:
    good = [r for r in results if not r.get("error")]
    out[f"{name}.failed_share"] = 1 - len(good) / len(results)
    for key in dict.fromkeys(key for r in good for key in r):
        values = [r.get(key) for r in good]
        if all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
            _of_numbers(f"{name}.{key}", values, out)


def _of_numbers(name: str, values: Iterable[float | None], out: dict[str, float]) -> None:
    numbers = [float(v) for v in values if v is not None]
    if numbers:
        out[f"{name}.mean"] = sum(numbers) / len(numbers)
        out[f"{name}.max"] = max(numbers)


def headlines(summary: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that a summary is first asked for, each with a title: those of its workloads, and of links that are busy."""
    known = metrics(summary)
    out: dict[str, str] = {}
    for i, w in enumerate(summary["workloads"]):
        for key in HEADLINES[w["kind"]]:
            if (name := f"workloads.{i}.{key}") in known:
                out[name] = f"{title(w)}: {said(key)}"
    for name in summary["apps"]:
        out |= {path: f"{name}: {what}" for key, what in (("utilisation", "workers busy"), ("open_share", "connections open"))
                if (path := f"apps.{name}.{key}") in known}
    busy = sorted(summary["links"], key=lambda name: -summary["links"][name]["utilisation"])
    for name in [b for b in busy if summary["links"][b]["utilisation"] > 0.5][:3]:
        out[f"links.{name}.utilisation"] = f"{name}: busy"
        if summary["links"][name]["dropped"]:
            out[f"links.{name}.drop_share"] = f"{name}: dropped"
    return out


_SAID = {"total_time.mean": "mean time", "total_time.max": "longest", "failed_share": "failed", "lost_share": "lost", "mean": "mean",
         "max": "most", "p99": "p99", "p50": "median", "p90": "p90", "mean_delay_s": "mean delay", "loss": "lost", "goodput_bps": "goodput",
         "requests_per_s": "requests/s", "failed": "failed", "stalled": "stalled", "rtt_s": "RTT", "response_s": "response"}


def said(key: str) -> str:
    """A metric's name for readers, as `response p99`."""
    key = key.removeprefix("requests.").removeprefix("lookups.")
    return _SAID[key] if key in _SAID else " ".join(_SAID.get(part, part) for part in key.split("."))


def unit_of(name: str) -> str:
    """What a metric is counted in, by its name: `s`, `us`, `bit/s`, `share`, or nothing."""
    parts = name.split(".")
    if any(p.endswith("_share") or p in ("loss", "utilisation") for p in parts):
        return "share"
    if any(p.endswith("_bps") for p in parts):
        return "bit/s"
    if any(p.endswith("_us") for p in parts):
        return "us"
    if any(p.endswith(("_per_s", "bytes")) for p in parts):
        return ""
    return "s" if any(p.endswith(("_s", "_time")) for p in parts) else ""


_MORE_IS_BETTER = frozenset({"goodput_bps", "requests_per_s", "requests_done", "received"})
_LESS_IS_BETTER = frozenset({"failed_share", "lost_share", "drop_share", "loss", "failed", "stalled", "unanswered", "retried",
                             "dropped", "lost", "retransmits", "mean_wait_us"})
_TIMES = frozenset({"rtt_s", "response_s", "wait_s", "total_time", "total_time_s", "mean_delay_s"})


def more_is_better(name: str) -> bool | None:
    """Whether more of a metric is what one wants, or less; None where neither is."""
    parts = name.split(".")
    if _MORE_IS_BETTER & {*parts}:
        return True
    if _LESS_IS_BETTER & {*parts} or parts[0] == "drops":
        return False
    return False if _TIMES & {*parts} and parts[-1] != "count" else None


def scale(name: str, largest: float) -> tuple[float, str]:
    """(factor, unit) to write values of a metric with, up to `largest` of them."""
    unit = unit_of(name)
    if unit == "share":
        return 100.0, "%"
    if unit == "us":
        factor, unit = scale("_s", largest * 1e-6)
        return factor * 1e-6, unit
    steps = {"s": ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs")),
             "bit/s": ((1e9, 1e-9, "Gbit/s"), (1e6, 1e-6, "Mbit/s"), (1e3, 1e-3, "kbit/s"), (0.0, 1.0, "bit/s"))}.get(unit, ())
    return next(((factor, text) for least, factor, text in steps if largest >= least), (1.0, ""))


def written(name: str, value: float) -> str:
    """A value of a metric, with its unit."""
    factor, unit = scale(name, abs(value))
    return f"{value * factor:.4g}" + ("" if unit in ("", "%") else " ") + unit


def parse(name: str, text: str) -> float:
    """A value for a metric as people write it: `10ms`, `1%`, `5Mbit`, or a number.

    Raises
    ------
    ValueError
        If it is none.
    """
    unit = unit_of(name)
    if unit == "bit/s":
        return units.rate(text)
    if unit in ("s", "us"):
        return units.duration(text) * (1e6 if unit == "us" and not text.replace(".", "").isdigit() else 1.0)
    return float(units.share(text))  # type: ignore[arg-type]
