"""Thousands of TCP connections through one host: what a segment costs when their state is cold."""
from __future__ import annotations

import time
from typing import Any

from simcore.docker.host import DockerHost, Internet, LinkParameters
from simcore.engine import Environment, Streams
from simcore.study.garbage import frozen
from simcore.transport import TcpListener, TcpSocket

SERVER = "93.184.216.34"
SEGMENT = 1448
OPENING = 1.0               # s until all are open and what follows is timed


def many_tcp(connections: int, containers: int, rate: float = 10e9, duration: float = 1.0, seed: int = 1) -> dict[str, Any]:
    """CUBIC uploads without end from `containers` containers over a WAN of `rate` bit/s and 10 ms.

    Returns
    -------
    dict
        ns_per_segment delivered, events_per_segment, retransmits_per_segment, delivered_gbps; connections accepted.
    """
    env, streams = Environment(), Streams(seed)
    host = DockerHost(env, streams)
    host.add_network("bridge", "172.17.0.0/16")
    for i in range(containers):
        host.add_container(f"c{i}", {"bridge": None})
    host.start(LinkParameters(rate / 4, 5e-6, 4000))
    internet = Internet(env, streams)
    internet.connect(host, LinkParameters(rate, 50e-6, 4000))
    server = internet.add_server("web", SERVER, 24, LinkParameters(rate, 10e-3, 4000))
    received: list[TcpSocket] = []
    senders: list[TcpSocket] = []

    def serve() -> Any:
        listener = TcpListener(server, 80, discard=True, backlog=2 * connections)
        while True:
            received.append((yield listener.accept()))

    def upload(ns: Any, start: float) -> Any:
        yield env.timeout(start)
        sock = TcpSocket(ns)
        senders.append(sock)
        yield sock.connect(SERVER, 80)
        while True:
            yield sock.send(1 << 20)

    env.process(serve())
    namespaces = [c.namespace for c in host.containers.values()]
    for i in range(connections):
        env.process(upload(namespaces[i % containers], i * OPENING / 2 / connections))
    with frozen():
        env.run(until=OPENING)
        before = sum(s.bytes_in for s in received), sum(s.retransmits for s in senders), env.calendar.executed
        began = time.perf_counter()
        env.run(until=OPENING + duration)
        wall = time.perf_counter() - began
    delivered = sum(s.bytes_in for s in received) - before[0]
    segments = delivered / SEGMENT
    return {"connections": connections, "accepted": len(received), "ns_per_segment": wall * 1e9 / segments,
            "events_per_segment": (env.calendar.executed - before[2]) / segments,
            "retransmits_per_segment": (sum(s.retransmits for s in senders) - before[1]) / segments,
            "delivered_gbps": delivered * 8 / duration / 1e9}
