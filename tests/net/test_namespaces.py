"""Namespaces do not notice each other; ARP, FDB ageing, unreachable neighbours, routes, ICMP."""
from __future__ import annotations

from typing import Any

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether

from natfast import Rules
from simcore.engine import Environment
from simcore.measure.capture import FrameTap
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.net.probe import Collector, inject
from simcore.traffic.udp import UdpSource
from simcore.transport import PingSocket, TcpSocket, UdpSocket


def pair(env: Environment, name: str, latency: float = 1e-3) -> tuple[Namespace, Namespace]:
    a, b = Namespace(env, f"{name}-a"), Namespace(env, f"{name}-b")
    for ns, ip in ((a, "10.0.0.1"), (b, "10.0.0.2")):
        ns.add_interface("eth0", f"02:00:00:00:00:0{ip[-1]}")
        ns.add_address("eth0", f"{ip}/24")
    wire(env, a, 0, b, 0, latency=latency)
    return a, b


def ping(env: Environment, ns: Namespace, to: str, results: list[float | None], **options: Any) -> None:
    def process() -> Any:
        results.append((yield PingSocket(ns, len(results) + 7).echo(to, **options)))
    env.process(process())


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_same_addresses_in_two_worlds(engine: str) -> None:
    env = Environment(engine=engine)
    (a1, b1), (a2, b2) = pair(env, "one", 1e-3), pair(env, "two", 2e-3)
    one: list[float | None] = []
    two: list[float | None] = []
    ping(env, a1, "10.0.0.2", one)
    ping(env, a2, "10.0.0.2", two)
    env.run()
    assert one == pytest.approx([4e-3])
    assert two == pytest.approx([8e-3])
    assert [e[0] for e in b1.neighbour_table()] == ["10.0.0.1"]
    assert b2.interface("eth0").rx_packets == 3         # ARP, ping, and five seconds later the answer to ARP of its own


def test_arp_retries_and_gives_up_with_host_unreachable() -> None:
    env = Environment()
    ns = Namespace(env, "a")
    ns.add_interface("eth0", "02:00:00:00:00:01")
    ns.add_address("eth0", "10.0.0.1/24")
    wires = Collector(env, "wires", 1)
    wire(env, ns, 0, wires, 0)
    errors: list[str] = []

    def process() -> Any:
        sock = UdpSocket(ns, 1000)
        sock.sendto(b"x", "10.0.0.9", 9)
        try:
            yield sock.recvfrom()
        except OSError as error:
            errors.append(f"{env.now:.0f} {error}")

    env.process(process())
    env.run()
    requests = [Ether(f)[ARP] for _, f in wires.frames]
    assert [(r.op, r.pdst, r.psrc) for r in requests] == [(1, "10.0.0.9", "10.0.0.1")] * 3
    assert errors == ["3 [Errno 113] EHOSTUNREACH: No route to host"]
    assert ns.drops == {"neighbour unreachable": 1}


def test_neighbour_goes_stale_and_is_probed() -> None:
    env = Environment()
    a, b = pair(env, "n")
    results: list[float | None] = []
    ping(env, a, "10.0.0.2", results)
    env.run(until=10)
    assert a.neighbour_table()[0][3] == "REACHABLE"
    env.run(until=40)
    assert a.neighbour_table()[0][3] == "STALE"
    ping(env, a, "10.0.0.2", results)
    env.run(until=41)
    assert a.neighbour_table()[0][3] == "DELAY"
    env.run(until=46)
    assert a.neighbour_table()[0][3] == "REACHABLE"
    assert len(results) == 2


def bridge(env: Environment) -> tuple[Namespace, Collector]:
    host = Namespace(env, "host")
    host.add_bridge("br0", "02:00:00:00:00:ff")
    wires = Collector(env, "wires", 3)
    for i in range(3):
        host.add_interface(f"p{i}", f"02:00:00:00:01:0{i}")
        host.enslave(f"p{i}", "br0")
        wire(env, host, i, wires, i)
    return host, wires


