"""The benchmark workloads: A, Poisson UDP through the host's NAT over a WAN; B, CUBIC bulk flows on the same path."""
from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from typing import Any

from simcore.docker.host import DockerHost, Internet, LinkParameters
from simcore.docker.ipam import mac_of
from simcore.engine import Environment, Streams
from simcore.net.link import Link, plug
from simcore.study.garbage import frozen
from simcore.traffic.frames import Reflector
from simcore.traffic.udp import UdpSink, UdpSource
from simcore.transport import TcpListener, TcpSocket

CONTAINER = LinkParameters(1e9, 5e-6, 1000)
HOST = LinkParameters(1e9, 50e-6, 1000)
WAN = LinkParameters(200e6, 10e-3, 100)
PER_BRIDGE = 1000
RATE = 22500.0
SEGMENT = 1448
SERVER = "93.184.216.34"


def _topology(containers: int, seed: int, engine: str, sysctl: dict[str, float | str] | None = None,
              links: tuple[LinkParameters, LinkParameters, LinkParameters] = (CONTAINER, HOST, WAN),
              ) -> tuple[Environment, DockerHost, Internet, Any, Streams]:
    env = Environment(engine=engine)
    streams = Streams(seed)
    host = DockerHost(env, streams)
    bridges = max(1, -(-containers // PER_BRIDGE))
    if containers > PER_BRIDGE:
        bridges = max(4, bridges)
    for b in range(bridges):
        host.add_network("bridge" if b == 0 else f"net{b}", f"172.{17 + b}.0.0/16")
    names = list(host.networks)
    for i in range(containers):
        host.add_container(f"c{i}", {names[i % bridges]: None}, sysctl)
    host.start(links[0])
    # everybody knows everybody, as on a host that has been up for a while: thousands of first ARP requests, each flooded to
    # a thousand ports, would be most of a short run
    for container in host.containers.values():
        [(name, address)] = container.addresses.items()
        network = host.networks[name]
        container.namespace.add_neighbour(network.pool.gateway, mac_of(network.pool.gateway), "eth0")
        host.namespace.add_neighbour(address, mac_of(address), network.interface)
        host.namespace.add_fdb(mac_of(address), f"veth-{container.name}")
    internet = Internet(env, streams)
    internet.connect(host, links[1])
    server = internet.add_server("web", SERVER, 24, links[2])
    return env, host, internet, server, streams


def _uploads(env: Environment, server: Any, starts: Iterable[tuple[Any, float]], congestion: str | None = None,
             idle: float = 0.0, **listener: Any) -> tuple[list[TcpSocket], list[TcpSocket]]:
    """Uploads without end to the server's port 80, from a namespace at a time each; senders and receivers as they come.

    Connections are `idle` seconds old when they begin to send.
    """
    senders: list[TcpSocket] = []
    received: list[TcpSocket] = []

    def serve() -> Any:
        accepting = TcpListener(server, 80, discard=True, **listener)
        while True:
            received.append((yield accepting.accept()))

    def upload(ns: Any, start: float) -> Any:
        yield env.timeout(start)
        sock = TcpSocket(ns, congestion=congestion)
        senders.append(sock)
        yield sock.connect(SERVER, 80)
        if idle:
            yield env.timeout(idle)
        while True:
            yield sock.send(1 << 20)

    env.process(serve())
    for ns, start in starts:
        env.process(upload(ns, start))
    return senders, received


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def wan_udp(containers: int = 8, duration: float = 10.0, seed: int = 1, engine: str = "compiled") -> dict[str, Any]:
    """Workload A; the figures of one run.

    Returns
    -------
    dict
        wall_s, packets (crossed or dropped), dropped, ns_per_packet, mean_wait_us at the WAN queue,
        delivered_mbps, and what was asked for.
    """
    env, host, internet, server, streams = _topology(containers, seed, engine)
    sink = UdpSink(server, 9)
    sources = [UdpSource(c.namespace, SERVER, 9, 5000, RATE / containers, 1000, streams[f"source/{i}"], stop=duration)
               for i, c in enumerate(host.containers.values())]
    wan = internet.links["router/eth1"]
    with frozen():
        began = time.perf_counter()
        env.run(until=duration + 1.0)
        wall = time.perf_counter() - began
    dropped = sum(s.sent for s in sources) - sink.packets
    packets = sink.packets + dropped
    return {"workload": "wan-udp", "engine": engine, "containers": containers, "duration_s": duration, "wall_s": wall,
            "packets": packets, "dropped": dropped, "ns_per_packet": wall * 1e9 / max(packets, 1),
            "mean_wait_us": wan.waited / max(wan.packets, 1) * 1e6, "delivered_mbps": sink.bytes * 8 / duration / 1e6,
            "conntrack_entries": len(host.namespace.netfilter), "events": env.calendar.executed, "peak_memory_bytes": _memory()}


def calendar(links: int = 1000, events: int = 2_000_000, seed: int = 1) -> dict[str, Any]:
    """The bare engine: `links` links with a frame on each, which a device sends back at once; ns per event.

    Their latencies differ, so that the calendar holds `links` events in random order.
    """
    env, rng = Environment(), Streams(seed)["latencies"]
    mirror = Reflector(env, "mirror", links)
    for port, latency in enumerate(rng.uniform(0.5e-3, 1.5e-3, links)):
        plug(mirror, port, Link(env, f"l{port}", mirror, port, 0.0, float(latency)))
        mirror.start(port)
    env.run(until=2e-3)                 # every link's ring and every frame has been touched
    before = env.calendar.executed
    with frozen():
        began = time.perf_counter()
        env.run(until=2e-3 + events / links * 1e-3)
        wall = time.perf_counter() - began
    done = env.calendar.executed - before
    return {"workload": "calendar", "links": links, "events": done, "wall_s": wall, "ns_per_event": wall * 1e9 / done,
            "peak_memory_bytes": _memory()}


def wan_tcp(containers: int = 8, duration: float = 20.0, seed: int = 1, engine: str = "compiled", congestion: str = "cubic",
            spread: float = 0.0, uncounted: float = 0.0, sysctl: dict[str, float | str] | None = None) -> dict[str, Any]:
    """Workload B; the figures of one run, per delivered segment of 1448 bytes.

    Parameters
    ----------
    spread : float
        Flows start at random within this many seconds; a millisecond apart if 0.
    uncounted : float
        Seconds at the beginning that goodput, loss and queue are not taken from.
    sysctl : dict, optional
        Of the containers.
    """
    env, host, internet, server, streams = _topology(containers, seed, engine, sysctl)
    starts = streams["starts"].uniform(0, spread, containers) if spread else [i * 1e-3 for i in range(containers)]
    senders, received = _uploads(env, server, [(c.namespace, float(at)) for c, at in zip(host.containers.values(), starts, strict=True)],
                                 congestion)
    wan = internet.links["router/eth1"]
    with frozen():
        began = time.perf_counter()
        if uncounted:
            env.run(until=uncounted)
        before = [s.bytes_in for s in received], wan.dropped, wan.packets, wan.queue_seconds
        env.run(until=duration)
        wall = time.perf_counter() - began
    segments = sum(s.bytes_in for s in received) / SEGMENT
    counted = duration - uncounted
    flows = [s.bytes_in - b for s, b in zip(received, before[0] or [0] * len(received), strict=True)]
    delivered, dropped, taken = sum(flows), wan.dropped - before[1], wan.packets - before[2]
    return {"workload": "wan-tcp", "engine": engine, "containers": containers, "duration_s": duration, "wall_s": wall,
            "packets": round(segments), "dropped": dropped, "loss": dropped / max(dropped + taken, 1),
            "mean_queue": (wan.queue_seconds - before[3]) / counted, "ns_per_packet": wall * 1e9 / max(segments, 1),
            "mean_wait_us": wan.waited / max(wan.packets, 1) * 1e6, "delivered_mbps": delivered * 8 / counted / 1e6,
            "retransmits": sum(s.retransmits for s in senders), "flow_mbps": [round(b * 8 / counted / 1e6, 2) for b in flows],
            "events": env.calendar.executed, "peak_memory_bytes": _memory()}
