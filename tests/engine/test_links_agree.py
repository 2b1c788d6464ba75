"""Random webs of bare links, qdiscs, faults and SimPy devices: both engines deliver the same bytes at the same times."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simcore.engine import Environment, Streams
from simcore.engine.frame import reset_ids
from simcore.net.device import PythonDevice
from simcore.net.link import Link, plug
from simcore.net.netem import Netem
from simcore.net.qdisc import build
from simcore.traffic.frames import FrameSource
from tests.engine.test_engines_agree import QDISCS

pytestmark = pytest.mark.usefixtures("no_frame_is_lost")

Row = tuple[float, str, int, bytes]


class Hub(PythonDevice):
    """Hands each frame on at once, to a port chosen by its content."""

    def on_frame(self, frame: bytes, port: int) -> None:
        self.transmit(frame, frame[-1] % len(self.ports))


class Firewall(PythonDevice):
    """A SimPy server with a service time and a queue of eight."""

    def __init__(self, env: Environment, name: str, ports: int, rng: np.random.Generator) -> None:
        super().__init__(env, name, ports)
        self.queue = simpy.Store(env, capacity=8)
        self.rng = rng
        env.process(self.serve())

    def on_frame(self, frame: bytes, port: int) -> None:
        if len(self.queue.items) < 8:
            self.queue.put(frame)

    def serve(self) -> Any:
        while True:
            frame = yield self.queue.get()
            yield self.env.timeout(float(self.rng.exponential(1e-3)))
            self.transmit(frame, 0)
            if self.rng.random() < 0.1:
                self.transmit(frame[:60], len(self.ports) - 1)


class Sink(PythonDevice):
    def __init__(self, env: Environment, log: list[Row]) -> None:
        super().__init__(env, "sink", 1)
        self.log = log

    def on_frame(self, frame: bytes, port: int) -> None:
        self.log.append((self.env.now, self.name, port, frame))


LINK = st.fixed_dictionaries({"rate": st.sampled_from([0.0, 1e6, 1e7]), "latency": st.sampled_from([0.0, 1e-3, 5e-3]),
                              "limit": st.integers(1, 20), "qdisc": st.sampled_from([None, None, *QDISCS]),
                              "netem": st.sampled_from([None, None, {"loss": 0.1}, {"jitter": 2e-3}, {"duplicate": 0.2, "reorder": 0.3},
                                                        {"corrupt": 0.3, "loss": {"p": 0.1, "r": 0.3}}])})
CHANGE = st.tuples(st.sampled_from([0.05, 0.1, 0.15]), st.integers(0, 7),
                   st.sampled_from(["down", "up", {"rate": 2e6}, {"rate": 0.0}, {"latency": 0.0}, {"limit": 2}, {"netem": None}]))


def trajectory(engine: str, seed: int, kinds: list[str], links: list[dict[str, Any]], sources: list[tuple[float, int, bool]],
               changes: list[tuple[float, int, Any]]) -> tuple[list[Row], list[Any]]:
    reset_ids()
    env, streams = Environment(engine=engine), Streams(seed)
    log: list[Row] = []
    sink = Sink(env, log)
    devices: list[PythonDevice] = [Hub(env, f"d{i}", 2) if kind == "hub" else Firewall(env, f"d{i}", 2, streams[f"d{i}"])
                                   for i, kind in enumerate(kinds)]
    wires: list[Link] = []

    def link(to: PythonDevice) -> Link:
        p = links[len(wires) % len(links)]
        name = f"l{len(wires)}"
        wires.append(Link(env, name, to, 0, p["rate"], p["latency"], p["limit"],
                          build(p["qdisc"], streams[name + "q"]) if p["qdisc"] else None,
                          Netem(streams[name + "n"], **p["netem"]) if p["netem"] else None))
        return wires[-1]

    for i, device in enumerate(devices):                # each hands on to the next and to the one after: no loops
        for port in range(2):
            after = i + 1 + port
            plug(device, port, link(devices[after] if after < len(devices) else sink))
    for i, (rate, size, poisson) in enumerate(sources):
        plug(FrameSource(env, f"s{i}", rate, size, streams[f"s{i}"] if poisson else None, source=f"10.0.0.{i + 3}", tos=(i * 8 | 2) & 255,
                         mark=i, stop=0.2), 0, link(devices[i % len(devices)]))

    def operator(at: float, wire: Link, change: Any) -> Any:
        yield env.timeout(at)
        if change == "down":
            wire.down()
        elif change == "up":
            wire.up_again()
        else:
            wire.set(**change)

    for at, n, change in changes:
        env.process(operator(at, wires[n % len(wires)], change))
    env.run(until=0.3)
    return log, [(w.packets, w.bytes, w.dropped, w.lost, w.in_flight, w.waited, w.queue_seconds, w.busy_seconds) for w in wires]


@given(seed=st.integers(0, 10_000), kinds=st.lists(st.sampled_from(["hub", "hub", "firewall"]), min_size=1, max_size=4),
       links=st.lists(LINK, min_size=1, max_size=5), changes=st.lists(CHANGE, max_size=3),
       sources=st.lists(st.tuples(st.sampled_from([100.0, 1000.0]), st.sampled_from([60, 400, 1500]), st.booleans()), min_size=1,
                        max_size=4))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_webs(seed: int, kinds: list[str], links: list[dict[str, Any]], sources: list[tuple[float, int, bool]],
                     changes: list[tuple[float, int, Any]]) -> None:
    fast = trajectory("compiled", seed, kinds, links, sources, changes)
    slow = trajectory("simpy", seed, kinds, links, sources, changes)
    assert fast == slow
