"""Neighbours as Linux 6.18 has them: when they are asked, when not, and how many a machine remembers.

The numbers of the full table were measured in two network namespaces on a machine with the default thresholds; `test_live.py`
fills the kernel's table again.
"""
from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from typing import Any

import pytest

from simcore.engine import Environment
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.net.neighbours import ArpCache
from simcore.net.probe import inject
from simcore.transport import PingSocket, TcpListener, TcpSocket

ME = "10.9.255.254"
OTHER_MAC = bytes.fromhex("020000000002")


def arp(op: int, sender_mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, op) + sender_mac + ipaddress.IPv4Address(sender).packed
    to = target_mac if any(target_mac) else b"\xff" * 6
    return to + sender_mac + b"\x08\x06" + body + target_mac + ipaddress.IPv4Address(target).packed


class Everybody(PythonDevice):
    """Answers for every address, and notes what it saw."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "everybody", 1)
        self.requests = self.replies = self.datagrams = 0

    def on_frame(self, frame: bytes, port: int) -> None:
        if frame[12:14] != b"\x08\x06":
            self.datagrams += 1
        elif frame[21] == 2:
            self.replies += 1
        else:
            self.requests += 1
            self.transmit(arp(2, OTHER_MAC, str(ipaddress.IPv4Address(frame[38:42])), frame[6:12], ME), port)


class Crowd:
    """A machine that talks to many."""

    def __init__(self, thresholds: tuple[int, int, int] = (128, 512, 1024)) -> None:
        self.env = Environment()
        names = [f"net.ipv4.neigh.default.gc_thresh{i}" for i in (1, 2, 3)]
        self.ns = Namespace(self.env, "a", dict(zip(names, thresholds, strict=True)))
        self.ns.add_interface("eth0", "02:00:00:00:00:01")
        self.ns.add_address("eth0", f"{ME}/16")
        self.others = Everybody(self.env)
        wire(self.env, self.ns, 0, self.others, 0, latency=1e-4)

    def ping(self, first: int, count: int) -> None:
        """One each to so many addresses, of whom none answers."""
        def process(address: str, number: int) -> Any:
            yield PingSocket(self.ns, number).echo(address, timeout=0.5)
        for i in range(first, first + count):
            self.env.process(process(str(ipaddress.IPv4Address("10.9.0.0") + i), i))

    def states(self) -> dict[str, int]:
        return dict(Counter(state for *_, state in self.ns.neighbour_table()))


def test_a_full_table_takes_nobody_and_answers_nobody() -> None:
    crowd = Crowd()
    crowd.ping(1, 1300)
    crowd.env.run(until=1)
    assert crowd.states() == {"REACHABLE": 1024}
    assert crowd.ns.drops == {"neighbour table overflow": 1300 - 1024}
    assert crowd.others.datagrams == 1024
    assert crowd.ns.arp_cache.overflows == 1300 - 1024
    # somebody asks for us: an answer would need an entry
    inject(crowd.ns, 0, arp(1, OTHER_MAC, "10.9.250.1", bytes(6), ME))
    crowd.env.run(until=2)
    assert crowd.others.replies == 0
    # stale for five seconds: the oldest go, down to the middle threshold, for one that is new
    crowd.env.run(until=36)
    crowd.ping(3000, 1)
    crowd.env.run(until=36.01)
    assert crowd.states() == {"STALE": 511, "REACHABLE": 1}
    known = {address for address, *_ in crowd.ns.neighbour_table()}
    assert "10.9.2.1" not in known
    assert "10.9.2.2" in known
    # and after a minute all that nobody used
    crowd.env.run(until=130)
    crowd.ping(3001, 1)
    crowd.env.run(until=130.01)
    assert crowd.states() == {"REACHABLE": 1}


def test_permanent_entries_take_no_place() -> None:
    crowd = Crowd((0, 5, 10))
    for i in range(20):
        crowd.ns.add_neighbour(f"10.9.9.{i + 1}", "02:00:00:00:00:09", "eth0")
    crowd.ping(1, 12)
    crowd.env.run(until=1)
    assert crowd.states() == {"PERMANENT": 20, "REACHABLE": 10}
    inject(crowd.ns, 0, arp(1, OTHER_MAC, "10.9.9.3", bytes(6), ME))
    crowd.env.run(until=2)
    assert crowd.others.replies == 1


def test_namespaces_of_one_machine_share_the_table() -> None:
    env, cache = Environment(), ArpCache({"net.ipv4.neigh.default.gc_thresh2": 1, "net.ipv4.neigh.default.gc_thresh3": "1"})
    a, b = (Namespace(env, name, arp_cache=cache) for name in "ab")
    for i, ns in enumerate((a, b), 1):
        ns.add_interface("eth0", f"02:00:00:00:00:0{i}")
        ns.add_address("eth0", f"10.9.0.{i}/16")
    wire(env, a, 0, b, 0)
    got: list[float | None] = []

    def process() -> Any:
        got.append((yield PingSocket(a, 1).echo("10.9.0.2", timeout=1.0)))
    env.process(process())
    env.run(until=2)
    assert got == [None]
    assert len(cache) == cache.peak == 1
    assert b.drops == {"neighbour table overflow": 2}           # a's entry is the one there may be; b answers neither request
    with pytest.raises(ValueError, match=r"gc_thresh3 is the whole machine's"):
        Namespace(env, "c", {"net.ipv4.neigh.default.gc_thresh3": 5}, arp_cache=cache)
    with pytest.raises(ValueError, match=r"gc_thresh1: expected a number from 0"):
        ArpCache({"net.ipv4.neigh.default.gc_thresh1": "many"})


class Tee(PythonDevice):
    """A wire in two pieces, with an eye between them: when who asked for an address, and was it asked of one or all."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "tee", 2)
        self.asked: dict[str, list[tuple[int, bool]]] = {"10.0.0.1": [], "10.0.0.2": []}

    def on_frame(self, frame: bytes, port: int) -> None:
        if frame[12:14] == b"\x08\x06" and frame[21] == 1:
            self.asked[str(ipaddress.IPv4Address(frame[28:32]))].append((round(self.env.now), frame[0] == 255))
        self.transmit(frame, 1 - port)


