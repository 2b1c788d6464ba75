"""TBF, HTB and TCP against this machine's kernel, where root: counts to three packets, times to a few per cent.

A kernel's clock is not exact, so the best of some tries counts; what is compared is set by the token bucket.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from simcore.engine import Environment, Streams
from simcore.net.cable import LinkParameters
from simcore.net.link import Link, plug
from simcore.net.qdisc import build
from simcore.traffic.frames import FrameSink, FrameSource
from simcore.transport import TcpListener, TcpSocket
from tests.kernel.rig_up import RIG_MISSING
from tests.transport.net import Pair, Process

pytestmark = pytest.mark.skipif(bool(RIG_MISSING) or shutil.which("tc") is None, reason=RIG_MISSING or "needs tc")

A, B = f"sq{os.getpid()}a", f"sq{os.getpid()}b"
RATE = 10e6

SERVER = """
import socket
s = socket.socket()
s.bind(("10.9.0.2", 5000))
s.listen()
print("up", flush=True)
while True:
    c, _ = s.accept()
    while c.recv(65536):
        pass
    c.send(b"x")
    c.close()
"""
CLIENT = """
import socket, sys, time
t = time.perf_counter()
s = socket.create_connection(("10.9.0.2", 5000))
s.sendall(bytes(int(sys.argv[1])))
s.shutdown(1)
s.recv(1)
print(time.perf_counter() - t)
"""
RECEIVE = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.setsockopt(socket.SOL_SOCKET, 35, 1)          # SO_TIMESTAMPNS
s.bind(("v0", 0x88b5))
s.settimeout(1)
print("up", flush=True)
try:
    while True:
        data, extra, flags, address = s.recvmsg(2000, 200)
        for level, kind, value in extra:
            if kind == 35:
                print("%d.%09d" % struct.unpack("qq", value), flush=True)
except TimeoutError:
    pass
"""
SEND = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("v0", 0))
frame = b"\\xff" * 6 + b"\\x02\\0\\0\\0\\0\\x01" + b"\\x88\\xb5" + bytes(986)
for _ in range(100):
    try:
        s.send(frame)
    except OSError:                             # ENOBUFS: the qdisc dropped it
        pass
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def pair() -> Iterator[Callable[..., None]]:
    """Two namespaces with a veth between; yields a function that sets A's root qdisc."""
    for name in (A, B):
        run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "v0", "netns", A, "type", "veth", "peer", "name", "v0", "netns", B)
        for name, host in ((A, 1), (B, 2)):
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.v0.disable_ipv6=1")
            run("ip", "-n", name, "addr", "add", f"10.9.0.{host}/24", "dev", "v0")
            run("ip", "-n", name, "link", "set", "v0", "up")
            subprocess.run(["ip", "netns", "exec", name, "ethtool", "-K", "v0", "tso", "off", "gso", "off", "gro", "off"],
                           check=False, capture_output=True)

        def qdisc(*words: str) -> None:
            subprocess.run(["tc", "-n", A, "qdisc", "del", "dev", "v0", "root"], check=False, capture_output=True)
            for line in " ".join(words).split(";"):
                kind, *rest = line.split()
                run("tc", "-n", A, kind, "add", "dev", "v0", *rest)
        yield qdisc
    finally:
        for name in (A, B):
            subprocess.run(["ip", "netns", "del", name], check=False)


def inside(name: str, code: str, *arguments: str) -> list[str]:
    return ["ip", "netns", "exec", name, sys.executable, "-c", code, *arguments]


def kernel_burst() -> np.ndarray[Any, Any]:
    """Arrival times of what a burst of 100 frames of 1000 bytes leaves behind, the first at 0."""
    receiver = subprocess.Popen(inside(B, RECEIVE), stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    receiver.stdout.readline()
    subprocess.run(inside(A, SEND), check=True)
    out, _ = receiver.communicate(timeout=20)
    times = np.array([float(t) for t in out.split()])
    return times - times[0]


def our_burst(spec: dict[str, Any]) -> np.ndarray[Any, Any]:
    env, streams = Environment(), Streams(1)
    sink = FrameSink(env, "sink", keep_arrivals=True)
    plug(FrameSource(env, "s", 2.5e5, 1000, stop=100.5 / 2.5e5), 0, Link(env, "v0", sink, 0, qdisc=build(spec, streams["q"])))
    env.run()
    times = np.array([t for t, *_ in sink.arrivals or []])
    return times - times[0]


CASES: list[tuple[str, dict[str, Any]]] = [
    ("qdisc root tbf rate 10mbit burst 10000 limit 100000", {"kind": "tbf", "rate": "10Mbit", "burst": 10000, "limit": 100000}),
    ("qdisc root tbf rate 10mbit burst 5000 limit 20000", {"kind": "tbf", "rate": "10Mbit", "burst": 5000, "limit": 20000}),
    ("qdisc root handle 1: htb default 10; class parent 1: classid 1:10 htb rate 10mbit burst 5000 cburst 5000;"
     "qdisc parent 1:10 pfifo limit 20",
     {"kind": "htb", "default": "x", "classes": {"x": {"rate": "10Mbit", "burst": 5000, "cburst": 5000,
                                                      "qdisc": {"kind": "pfifo", "limit": 20}}}}),
]


@pytest.mark.parametrize(("words", "spec"), CASES, ids=["tbf", "tbf-drops", "htb"])
def test_a_burst_leaves_as_from_the_kernel(pair: Callable[..., None], words: str, spec: dict[str, Any]) -> None:
    ours = our_burst(spec)
    tries = []
    for _ in range(4):
        pair(words)
        kernel = kernel_burst()
        n = min(len(kernel), len(ours))
        tries.append((abs(len(kernel) - len(ours)), float(np.median(np.abs(kernel[:n] - ours[:n]))), kernel[n - 1] / ours[n - 1]))
        if tries[-1][0] <= 3 and tries[-1][1] < 1.5e-3 and abs(tries[-1][2] - 1) < 0.03:
            return
    pytest.fail(f"packets apart, median time apart, ratio of spans: {tries}")


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_transfers_take_as_long_as_the_kernels(pair: Callable[..., None], size: int) -> None:
    pair("qdisc root tbf rate 10mbit burst 5000 limit 50000")
    server = subprocess.Popen(inside(B, SERVER), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        kernel = min(float(subprocess.run(inside(A, CLIENT, str(size)), check=True, capture_output=True, text=True).stdout)
                     for _ in range(3))
    finally:
        server.kill()
        server.wait()
    sim = Pair(LinkParameters(0, 5e-6, 1000, {"kind": "tbf", "rate": "10Mbit", "burst": 5000, "limit": 50000}), LinkParameters(0, 5e-6))
    took: list[float] = []

    def serve() -> Process:
        sock = yield TcpListener(sim.b, 80).accept()
        while (yield sock.recv_count()):
            pass
        yield sock.send(b"x")
        yield sock.close()

    def client() -> Process:
        yield sim.env.timeout(1)
        sock = TcpSocket(sim.a)
        yield sock.connect("10.0.0.2", 80)
        yield sock.send(size)
        sock.close()
        yield sock.recv()
        took.append(sim.env.now - 1)
    sim.env.process(serve())
    sim.env.process(client())
    sim.env.run(until=60)
    assert took[0] == pytest.approx(kernel, rel=0.1)
