"""Queue disciplines under tc's names, and their making from a description."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from simcore import units
from simcore.net.qdisc.base import Qdisc
from simcore.net.qdisc.codel import Codel, FqCodel
from simcore.net.qdisc.drr import Drr, Sfq
from simcore.net.qdisc.fifo import Bfifo, Pfifo
from simcore.net.qdisc.htb import Htb
from simcore.net.qdisc.pie import Pie
from simcore.net.qdisc.prio import PRIOMAP, Prio
from simcore.net.qdisc.red import Red
from simcore.net.qdisc.tbf import Tbf

Parser = Callable[[Any], Any]


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _filters(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(f, Mapping) for f in value):
        raise ValueError("expected a list of mappings, as {class: …, dport: 80}")
    return value


def _priomap(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(band, int) for band in value):
        raise ValueError("expected a list of 16 bands")
    return value


def _name(value: Any) -> Any:
    if not isinstance(value, str | int):
        raise ValueError(f"{value!r} is no name of a class")
    return value


_count, _number, _time, _rate, _size = int, float, units.duration, units.rate, units.size
_CODEL: dict[str, Parser] = {"limit": _count, "target": _time, "interval": _time, "ecn": _flag}

PARAMETERS: dict[str, dict[str, Parser]] = {
    "pfifo": {"limit": _count},
    "bfifo": {"limit": _size},
    "tbf": {"rate": _rate, "burst": _size, "limit": _size, "latency": _time, "peakrate": _rate, "mtu": _size},
    "red": {"limit": _size, "min": _size, "max": _size, "avpkt": _size, "burst": _count, "probability": _number, "bandwidth": _rate,
            "ecn": _flag, "harddrop": _flag},
    "codel": _CODEL,
    "fq_codel": {**_CODEL, "flows": _count, "quantum": _size, "memory_limit": _size},
    "pie": {"limit": _count, "target": _time, "tupdate": _time, "alpha": _number, "beta": _number, "ecn": _flag, "bytemode": _flag},
    "prio": {"priomap": _priomap, "filters": _filters},
    "htb": {"filters": _filters, "default": _name, "r2q": _number},
    "drr": {"filters": _filters, "default": _name},
    "sfq": {"limit": _count, "quantum": _size, "divisor": _count, "depth": _count, "headdrop": _flag, "perturb": _time},
}
"""What each kind takes, and how a value is read: times as 5ms, rates as 10Mbit, sizes as 64k."""

REQUIRED: dict[str, tuple[str, ...]] = {"tbf": ("rate", "burst"), "red": ("limit",), "htb": ("classes",), "drr": ("classes",)}

_CLASS: dict[str, dict[str, Parser]] = {
    "htb": {"parent": _name, "rate": _rate, "ceil": _rate, "burst": _size, "cburst": _size, "prio": _count, "quantum": _size},
    "drr": {"quantum": _size},
}
_PLAIN: dict[str, Callable[..., Qdisc]] = {"pfifo": Pfifo, "bfifo": Bfifo, "codel": Codel, "tbf": Tbf}
_SEEDED: dict[str, Callable[..., Qdisc]] = {"fq_codel": FqCodel, "sfq": Sfq}
_DRAWING: dict[str, Callable[..., Qdisc]] = {"red": Red, "pie": Pie}


def _read(kind: str, table: Mapping[str, Parser], given: Mapping[str, Any]) -> dict[str, Any]:
    out = {}
    for key, value in given.items():
        if key not in table:
            raise ValueError(f"{kind}: {key}: unknown, expected {', '.join(table)}")
        try:
            out[key] = table[key](value)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{kind}: {key}: {error}") from None
    return out


def build(spec: str | Mapping[str, Any], rng: np.random.Generator) -> Qdisc:
    """Make a qdisc from its kind, or from a mapping of `kind` and its parameters.

    Parameters
    ----------
    spec : str or mapping
        As `"fq_codel"`, or `{"kind": "tbf", "rate": "10Mbit", "burst": "10k", "latency": "50ms"}`. `child` (tbf),
        `bands` (prio) and `classes` with `qdisc` (htb, drr) hold descriptions in turn.
    rng : numpy.random.Generator
        This qdisc's own stream.

    Raises
    ------
    ValueError
        For an unknown kind or key, or a value that does not fit; the message begins with the kind.
    """
    if not isinstance(spec, str | Mapping):
        raise ValueError(f"{spec!r} is no qdisc, expected a kind or a mapping with one")
    given: dict[str, Any] = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in PARAMETERS:
        raise ValueError(f"kind: {kind!r} is no qdisc, expected one of {', '.join(PARAMETERS)}")
    missing = [key for key in REQUIRED.get(kind, ()) if key not in given]
    if missing:
        raise ValueError(f"{kind}: expected {' and '.join(missing)}")
    nested = {key: given.pop(key) for key in ("child", "bands", "classes") if key in given}
    options = _read(kind, PARAMETERS[kind], given)
    allowed = {"tbf": {"child"}, "prio": {"bands"}, "htb": {"classes"}, "drr": {"classes"}}.get(kind, set())
    if set(nested) - allowed:
        raise ValueError(f"{kind}: {', '.join(sorted(set(nested) - allowed))}: unknown")
    try:
        if kind == "tbf" and "child" in nested:
            options["child"] = build(nested["child"], rng)
        if kind == "prio":
            bands = nested.get("bands", 3)
            if not isinstance(bands, int | list):
                raise ValueError("prio: bands: expected a number or a list of qdiscs")
            return Prio(bands if isinstance(bands, int) else [build(b, rng) for b in bands], **options)
        if kind in _CLASS:
            classes = {}
            if not isinstance(given_classes := nested.get("classes"), Mapping):
                raise ValueError(f"{kind}: classes: expected a mapping of names to classes")
            for name, c in given_classes.items():
                if not isinstance(c, Mapping | None):
                    raise ValueError(f"{kind}: class {name}: expected a mapping")
                c = dict(c or {})
                child = c.pop("qdisc", None)
                classes[name] = _read(f"{kind}: class {name}", _CLASS[kind], c)
                if child is not None:
                    classes[name]["qdisc"] = build(child, rng)
            return Htb(classes, **options) if kind == "htb" else Drr(classes, **options)
        if kind in _DRAWING:
            return _DRAWING[kind](rng, **options)
        if kind in _SEEDED:
            return _SEEDED[kind](int(rng.integers(0, 1 << 63)), **options)
        return _PLAIN[kind](**options)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{kind}: {error}") from None


__all__ = ["PARAMETERS", "PRIOMAP", "Bfifo", "Codel", "Drr", "FqCodel", "Htb", "Pfifo", "Pie", "Prio", "Qdisc", "Red", "Sfq", "Tbf",
           "build"]
