"""Simulated time in step with a clock."""
from __future__ import annotations

import os
import time

import pytest

from simcore.engine import Environment
from simcore.engine.pace import Pace


class Clock:
    """Goes on by a millisecond whenever somebody looks."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        self.time += 1e-3
        return self.time


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_nothing_happens_before_its_time(engine: str) -> None:
    env, clock = Environment(engine=engine), Clock()
    seen: list[tuple[float, float]] = []

    def process():                                                              # type: ignore[no-untyped-def]
        for wait in (0.01, 0.0, 0.002, 0.05):
            yield env.timeout(wait)
            seen.append((env.now, clock.time - 100))
    env.process(process())
    pace = Pace(env, clock)
    pace.run(0.1)
    assert [now for now, _ in seen] == pytest.approx([0.01, 0.01, 0.012, 0.062])
    assert all(now <= wall for now, wall in seen)
    assert env.now == 0.1
    assert pace.behind.count == 4                       # the process's first step, and three times of events
    assert 1e-3 <= pace.behind.least <= pace.behind.most < 0.01


def test_what_comes_from_outside_begins_when_it_comes() -> None:
    env = Environment()
    pace = Pace(env)
    into, out = os.pipe()
    heard: list[tuple[float, float, float]] = []

    def read() -> None:
        sent = float(os.read(into, 100))
        now = env.now
        env.timeout(0.02).callbacks.append(lambda event: heard.append((sent, now, env.now)))
        if len(heard) == 2:
            pace.stop()
    pace.watch(into, read)
    began = time.monotonic()

    def write() -> None:
        os.write(out, str(time.monotonic() - began).encode())
    for at in (0.05, 0.1, 0.15):
        env.timeout(at).callbacks.append(lambda event: write())
    pace.run()
    os.close(into)
    os.close(out)
    assert len(heard) == 2
    for sent, now, later in heard:
        assert abs(now - sent) < 1                      # the clock's, not the time of the event before
        assert later == now + 0.02


def test_interrupted() -> None:
    env = Environment()
    pace = Pace(env)
    env.timeout(0.01).callbacks.append(lambda event: setattr(env.calendar, "interrupted", True))
    with pytest.raises(KeyboardInterrupt):
        pace.run()
    assert env.now < 10
