"""Workload A in ns.py (PyPI), without NAT: it has none."""
from __future__ import annotations

import random
import time

import simpy
from ns.packet.dist_generator import DistPacketGenerator
from ns.packet.sink import PacketSink
from ns.port.port import Port
from ns.port.wire import Wire


def wan_udp(containers: int = 8, duration: float = 2.0) -> dict[str, float]:
    """ns per packet and how many arrived."""
    env, rng = simpy.Environment(), random.Random(1)
    sink = PacketSink(env, rec_waits=False, rec_arrivals=False, rec_flow_ids=False)

    def hop(rate: float, latency: float, limit: int, to: object) -> Port:
        port, wire = Port(env, rate, limit, limit_bytes=False), Wire(env, lambda: latency)
        port.out, wire.out = wire, to
        return port
    uplink = hop(1e9, 50e-6, 1000, hop(200e6, 10e-3, 100, sink))
    sources = []
    for i in range(containers):
        source = DistPacketGenerator(env, f"c{i}", lambda: rng.expovariate(22500 / containers), lambda: 1000, finish=duration, flow_id=i,
                                     rec_flow=False)
        source.out = hop(1e9, 5e-6, 1000, uplink)
        sources.append(source)
    began = time.perf_counter()
    env.run(until=duration + 1)
    wall = time.perf_counter() - began
    sent = sum(s.packets_sent for s in sources)
    return {"ns_per_packet": wall * 1e9 / sent, "packets": float(sent)}
