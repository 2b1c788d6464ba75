"""A packet far outside the window of a connection behind NAT: conntrack calls it INVALID, so nobody translates it back,
so it is the host's own, so the host's stack answers it with a reset, and the server ends a healthy connection.

    simcore run examples/problems/invalid_reset.py

Cure: drop what is INVALID before the stack sees it (`CURE = True` below, or build(..., cure=True)).
"""
from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simcore.docker.compose import Compose
from simcore.measure.capture import FrameTap
from simcore.net.probe import inject
from simcore.study.scenario import World

CURE = False
DROP_INVALID = "-I INPUT -m conntrack --ctstate INVALID -j DROP"


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[i:i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def stray(frame: bytes, ahead: int) -> bytes:
    """The header of a captured frame again, without data, `ahead` bytes further on in the stream."""
    ip, tcp = bytearray(frame[14:34]), bytearray(frame[34:54])
    ip[2:4] = (40).to_bytes(2, "big")
    ip[10:12] = b"\0\0"
    ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    tcp[4:8] = ((int.from_bytes(tcp[4:8], "big") + ahead) % 2**32).to_bytes(4, "big")
    tcp[12] = 5 << 4
    tcp[16:18] = b"\0\0"
    pseudo = bytes(ip[12:20]) + b"\0\x06\0\x14"
    tcp[16:18] = checksum(pseudo + bytes(tcp)).to_bytes(2, "big")
    return frame[:14] + bytes(ip) + bytes(tcp)


def build(seed: int | None = None, engine: str = "compiled", cure: bool = CURE) -> World:
    """A download of 5 MB; after 300 ms one stray packet arrives from the server's side."""
    world = World(Compose.model_validate({"services": {"app": {}}, "x-simcore": {
        "duration": "20s", "host": {"iptables": [DROP_INVALID] if cure else []},
        "links": {"host": {"rate": "1Gbit", "latency": "50us"}, "server": {"rate": "100Mbit", "latency": "10ms"}},
        "servers": {"web": {"address": "93.184.216.34", "http": {"port": 80, "size": 5_000_000}}},
        "workloads": [{"kind": "http", "from": "app", "to": "web", "source-port": 12345}]}}), seed, engine)
    env, host = world.env, world.host.namespace
    outside = host.interface("eth0")
    last = b""

    def remember(time: float, frame: bytes, outgoing: bool) -> None:
        nonlocal last
        if frame[23] == 6 and frame[34:36] == (80).to_bytes(2, "big"):      # from the server
            last = frame
    outside.tap = FrameTap(remember)

    def trouble() -> Generator[Any, Any, None]:
        yield env.timeout(0.3)
        inject(host, outside.port, stray(last, 0x20000000))
    env.process(trouble())
    return world
