"""Memory: what a packet in flight takes, what a connection takes, and that long runs hold flat."""
from __future__ import annotations

import subprocess
import sys

from simcore.net.interface import Interface
from simcore.net.link import Link
from simcore.traffic.udp import UdpSource

PACKETS = """
import resource
from simcore.engine import Environment, Streams
from simcore.net.link import Link, plug
from simcore.traffic.frames import FrameSink, FrameSource
env, streams = Environment(), Streams(1)
sink = FrameSink(env, "sink")
link = Link(env, "l", sink, 0, 0.0, 1.0)
source = FrameSource(env, "s", {rate}, 1000, streams["s"])
plug(source, 0, link)
env.run(until=0.01)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
env.run(until=1.0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / link.in_flight, link.in_flight)
"""
FLAT = """
import resource
from simcore.study import bench
from simcore.traffic.udp import UdpSink, UdpSource
from simcore.transport import TcpListener, TcpSocket
env, host, internet, server, streams = bench._topology(8, 1, "compiled")
UdpSink(server, 9)
TcpListener(server, 80, discard=True)
def upload(ns):
    sock = TcpSocket(ns)
    yield sock.connect(bench.SERVER, 80)
    while True:
        yield sock.send(1 << 20)
keep = []
for i, c in enumerate(host.containers.values()):
    keep.append(UdpSource(c.namespace, bench.SERVER, 9, 5000, 1000, 1000, streams[str(i)]))
    env.process(upload(c.namespace))
env.run(until=5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
env.run(until=65)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
CONNECTIONS = """
import resource
from simcore.engine import Environment, Streams
from simcore.net.cable import LinkParameters
from tests.transport.net import Pair
from simcore.traffic.distributions import Distribution
from simcore.traffic.load import LoadClients
from simcore.traffic.server import Server
pair = Pair(LinkParameters(0, 1e-3))
Server(pair.b, 80)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clients = LoadClients(pair.a, ["10.0.0.2"], 80, 10000, Distribution(10), Distribution(100), Distribution(1000),
                      pair.streams["l"], sndbuf=65536)
pair.env.run(until=25)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 20000, clients.connections, clients.finished)
"""


def run(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(x) for x in done.stdout.split()]


def test_a_packet_in_flight_takes_less_than_300_bytes() -> None:
    per_packet, in_flight = run(PACKETS.format(rate=400_000))
    assert in_flight > 390_000
    assert per_packet < 300


def test_long_runs_hold_flat() -> None:
    [grown] = run(FLAT)
    assert grown < 2048                     # KiB, after more than a million packets


def test_an_end_of_a_connection_takes_less_than_one_and_a_half_kilobytes() -> None:
    per_end, connections, finished = run(CONNECTIONS)
    assert connections == 10000
    assert finished >= 20000
    assert per_end < 1536


def test_what_thousands_have_of_begins_at_cache_lines() -> None:
    """Python's allocator lays objects of a size out one after another, from a line's beginning on: so do those of whole lines.

    What a packet touches of them is laid out by lines; with sizes that are none it would lie across more of them.
    """
    garbage_header = 16
    for kind in (Interface, Link, UdpSource):
        assert (kind.__basicsize__ + garbage_header + 15) // 16 * 16 % 64 == 0, kind
