"""One connection over a long fast path that loses: what a segment costs when tens of thousands are in flight."""
from __future__ import annotations

import time
from typing import Any

from simcore.docker.host import LinkParameters
from simcore.study import bench
from simcore.study.garbage import frozen

MEMORY = 400 << 20          # bytes that an end may hold: no limit here


def long_path(rate: float = 5e9, rtt: float = 0.05, queue: int = 4000, congestion: str = "reno", duration: float = 1.5) -> dict[str, Any]:
    """Upload over `rate` bit/s; slow start overshoots, and a part of the window is lost and sent again.

    Returns
    -------
    dict
        ns_per_segment delivered, segments, retransmits; most_in_flight, in segments.
    """
    links = (LinkParameters(2 * rate, 5e-6, 100_000), LinkParameters(2 * rate, 50e-6, 100_000), LinkParameters(rate, rtt / 2, queue))
    env, host, _, server, _ = bench._topology(1, 1, "compiled", {"net.ipv4.tcp_wmem": f"4096 16384 {MEMORY}"}, links=links)
    [container] = host.containers.values()
    senders, received = bench._uploads(env, server, [(container.namespace, 0.0)], congestion, rcvbuf=MEMORY)
    most, began = 0, time.perf_counter()
    with frozen():
        while env.now < duration:
            env.run(until=env.now + rtt)
            most = max([most, *(s.inflight for s in senders)])
    wall = time.perf_counter() - began
    segments = sum(s.bytes_in for s in received) / bench.SEGMENT
    return {"ns_per_segment": wall * 1e9 / segments, "segments": segments, "retransmits": sum(s.retransmits for s in senders),
            "most_in_flight": most / bench.SEGMENT}
