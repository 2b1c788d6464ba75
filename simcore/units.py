"""Quantities with units, as `tc` and people write them."""
from __future__ import annotations

import re

_PREFIX = {"": 1.0, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "g": 1e9, "G": 1e9, "t": 1e12, "T": 1e12}
_TIME = {"s": 1.0, "": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "m": 60.0, "min": 60.0, "h": 3600.0}
_BINARY = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20, "g": 1 << 30,
           "gb": 1 << 30, "gib": 1 << 30}


def _split(text: object, what: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ/]*)\s*", str(text))
    if match is None:
        raise ValueError(f"{text!r} is not {what}")
    return float(match[1]), match[2]


def rate(text: object) -> float:
    """Bit/s: `1Gbit`, `200 Mb/s`, `10mbit`, `1e9`; 0 or `unlimited` for no limit."""
    if text == "unlimited":
        return 0.0
    value, unit = _split(text, "a rate, as 100Mbit")
    unit = re.sub(r"(bit/s|bits|bit|bps|b/s|b)$", "", unit)
    if unit not in _PREFIX:
        raise ValueError(f"{text!r} is not a rate, as 100Mbit")
    return value * _PREFIX[unit]


def share(text: object) -> object:
    """A probability: `0.01` or `1%`."""
    if isinstance(text, str) and text.rstrip().endswith("%"):
        return float(text.rstrip()[:-1]) / 100
    return text


def duration(text: object) -> float:
    """Seconds: `10ms`, `5us`, `2`, `1.5s`, `1min`."""
    value, unit = _split(text, "a time, as 10ms")
    if unit not in _TIME:
        raise ValueError(f"{text!r} is not a time, as 10ms")
    return value * _TIME[unit]


def size(text: object) -> int:
    """Bytes: `1500`, `64k`, `10MB` (powers of two, as Docker counts)."""
    value, unit = _split(text, "a size, as 64k")
    if unit.lower() not in _BINARY:
        raise ValueError(f"{text!r} is not a size, as 64k")
    return int(value * _BINARY[unit.lower()])