def test_bridge_learns_and_forgets() -> None:
    env = Environment()
    host, wires = bridge(env)
    frame = bytes(Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b", type=0x88B5) / b"hello")
    back = bytes(Ether(src="02:00:00:00:00:0b", dst="02:00:00:00:00:0a", type=0x88B5) / b"hello")

    def ports() -> list[int]:
        env.run(until=env.now + 1e-6)
        out = [p for p, _ in wires.frames]
        wires.frames.clear()
        return out

    inject(host, 0, frame)
    assert ports() == [2, 1]                        # the newest port first
    inject(host, 1, back)
    assert ports() == [0]
    inject(host, 0, frame)
    assert ports() == [1]
    assert host.fdb_table() == [("02:00:00:00:00:0a", "p0", False), ("02:00:00:00:00:0b", "p1", False)]
    env.run(until=400)
    inject(host, 0, frame)
    assert ports() == [2, 1]                        # the newest port first


def test_longest_prefix_wins_and_ttl_is_answered() -> None:
    env = Environment()
    router = Namespace(env, "router", {"net.ipv4.ip_forward": 1})
    wires = Collector(env, "wires", 3)
    for i, net in enumerate(("10.0.0", "10.1.0", "10.2.0")):
        router.add_interface(f"eth{i}", f"02:00:00:00:02:0{i}")
        router.add_address(f"eth{i}", f"{net}.1/24")
        router.add_neighbour(f"{net}.2", f"02:00:00:00:03:0{i}", f"eth{i}")
        wire(env, router, i, wires, i)
    router.add_route("default", "eth1", "10.1.0.2")
    router.add_route("8.8.0.0/16", "eth2", "10.2.0.2")
    router.add_route("8.8.8.0/24", "eth1", "10.1.0.2")

    def send(dst: str, ttl: int = 64) -> list[tuple[int, IP]]:
        inject(router, 0, bytes(Ether(src="02:00:00:00:03:00", dst="02:00:00:00:02:00") / IP(src="10.0.0.2", dst=dst, ttl=ttl) / UDP()))
        env.run(until=env.now + 1e-6)
        out = [(p, Ether(f)[IP]) for p, f in wires.frames]
        wires.frames.clear()
        return out

    assert [(p, x.ttl) for p, x in send("8.8.4.4")] == [(2, 63)]
    assert [p for p, _ in send("8.8.8.8")] == [1]
    assert [p for p, _ in send("1.2.3.4")] == [1]
    [(port, answer)] = send("8.8.8.8", ttl=1)
    assert (port, answer.src, answer[ICMP].type) == (0, "10.0.0.1", 11)
    for _ in range(10):
        send("8.8.8.8", ttl=1)
    assert send("8.8.8.8", ttl=1) == [], "icmp_ratelimit: a burst of 6, then one a second"


def test_each_interface_forwards_or_not() -> None:
    env = Environment()
    router = Namespace(env, "router", {"net.ipv4.conf.all.forwarding": 1, "net.ipv4.conf.eth1.forwarding": 0})
    wires = Collector(env, "wires", 2)
    for i in range(2):
        router.add_interface(f"eth{i}", f"02:00:00:00:02:0{i}")
        router.add_address(f"eth{i}", f"10.{i}.0.1/24")
        router.add_neighbour(f"10.{i}.0.2", f"02:00:00:00:03:0{i}", f"eth{i}")
        wire(env, router, i, wires, i)
    for here, there in ((0, 1), (1, 0)):
        inject(router, here, bytes(Ether(dst=f"02:00:00:00:02:0{here}") / IP(src=f"10.{here}.0.2", dst=f"10.{there}.0.2") / UDP()))
    env.run(until=1e-6)
    assert [port for port, _ in wires.frames] == [1]
    assert router.drops == {"forwarding is off": 1}


def test_what_is_sent_has_the_namespaces_ttl_unless_its_own() -> None:
    env = Environment()
    host = Namespace(env, "host", {"net.ipv4.ip_default_ttl": 9})
    wires = Collector(env, "wires", 1)
    host.add_interface("eth0", "02:00:00:00:00:01")
    host.add_address("eth0", "10.0.0.1/24")
    host.add_neighbour("10.0.0.2", "02:00:00:00:00:02", "eth0")
    wire(env, host, 0, wires, 0)
    udp = UdpSocket(host, 1000)
    udp.sendto(b"x", "10.0.0.2", 9)
    udp.sendto(b"x", "10.0.0.2", 9, ttl=3)
    PingSocket(host).echo("10.0.0.2", ttl=255)
    TcpSocket(host).connect("10.0.0.2", 80)
    inject(host, 0, bytes(Ether(dst="02:00:00:00:00:01") / IP(src="10.0.0.2", dst="10.0.0.1") / ICMP()))
    env.run(until=0.5)
    assert [Ether(f)[IP].ttl for _, f in wires.frames] == [9, 3, 255, 9, 9]
    for ttl in (0, 256):
        with pytest.raises(OSError, match="EINVAL"):
            udp.sendto(b"x", "10.0.0.2", 9, ttl=ttl)


def test_big_packets_are_fragmented_and_reassembled() -> None:
    env = Environment()
    a, b = pair(env, "f")
    got: list[bytes] = []

    def receiver() -> Any:
        data, address, port = yield UdpSocket(b, 9).recvfrom()
        got.append(data)
        assert (address, port) == ("10.0.0.1", 1000)

    env.process(receiver())
    results: list[float | None] = []
    ping(env, a, "10.0.0.2", results, size=4000)
    env.run(until=1)
    assert results
    assert results[0] is not None
    UdpSocket(a, 1000).sendto(bytes(range(256)) * 20, "10.0.0.2", 9)
    env.run(until=2)
    assert got == [bytes(range(256)) * 20]
    assert b.interface("eth0").rx_packets > 6


def router(rules: Rules | None = None) -> tuple[Environment, Namespace, Collector]:
    """One interface; what goes to 10.1/16 leaves by where it came in."""
    env = Environment()
    ns = Namespace(env, "r", {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0}, rules)
    ns.add_interface("eth0", "02:00:00:00:00:fe")
    ns.add_address("eth0", "10.0.0.254/24")
    ns.add_route("10.1.0.0/16", "eth0", via="10.0.0.253")
    ns.add_neighbour("10.0.0.1", "02:00:00:00:00:01", "eth0")
    ns.add_neighbour("10.0.0.253", "02:00:00:00:00:fd", "eth0")
    wires = Collector(env, "wires", 1)
    wire(env, ns, 0, wires, 0)
    return env, ns, wires


def passed(env: Environment, ns: Namespace, wires: Collector, packet: Any, at: float) -> list[Any]:
    """What leaves the router because of a packet."""
    env.run(until=at)
    inject(ns, 0, bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:fe") / packet))
    env.run(until=at + 1e-6)
    out = [IP(f[14:]) for _, f in wires.frames]
    wires.frames.clear()
    return out


def test_redirects_are_sent_ever_less_often_and_not_for_tracked_connections() -> None:
    packet = IP(src="10.0.0.1", dst="10.1.0.5") / UDP(sport=9, dport=9)
    env, ns, wires = router()
    counts = []
    for k in range(100):
        out = passed(env, ns, wires, packet, 0.001 + k * 0.01)
        counts.append(len(out) - 1)
        if counts[-1]:
            assert (out[0][ICMP].type, out[0][ICMP].code, out[0][ICMP].gw, out[0].dst) == (5, 1, "10.0.0.253", "10.0.0.1")
        assert (out[-1].dst, out[-1].ttl) == ("10.1.0.5", 63)
    assert [k for k, n in enumerate(counts) if n] == [0, 5, 14, 31, 64]     # 40, 80, 160, 320 ms apart at least
    env, ns, wires = router(Rules())
    assert [p.dst for p in passed(env, ns, wires, packet, 0.001)] == ["10.1.0.5"]


def test_timestamp_and_record_route_options_are_filled_in() -> None:
    env, ns, wires = router()
    stamp = bytes([68, 20, 5, 1]) + bytes(16)
    [out] = passed(env, ns, wires, IP(src="10.0.0.9", dst="10.1.0.5", options=stamp) / UDP(sport=9, dport=9), 3600.25)[-1:]
    raw = bytes(out)
    assert raw[20:24] == bytes([68, 20, 13, 1])
    assert raw[24:28] == bytes([10, 0, 0, 254])
    assert int.from_bytes(raw[28:32], "big") == 3600250
    [echo] = passed(env, ns, wires, IP(src="10.0.0.1", dst="10.0.0.254", options=bytes([7, 11, 4]) + bytes(9)) / ICMP(), 3601.0)
    raw = bytes(echo)
    assert echo[ICMP].type == 0
    assert raw[20:31] == bytes([7, 11, 12, 10, 0, 0, 254, 10, 0, 0, 254]), "recorded on arrival and in the answer"
    again = IP(raw)
    del again.chksum, again[ICMP].chksum
    assert bytes(again) == raw


def test_mistakes_are_named() -> None:
    env = Environment()
    ns = Namespace(env, "a")
    with pytest.raises(ValueError, match=r"sysctl net.ipv4.nonsense is not known here"):
        Namespace(env, "b", {"net.ipv4.nonsense": 1})
    ns.add_interface("eth0")
    with pytest.raises(ValueError, match="interface eth0 exists already"):
        ns.add_interface("eth0")
    with pytest.raises(ValueError, match="eth0 is not a bridge"):
        ns.enslave("eth0", "eth0")
    for mistake in (lambda: inject(ns, 1, bytes(60)), lambda: inject(ns, -1, bytes(60)), lambda: wire(env, ns, 1, Namespace(env, "c"), 0),
                    lambda: PythonDevice(env, "a", 1).transmit(bytes(60), 1)):
        with pytest.raises(ValueError, match=r"a has no port -?1: it has 1"):
            mistake()


def test_every_socket_has_a_mark() -> None:
    env = Environment()
    ns = Namespace(env, "a", {}, Rules.from_iptables_save("*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -m mark --mark 0x7\nCOMMIT\n"))
    ns.add_interface("eth0", "02:00:00:00:00:01")
    ns.add_address("eth0", "10.0.0.1/24")
    for mark in (0, 7):
        udp, ping, tcp = UdpSocket(ns), PingSocket(ns, 1 + mark), TcpSocket(ns)
        for sock in (udp, ping, tcp):
            sock.mark = mark
        udp.sendto(b"x", "10.0.0.2", 9)
        ping.echo("10.0.0.2")
        tcp.connect("10.0.0.2", 80)
        env.run(until=env.now + 0.5)
        assert ns.netfilter.rule_counters()[0][3] == (3 if mark else 0)


def test_ephemeral_ports_run_out_and_come_back() -> None:
    ns = Namespace(Environment(), "a", {"net.ipv4.ip_local_port_range": "40000 40002"})
    socks = [UdpSocket(ns) for _ in range(3)]
    assert sorted(s.local_port for s in socks) == [40000, 40001, 40002]
    for _ in range(2):
        with pytest.raises(OSError, match="EADDRNOTAVAIL"):
            UdpSocket(ns)
    assert ns.ephemeral_port(6, 0, 1, 80) == 40000          # another protocol's are free
    socks[1].close()
    assert UdpSocket(ns).local_port == socks[1].local_port
    with pytest.raises(OSError, match="EADDRNOTAVAIL"):
        UdpSocket(ns)


def test_thousands_of_remembered_ways_do_not_get_mixed_up() -> None:
    """Every address keeps its own next hop, however many displace each other's decisions, and after routes have changed."""
    env = Environment()
    ns, wires = Namespace(env, "router"), Collector(env, "wires", 3)
    for k in range(3):
        ns.add_interface(f"eth{k}", f"02:00:00:00:00:0{k}")
        ns.add_address(f"eth{k}", f"10.{k}.0.1/24")
        ns.add_neighbour(f"10.{k}.0.2", f"02:00:00:00:01:0{k}", f"eth{k}")
        wire(env, ns, k, wires, k)
    sock = UdpSocket(ns, 1000)
    addresses = [f"{100 + i % 3}.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(3000)]

    def sent() -> list[tuple[str, int]]:
        wires.frames.clear()
        for _ in range(2):                              # made, and found again
            for address in addresses:
                sock.sendto(b"", address, 9)
            env.run(until=env.now + 1)
        return [(Ether(f).dst, port) for port, f in wires.frames]

    for k in range(3):
        ns.add_route(f"{100 + k}.0.0.0/8", f"eth{k}", via=f"10.{k}.0.2")
    assert sent() == [(f"02:00:00:00:01:0{i % 3}", i % 3) for i in range(3000)] * 2
    ns.add_route("101.0.0.0/9", "eth2", via="10.2.0.2")
    assert sent() == [(f"02:00:00:00:01:0{k}", k) for k in (2 if i % 3 == 1 else i % 3 for i in range(3000))] * 2


def sent_through_changes(rules: Rules | None) -> list[list[tuple[int, bytes]]]:
    """What a source of datagrams leads to on two wires while all that its way rests on changes: the frames of each spell."""
    env = Environment()
    ns, wires = Namespace(env, "a", rules=rules), Collector(env, "wires", 2)
    for k in range(2):
        ns.add_interface(f"eth{k}", f"02:00:00:00:00:0{k}")
        ns.add_address(f"eth{k}", f"10.{k}.0.1/24")
        wire(env, ns, k, wires, k)
    dev = ns.interface("eth0")
    UdpSource(ns, "10.0.0.9", 9, 5000, 20, 100)
    sockets = [UdpSocket(ns, 600), UdpSocket(ns, 601)]      # a process sends, too: its packets' numbers come from the same count
    spells: list[list[tuple[int, bytes]]] = []

    def until(time: float) -> None:
        env.run(until=time)
        spells.append(list(wires.frames))
        wires.frames.clear()

    def said(op: int, mac: str, port: int = 0) -> None:
        arp = ARP(op=op, hwsrc=mac, psrc="10.0.0.9", hwdst="02:00:00:00:00:00", pdst="10.0.0.1")
        inject(ns, port, bytes(Ether(src=mac, dst="02:00:00:00:00:00") / arp))

    until(0.52)
    said(2, "02:00:00:00:09:01")                            # at last
    until(3.02)
    said(1, "02:00:00:00:09:02")                            # it has another MAC, and is to be asked
    until(10.02)
    said(2, "02:00:00:00:09:02")
    sockets[0].sendto(b"x", "10.0.0.9", 9)
    until(45.02)                                            # meanwhile it was asked thrice, and given up
    said(2, "02:00:00:00:09:03")
    until(46.02)
    dev.mtu = 60
    until(47.02)
    dev.mtu = 1500
    dev.up = False
    until(48.02)
    dev.up = True
    ns.add_neighbour("10.0.0.9", "02:00:00:00:09:04", "eth0")
    until(49.02)
    frames: list[bytes] = []
    dev.tap = FrameTap(lambda time, frame, outgoing: frames.append(frame))
    until(50.02)
    spells.append([(0, frame) for frame in frames])
    ns.add_route("10.0.0.9/32", "eth1", via="10.1.0.9")
    ns.add_neighbour("10.1.0.9", "02:00:00:00:09:05", "eth1")
    sockets[1].sendto(b"y", "10.0.0.9", 9)
    until(51.02)
    ns.add_address("lo", "10.0.0.9/32")                     # it is here
    until(52.02)
    return spells


def test_what_a_source_keeps_of_its_way_is_given_up_when_that_changes() -> None:
    """A namespace with netfilter looks for each packet's way anew: with it and without the same frames come out."""
    spells = sent_through_changes(None)
    assert spells == sent_through_changes(Rules.from_iptables_save("*filter\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"))
    to = [{Ether(frame).dst[-2:] for _, frame in spell if Ether(frame).type == 0x800} for spell in spells]
    assert to == [set(), {"01"}, {"02"}, {"02"}, {"03"}, {"03"}, set(), {"04"}, {"04"}, {"04"}, {"05"}, set()]
    assert len(spells[9]) == 20
    assert {port for port, _ in spells[10]} == {1}
