"""Thousands of TCP connections through one host: what a segment costs when their state is cold."""
from __future__ import annotations

import time
from typing import Any

from simcore.docker.host import LinkParameters
from simcore.study import bench
from simcore.study.garbage import frozen

ALONE = 0.05                # s that the first connection is ahead: all others' SYNs would wait for the ARP answers that it needs
CONNECTING = 0.25           # s in which the others connect, and then begin to send
OPENING = 1.0               # s until what follows is timed


def many_tcp(connections: int, containers: int, rate: float = 10e9, duration: float = 1.0, seed: int = 1,
             window: int | None = None) -> dict[str, Any]:
    """CUBIC uploads without end from `containers` containers over a WAN of `rate` bit/s and 10 ms.

    Thousands of connections over the link of a few are another workload, not only colder: with windows of a segment or two
    every segment has its own ACK, and a third is sent again. What a segment costs is told apart from that by links that
    leave each connection a window of several segments; and by receivers that offer `window` bytes at most, from what is lost.

    Returns
    -------
    dict
        ns_per_segment delivered, events_per_segment, retransmits_per_segment, delivered_gbps; connections accepted.
    """
    links = LinkParameters(rate / 4, 5e-6, 4000), LinkParameters(rate, 50e-6, 4000), LinkParameters(rate, 10e-3, 4000)
    env, host, _, server, _ = bench._topology(containers, seed, "compiled", links=links)
    namespaces = [c.namespace for c in host.containers.values()]
    starts = [(namespaces[i % containers], ALONE + i * CONNECTING / connections if i else 0.0) for i in range(connections)]
    senders, received = bench._uploads(env, server, starts, idle=CONNECTING, backlog=2 * connections, rcvbuf=window)
    with frozen():
        env.run(until=OPENING)
        before = sum(s.bytes_in for s in received), sum(s.retransmits for s in senders), env.calendar.executed
        began = time.perf_counter()
        env.run(until=OPENING + duration)
        wall = time.perf_counter() - began
    delivered = sum(s.bytes_in for s in received) - before[0]
    segments = delivered / bench.SEGMENT
    return {"connections": connections, "accepted": len(received), "ns_per_segment": wall * 1e9 / segments,
            "events_per_segment": (env.calendar.executed - before[2]) / segments,
            "retransmits_per_segment": (sum(s.retransmits for s in senders) - before[1]) / segments,
            "delivered_gbps": delivered * 8 / duration / 1e9}
