"""A full neighbour table in this machine's kernel, and in ours (where root)."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.rig_up import RIG_MISSING
from tests.net.test_neighbours import Crowd

LIMIT = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
A, B = "natneigha", "natneighb"
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(1, int(sys.argv[1]) + 1):
    s.sendto(b"x", (f"10.9.{i >> 8}.{i & 255}", 9999))
"""
ASK = """
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
s.bind(("va", 0))
s.settimeout(1)
mac = s.getsockname()[4]
request = struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + mac + bytes([10, 9, 250, 1]) + bytes(6) + bytes([10, 9, 0, 1])
s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + request)
try:
    while s.recv(100)[20:22] != b"\\x00\\x02":
        pass
    print("answered")
except TimeoutError:
    print("silence")
"""


def ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


def inside(namespace: str, program: str, *args: str) -> str:
    return ip("netns", "exec", namespace, sys.executable, "-c", program, *args)


@pytest.fixture
def two_namespaces() -> Iterator[None]:
    """Joined by a veth pair; b has all of 10.9.0.0/18."""
    for name in (A, B):
        ip("netns", "add", name)
    try:
        ip("link", "add", "va", "netns", A, "type", "veth", "peer", "name", "vb", "netns", B)
        for name, dev, address in ((A, "va", "10.9.255.254/16"), (B, "vb", "10.9.255.253/16")):
            ip("-n", name, "address", "add", address, "dev", dev)
            ip("-n", name, "link", "set", dev, "up")
        ip("-n", B, "link", "set", "lo", "up")
        ip("-n", B, "route", "add", "local", "10.9.0.0/18", "dev", "lo")
        yield
    finally:
        for name in (A, B):
            ip("netns", "delete", name)


@pytest.mark.skipif(bool(RIG_MISSING), reason=RIG_MISSING or "-")
@pytest.mark.usefixtures("two_namespaces")
def test_the_kernels_table_fills_as_ours() -> None:
    limit = int(LIMIT.read_text())
    if limit > 4096:
        pytest.skip(f"gc_thresh3 is {limit} here: too many to fill")
    many = limit + 300
    inside(A, SEND, str(many))
    known = {line.split()[0] for line in ip("-n", A, "neighbour").splitlines() if "FAILED" not in line}
    others = len(ip("-n", B, "neighbour").splitlines())
    crowd = Crowd((0, limit // 2, limit - others))
    crowd.ping(1, many)
    crowd.env.run(until=0.5)
    ours = {address for address, *_ in crowd.ns.neighbour_table()}
    # what else this machine talks to has its entries, too
    assert len(ours) - 8 <= len(known) <= len(ours)
    assert known <= ours
    assert inside(A, ASK).strip() == "silence"          # b cannot remember who asks
