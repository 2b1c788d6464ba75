"""Data with a few things in it put in, taken out, or moved."""
from __future__ import annotations

import copy
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

VALUES = [None, "", 0, -1, 1, 70000, 2**31, 2**70, 1e300, -0.5, "x", "10.0.0.1", "10.0.0.0/8", "1Gbit", "-5ms", "5", "150%", True, [], {},
          [1], {"a": 1}, ["x"], "80:80", "a b", "é", "none", "host", "web", "eth0", [[]], [None], "0s", "1e-9", "255.255.255.255",
          "224.0.0.1", "127.0.0.1", "${X}", "$", "y" * 300]


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key and item."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(data: Any, path: Sequence[Any]) -> Any:
    """What is there."""
    for key in path:
        data = data[key]
    return data


def mutated(data: Any, rng: random.Random, keys: Sequence[str], values: Sequence[Any] = VALUES, small: Collection[str] = ()) -> Any:
    """A copy of data with one to three things changed.

    Parameters
    ----------
    keys : sequence of str
        Some of them come to stand where they do not belong.
    small : collection of str
        Keys that are never given a large number: it would be meant, and take long.
    """
    data = copy.deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        there = list(places(data))
        if not there:
            break
        *way, last = rng.choice(there)
        inner, what = at(data, way), rng.random()
        if what < 0.7:
            value = copy.deepcopy(rng.choice(values))
            if not (isinstance(value, int | float) and value > 1000 and last in small):
                inner[last] = value
        elif what < 0.8:
            del inner[last]
        elif what < 0.9 and isinstance(inner, dict):
            inner[rng.choice(keys)] = copy.deepcopy(rng.choice(values))
        else:
            inner[last] = copy.deepcopy(at(data, rng.choice(there)))
    return data