def pair(env: Environment) -> tuple[Namespace, Namespace, Tee]:
    a, b, tee = Namespace(env, "a"), Namespace(env, "b"), Tee(env)
    for port, (ns, ip) in enumerate(((a, "10.0.0.1"), (b, "10.0.0.2"))):
        ns.add_interface("eth0", f"02:00:00:00:00:0{ip[-1]}")
        ns.add_address("eth0", f"{ip}/24")
        wire(env, ns, 0, tee, port, latency=1e-4)
    return a, b, tee


def test_who_was_asked_asks_back_after_five_seconds() -> None:
    """It has heard of the other, no more: it answers the ping at once, and then makes sure, of that MAC alone."""
    env = Environment()
    a, b, tee = pair(env)
    got: list[float | None] = []

    def process() -> Any:
        got.append((yield PingSocket(a, 1).echo("10.0.0.2")))
    env.process(process())
    env.run(until=1)
    assert got != [None]
    assert [entry[3] for ns in (a, b) for entry in ns.neighbour_table()] == ["REACHABLE", "DELAY"]
    env.run(until=20)
    assert [entry[3] for ns in (a, b) for entry in ns.neighbour_table()] == ["REACHABLE", "REACHABLE"]
    assert tee.asked == {"10.0.0.1": [(0, True)], "10.0.0.2": [(5, False)]}


def test_a_connection_that_gets_on_vouches_for_its_next_hop() -> None:
    """Who sends over TCP need not ask as long as segments are acknowledged; who only receives must (tcp_ack, dst_confirm)."""
    env = Environment()
    a, b, tee = pair(env)

    def serve() -> Any:
        yield TcpListener(b, 80, discard=True).accept()

    def client() -> Any:
        sock = TcpSocket(a)
        yield sock.connect("10.0.0.2", 80)
        while True:
            yield sock.send(1000)
            yield env.timeout(1.0)
    env.process(serve())
    env.process(client())
    env.run(until=90)
    assert tee.asked["10.0.0.1"] == [(0, True)]
    assert [broadcast for _, broadcast in tee.asked["10.0.0.2"]] == [False, False]      # each time that an answer was stale
