"""Compiled code draws the numbers that Python would have drawn from the same stream."""
from __future__ import annotations

import numpy as np

from simcore.engine import Environment
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.traffic.udp import UdpSource


class Clock(PythonDevice):
    """Notes when frames arrive."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "clock", 1)
        self.times: list[float] = []

    def on_frame(self, frame: bytes, port: int) -> None:
        self.times.append(self.env.now)


def test_poisson_arrivals_are_numpys_exponentials() -> None:
    env = Environment()
    ns, clock = Namespace(env, "a"), Clock(env)
    ns.add_interface("eth0", "02:00:00:00:00:01")
    ns.add_address("eth0", "10.0.0.1/24")
    ns.add_neighbour("10.0.0.2", "02:00:00:00:00:02", "eth0")
    wire(env, ns, 0, clock, 0)
    source = UdpSource(ns, "10.0.0.2", 9, 5000, 100.0, 100, np.random.default_rng(7))
    env.run(until=10)
    del source
    assert len(clock.times) > 900                       # many times what is drawn at a time
    assert clock.times == list(np.cumsum(np.random.default_rng(7).standard_exponential(len(clock.times)) * 0.01))
