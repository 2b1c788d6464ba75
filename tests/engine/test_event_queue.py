"""The compiled event queue against SimPy's heap: the same order, whatever the density of events does to its buckets."""
from __future__ import annotations

import numpy as np
import pytest

from simcore.engine import Environment
from simcore.net.device import PythonDevice
from simcore.net.link import Link, plug


class Recorder(PythonDevice):
    """Sends every frame back into the link it came by, and notes when that was."""

    def __init__(self, env: Environment, links: int) -> None:
        super().__init__(env, "recorder", links)
        self.seen: list[tuple[float, int]] = []

    def on_frame(self, frame: bytes, port: int) -> None:
        self.seen.append((self.env.now, port))
        self.transmit(frame, port)


def run(engine: str, latencies: list[float], frames: int, until: float) -> list[tuple[float, int]]:
    env = Environment(engine=engine)
    recorder = Recorder(env, len(latencies))
    for port, latency in enumerate(latencies):
        plug(recorder, port, Link(env, f"l{port}", recorder, port, 0.0, latency))

    def start() -> object:
        for k in range(frames):
            for port in range(len(latencies)):
                recorder.transmit(bytes(60), port)
            yield env.timeout(1e-4 * k)
        # silence for most, then a burst: the density falls and rises a thousandfold
        yield env.timeout(until / 2)
        for port in range(0, len(latencies), 3):
            recorder.transmit(bytes(60), port)

    env.process(start())
    env.run(until=until)
    return recorder.seen


@pytest.mark.parametrize("shape", ["uniform", "wide", "equal", "few"])
def test_order_is_that_of_a_heap(shape: str) -> None:
    rng = np.random.default_rng(5)
    latencies = {"uniform": rng.uniform(0.5e-3, 1.5e-3, 200), "wide": 10 ** rng.uniform(-4, 0, 400),
                 "equal": np.full(300, 1e-3), "few": np.array([1e-4, 3e-4, 7e-4])}[shape].tolist()
    compiled = run("compiled", latencies, 2, 0.06)
    assert len(compiled) > (1000 if shape == "few" else 10000)
    assert compiled == run("simpy", latencies, 2, 0.06)
    assert all(a[0] <= b[0] for a, b in zip(compiled, compiled[1:], strict=False))
