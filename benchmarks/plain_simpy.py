"""Workload A as one writes it in plain SimPy: a process per source and per link, no headers, no NAT."""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from typing import Any

import simpy

Process = Generator[simpy.Event, Any, None]


class Packet:
    """What a plain model carries: a size and a birth time."""

    __slots__ = ("born", "size")

    def __init__(self, size: int, born: float) -> None:
        self.size, self.born = size, born


class Link:
    """A drop-tail queue, a rate, a latency."""

    def __init__(self, env: simpy.Environment, rate: float, latency: float, limit: int, sink: Callable[[Packet], None]) -> None:
        self.env, self.rate, self.latency, self.limit, self.sink = env, rate, latency, limit, sink
        self.queue = simpy.Store(env)
        self.dropped = 0
        env.process(self._serve())

    def put(self, packet: Packet) -> None:
        """Queue a packet, or drop it."""
        if len(self.queue.items) >= self.limit:
            self.dropped += 1
        else:
            self.queue.put(packet)

    def _serve(self) -> Process:
        while True:
            packet = yield self.queue.get()
            yield self.env.timeout(packet.size * 8 / self.rate)
            self.env.process(self._fly(packet))

    def _fly(self, packet: Packet) -> Process:
        yield self.env.timeout(self.latency)
        self.sink(packet)


def wan_udp(containers: int = 8, duration: float = 10.0, seed: int = 1) -> dict[str, float]:
    """Run it; wall time per packet that crossed or was dropped."""
    env, rng = simpy.Environment(), random.Random(seed)
    received = [0]

    def arrived(packet: Packet) -> None:
        received[0] += 1

    wan = Link(env, 200e6, 10e-3, 100, arrived)
    host = Link(env, 1e9, 50e-6, 1000, wan.put)

    def source(link: Link) -> Process:
        while env.now < duration:
            yield env.timeout(rng.expovariate(22500 / containers))
            link.put(Packet(1000, env.now))

    for _ in range(containers):
        env.process(source(Link(env, 1e9, 5e-6, 1000, host.put)))
    began = time.perf_counter()
    env.run(until=duration + 1)
    wall = time.perf_counter() - began
    packets = received[0] + wan.dropped
    return {"wall_s": wall, "packets": packets, "dropped": wan.dropped, "ns_per_packet": wall * 1e9 / packets}
