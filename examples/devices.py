"""Devices of one's own, written as SimPy processes, in the middle of a Docker host's network.

    simcore run examples/devices.py

A firewall with a service time and a queue stands between host and router, a lossy radio link between router and the
web server, and a load balancer in front of two servers that share an address. They run under both engines.
"""
from __future__ import annotations

import zlib
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from simcore.docker.compose import Compose
from simcore.engine import Environment
from simcore.net.cable import splice
from simcore.net.device import PythonDevice
from simcore.net.link import Link, wire
from simcore.net.namespace import Namespace
from simcore.study.scenario import World
from simcore.traffic import http

Process = Generator[Any, Any, None]
ADDRESS = "93.184.216.34"


class Firewall(PythonDevice):
    """One inspection engine: each frame takes 20 us, 64 may wait, and nobody gets to port 23."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "firewall", 2)
        self.queue: simpy.Store = simpy.Store(env)
        self.refused = self.overflowed = 0
        env.process(self.inspect())

    def on_frame(self, frame: bytes, port: int) -> None:
        if len(self.queue.items) >= 64:
            self.overflowed += 1
        else:
            self.queue.put((frame, port))

    def inspect(self) -> Process:
        while True:
            frame, port = yield self.queue.get()
            yield self.env.timeout(20e-6)
            if frame[23:24] == b"\x06" and frame[36:38] == (23).to_bytes(2, "big"):
                self.refused += 1
            else:
                self.transmit(frame, 1 - port)


class Radio(PythonDevice):
    """A channel that fades: good for 200 ms on average, then bad for 20 ms, in which half of the frames are lost."""

    def __init__(self, env: Environment, rng: np.random.Generator) -> None:
        super().__init__(env, "radio", 2)
        self.rng, self.bad, self.lost = rng, False, 0
        env.process(self.fade())

    def fade(self) -> Process:
        while True:
            yield self.env.timeout(float(self.rng.exponential(0.02 if self.bad else 0.2)))
            self.bad = not self.bad

    def on_frame(self, frame: bytes, port: int) -> None:
        if self.bad and self.rng.random() < 0.5:
            self.lost += 1
        else:
            self.transmit(frame, 1 - port)


class LoadBalancer(PythonDevice):
    """Port 0 faces the clients; each flow goes to one of the servers behind ports 1 and 2, by hash."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "balancer", 3)
        self.frames = [0, 0, 0]

    def on_frame(self, frame: bytes, port: int) -> None:
        if port:
            outs = [0]
        elif frame[12:14] == b"\x08\x00":
            outs = [1 + zlib.crc32(frame[26:38]) % 2]
        else:
            outs = [1, 2]                       # ARP: the servers share address and MAC, and both want to know
        for out in outs:
            self.frames[out] += 1
            self.transmit(frame, out)


def build(seed: int | None = None, engine: str = "compiled") -> World:
    """The journey's network with the three devices in it."""
    world = World(Compose.model_validate({"services": {f"c{i}": {} for i in range(4)}, "x-simcore": {
        "seed": 1, "duration": "10s",
        "links": {"host": {"rate": "1Gbit", "latency": "50us"}, "server": {"rate": "100Mbit", "latency": "5ms"}},
        "servers": {"web": {"address": ADDRESS, "http": {"port": 80, "body": "from the first\n"}}},
        "workloads": [{"kind": "http", "from": f"c{i}", "to": "web", "count": 20, "interval": "200ms"} for i in range(4)]
        + [{"kind": "http", "from": "c0", "to": "web", "port": 23}]}}), seed, engine)
    env, links = world.env, world.links
    splice(env, links["host/eth0"], links["router/eth0"], Firewall(env))

    radio, balancer = Radio(env, world.streams["radio"]), LoadBalancer(env)
    splice(env, links["router/eth1"], links["web/eth0"], radio)
    beyond = radio.ports[1]                                         # now between the radio and the web server
    assert isinstance(beyond, Link)
    splice(env, beyond, links["web/eth0"], balancer)
    second = Namespace(env, "web2")
    second.add_interface("eth0", world.namespace("web").interface("eth0").mac_address)
    second.add_address("eth0", f"{ADDRESS}/24")
    second.add_route("default", "eth0", "93.184.216.1")
    http.serve(second, 80, b"from the second\n")
    wire(env, balancer, 2, second, 0, latency=1e-4)
    return world
