"""TCP against a scripted peer, segment by segment: what goes out, when, with which numbers and options."""
from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import ARP, Ether

from simcore.engine import Environment
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]
US, PEER = "10.0.0.1", "10.0.0.2"
MAC = "02:00:00:00:00:02"
RTT = 0.02


@dataclass
class Segment:
    at: float
    flags: str
    seq: int            # relative to our ISS
    ack: int
    length: int
    window: int
    options: dict[str, Any]
    tos: int
    sport: int
    dport: int


class Peer(PythonDevice):
    """The other end: answers ARP, logs what comes, sends what the script says."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env, "peer", 1)
        self.log: list[Segment] = []
        self.iss = 0
        self.port = 0
        self.timestamps = True

    def on_frame(self, frame: bytes, port: int) -> None:
        p = Ether(frame)
        if ARP in p:
            if p[ARP].op == 1 and p[ARP].pdst == PEER:
                self.transmit(bytes(Ether(dst=p.src, src=MAC) / ARP(op=2, hwsrc=MAC, psrc=PEER, hwdst=p[ARP].hwsrc, pdst=p[ARP].psrc)), 0)
            return
        t = p[TCP]
        if "S" in str(t.flags):
            self.iss, self.port = t.seq, t.sport
        self.log.append(Segment(self.env.now, str(t.flags), (t.seq - self.iss) % 2**32, t.ack, p[IP].len - 20 - t.dataofs * 4, t.window,
                                dict(t.options), p[IP].tos, t.sport, t.dport))

    def send(self, flags: str, seq: int, ack: int | None = None, data: bytes = b"", sack: tuple[int, ...] = (), ts: int = 0,
             window: int = 65535, tos: int = 0,
             sport: int = 80, dport: int | None = None, absolute: bool = False, options: list[Any] | None = None) -> None:
        """`ack` and `sack` are relative to the other's ISS, unless `absolute`."""
        base = 0 if absolute else self.iss
        o: list[Any] = []
        if "S" in flags:
            o = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 0)]
            if not self.timestamps:
                o = [("MSS", 1460), ("SAckOK", b"")]
        elif self.timestamps:
            o = [("NOP", None), ("NOP", None), ("Timestamp", (int(self.env.now * 1000) + 1, ts))]
        if sack:
            o += [("NOP", None), ("NOP", None), ("SAck", tuple((s + base) % 2**32 for s in sack))]
        p = Ether(src=MAC, dst="02:00:00:00:00:01") / IP(src=PEER, dst=US, tos=tos) / TCP(
            sport=sport, dport=dport or self.port, flags=flags, seq=seq, ack=0 if ack is None else (ack + base) % 2**32, window=window,
            options=o if options is None else options) / data
        self.transmit(bytes(p), 0)

    def data(self) -> list[Segment]:
        return [s for s in self.log if s.length]


class Script:
    """A socket of ours connected (or not) to a peer by a wire of RTT 20 ms."""

    def __init__(self, timestamps: bool = True, sysctl: dict[str, Any] | None = None) -> None:
        self.env = Environment()
        self.ns, self.peer = Namespace(self.env, "us", sysctl), Peer(self.env)
        self.peer.timestamps = timestamps
        self.ns.add_interface("eth0", "02:00:00:00:00:01")
        self.ns.add_address("eth0", f"{US}/24")
        wire(self.env, self.ns, 0, self.peer, 0, rate=1e9, latency=RTT / 2)
        self.errors: list[str] = []

    def until(self, t: float) -> None:
        self.env.run(until=t)

    def connect(self, after: Callable[[TcpSocket], Process] | None = None, flags: str = "SA", window: int = 65535,
                **options: Any) -> TcpSocket:
        sock = TcpSocket(self.ns, **options)

        def client() -> Process:
            try:
                yield sock.connect(PEER, 80)
                if after is not None:
                    yield from after(sock)
            except OSError as error:
                self.errors.append(f"{self.env.now:.3f} {str(error).split('] ')[1].split(':')[0]}")
        self.env.process(client())
        self.until(0.045)                               # ARP, then SYN
        self.peer.send(flags, 1000, 1, window=window)
        self.until(0.066)
        return sock


def sender(n: int) -> Callable[[TcpSocket], Process]:
    def run(sock: TcpSocket) -> Process:
        yield sock.send(n)
    return run


def test_syn_carries_linux_options() -> None:
    s = Script()
    s.connect()
    syn, ack = s.peer.log[:2]
    assert (syn.flags, syn.window) == ("S", 64240)
    assert list(syn.options) == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]
    assert (syn.options["MSS"], syn.options["WScale"]) == (1460, 10)
    assert (ack.flags, ack.seq, ack.ack) == ("A", 1, 1001)


def test_syn_backs_off_and_gives_up() -> None:
    s = Script()

    def client() -> Process:
        with pytest.raises(OSError, match="ETIMEDOUT"):
            yield TcpSocket(s.ns).connect(PEER, 80)
    s.env.process(client())
    s.until(200)
    times = [x.at for x in s.peer.log]
    assert [round(b - a) for a, b in zip(times, times[1:], strict=False)] == [1, 2, 4, 8, 16, 32]


def test_tail_loss_probe_then_backoff() -> None:
    """RFC 8985 7.2: a probe after two round trips; then the retransmission timer, doubling."""
    s = Script()
    sock = s.connect(sender(3 * 1448))
    srtt = sock.srtt
    s.until(8)
    sent = s.peer.data()
    assert [x.seq for x in sent[:4]] == [1, 1449, 2897, 2897]           # the probe is the last segment again
    assert sent[3].at - sent[2].at == pytest.approx(2 * srtt + 0.002, abs=0.001)
    later = sent[4:]
    assert all(x.seq == 1 for x in later)
    gaps = [b.at - a.at for a, b in zip(sent[3:], later, strict=False)]
    assert gaps[0] == pytest.approx(srtt + max(4 * srtt / 2, 0.2), abs=0.01)                     # srtt + max(4 rttvar, 200 ms)
    assert [b / a for a, b in zip(gaps, gaps[1:], strict=False)] == pytest.approx([2] * (len(gaps) - 1), rel=0.01)


def test_sack_repairs_one_hole_at_once() -> None:
    s = Script()
    sock = s.connect(sender(8 * 1448))
    s.until(0.075)
    for k in range(3, 9):                                               # the second was lost
        s.peer.send("A", 1001, 1449, sack=(2897, 1 + k * 1448), ts=0)
    s.until(0.087)
    assert sock.recovery == "Recovery"
    s.until(0.1)
    assert [x.seq for x in s.peer.data()[8:]] == [1449]
    assert s.peer.data()[8].at - 0.085 < RTT / 2 + 0.001
    assert sock.retransmits == 1
    s.peer.send("A", 1001, 8 * 1448 + 1)
    s.until(0.2)
    assert (sock.recovery, sock.inflight, sock.retransmits) == ("Open", 0, 1)
    assert sock.cwnd < 10 * 1448


def test_reordering_is_waited_for_and_learnt() -> None:
    """RACK: one segment late by less than a quarter of the round trip is not sent again."""
    s = Script()
    sock = s.connect(sender(8 * 1448))
    s.until(0.075)
    s.peer.send("A", 1001, 1449, sack=(2897, 4345))
    s.until(0.077)
    s.peer.send("A", 1001, 8 * 1448 + 1)
    s.until(1)
    assert sock.retransmits == 0
    assert sock.cwnd > 10 * 1448


def test_dsack_takes_the_reduction_back() -> None:
    s = Script()
    sock = s.connect(sender(10 * 1448))
    before = sock.cwnd
    s.until(0.075)
    for k in range(3, 9):
        s.peer.send("A", 1001, 1449, sack=(2897, 1 + k * 1448))
    s.until(0.09)
    assert sock.recovery == "Recovery"
    reduced = sock.cwnd
    # the original arrives late, then the copy: everything is acknowledged, with a duplicate reported
    s.peer.send("A", 1001, 10 * 1448 + 1, sack=(1449, 2897), ts=1)
    s.until(0.2)
    assert (sock.recovery, sock.spurious) == ("Open", 1)
    assert sock.cwnd >= before > reduced


def test_receiver_sacks_youngest_first_and_reports_duplicates() -> None:
    s = Script()

    def read(sock: TcpSocket) -> Process:
        while (yield sock.recv()):
            pass
    s.connect(read)
    x = bytes(100)
    for seq in (1201, 1401, 1601, 1401):
        s.peer.send("A", seq, 1, x)
    s.until(0.2)
    s.peer.send("A", 1001, 1, x)
    s.peer.send("A", 1101, 1, x)
    s.until(0.3)
    acks = [(a.ack, a.options.get("SAck")) for a in s.peer.log[2:]]
    assert acks[0] == (1001, (1201, 1301))
    assert acks[1] == (1001, (1401, 1501, 1201, 1301))
    assert acks[2] == (1001, (1601, 1701, 1401, 1501, 1201, 1301))
    assert acks[3] == (1001, (1401, 1501, 1601, 1701, 1401, 1501))      # DSACK first (RFC 2883)
    assert acks[-1] == (1301, (1601, 1701, 1401, 1501))


def test_sack_blocks_take_their_room_from_the_payload() -> None:
    """As Linux's tcp_current_mss: else a full segment would leave as two fragments."""
    s = Script()
    sock = s.connect()
    for seq in (1201, 1401):
        s.peer.send("A", seq, 1, bytes(100))
    s.until(0.2)

    def write() -> Process:
        yield sock.send(4000)
    s.env.process(write())
    s.until(0.25)
    assert [(d.seq, d.length, len(d.options["SAck"])) for d in s.peer.data()] == [(1, 1428, 4), (1429, 1428, 4), (2857, 1144, 4)]
    s.peer.send("A", 1001, 1, bytes(400))               # the holes are filled, the data is lost
    s.until(0.6)
    again = s.peer.data()[3:]
    assert [(d.seq, d.length) for d in again] == [(2857, 1144), (1, 1428)]      # tail loss probe, then the timeout's


def test_zero_window_is_probed_and_opens() -> None:
    s = Script()
    sock = s.connect(sender(4 * 1448))
    s.until(0.08)
    s.peer.send("A", 1001, 4 * 1448 + 1, window=0)
    s.until(0.1)

    def more() -> Process:
        yield sock.send(1000)
    s.env.process(more())
    s.until(3)
    probes = [x for x in s.peer.log if x.at > 0.11]
    assert all((x.flags, x.length, x.seq) == ("A", 0, 4 * 1448) for x in probes)
    gaps = [b.at - a.at for a, b in zip(probes, probes[1:], strict=False)]
    assert len(gaps) >= 2
    assert [b / a for a, b in zip(gaps, gaps[1:], strict=False)] == pytest.approx([2] * (len(gaps) - 1), rel=0.01)
    s.peer.send("A", 1001, 4 * 1448 + 1, window=5000)
    s.until(3.1)
    assert s.peer.data()[-1].length == 1000


def test_resets_and_challenges() -> None:
    """RFC 5961: only the exact sequence number resets; what is near is challenged, twice a second at most."""
    s = Script()

    def read(sock: TcpSocket) -> Process:
        yield sock.recv()
    sock = s.connect(read)
    s.until(1)
    n = len(s.peer.log)
    for _ in range(5):
        s.peer.send("R", 1500)
    s.until(1.1)
    assert [(x.flags, x.ack) for x in s.peer.log[n:]] == [("A", 1001)]
    s.until(2)
    s.peer.send("S", 1600)
    s.until(2.1)
    assert [(x.flags, x.ack) for x in s.peer.log[n + 1:]] == [("A", 1001)]
    s.peer.send("R", 100_000_000)                                       # outside the window: nothing
    s.until(3)
    assert (len(s.peer.log), sock.state) == (n + 2, "ESTABLISHED")
    s.peer.send("R", 1001)
    s.until(4)
    assert s.errors == ["3.010 ECONNRESET"]


@pytest.mark.parametrize("mtu", [1000, 576])
def test_path_mtu_by_icmp(mtu: int) -> None:
    s = Script()
    s.connect(sender(5 * 1448))
    s.until(0.08)
    first = Ether(src=MAC, dst="02:00:00:00:00:01") / IP(src=PEER, dst=US) / ICMP(type=3, code=4, nexthopmtu=mtu)
    inner = bytes(IP(src=US, dst=PEER, len=1500) / TCP(sport=s.peer.port, dport=80, seq=s.peer.iss + 1))[:28]
    s.peer.transmit(bytes(first / inner), 0)
    n = len(s.peer.data())
    s.until(0.11)
    again = s.peer.data()[n:]
    assert again[0].seq == 1
    assert again[0].length == mtu - 52
    assert again[1].seq == 1 + mtu - 52
    assert max(x.length for x in again) == mtu - 52


def test_black_hole_probing_finds_a_size_that_passes() -> None:
    s = Script(sysctl={"net.ipv4.tcp_mtu_probing": 1})
    s.connect(sender(2 * 1448))
    s.until(30)
    sizes = [x.length for x in s.peer.data()]
    assert sizes[:4] == [1448] * 4
    assert min(sizes) <= 1012


def test_ecn_is_negotiated_marked_and_answered() -> None:
    s = Script()
    sock = s.connect(sender(8 * 1448), flags="SAE", ecn=True)
    assert s.peer.log[0].flags == "SEC"
    s.until(0.09)
    assert {x.tos for x in s.peer.data()} == {2}
    before = sock.cwnd
    s.peer.send("AE", 1001, 8 * 1448 + 1)
    s.until(0.101)
    assert sock.recovery == "CWR"
    assert sock.ssthresh == pytest.approx(0.7 * before, rel=0.3)

    def more() -> Process:
        yield sock.send(2 * 1448)
    s.env.process(more())
    s.until(0.13)
    assert [x.flags for x in s.peer.data()[8:]] == ["AC", "PA"]
    # and the receiver's half: CE is echoed until CWR
    s.peer.send("PA", 1001, 10 * 1448 + 1, b"x" * 10, tos=3)
    s.until(0.2)
    assert "E" in s.peer.log[-1].flags
    s.peer.send("PAC", 1011, 10 * 1448 + 1, b"x" * 10, tos=2)
    s.until(0.3)
    assert "E" not in s.peer.log[-1].flags


def test_keepalive() -> None:
    s = Script()

    def read(sock: TcpSocket) -> Process:
        yield sock.recv()
    s.connect(read, keepalive=(10, 2, 3))
    s.until(60)
    probes = [x for x in s.peer.log if x.at > 1]
    assert [(round(x.at), x.flags, x.seq) for x in probes] == [(10, "A", 0), (12, "A", 0), (14, "A", 0), (16, "RA", 1)]
    assert s.errors == ["16.050 ETIMEDOUT"] or s.errors[0].endswith("ETIMEDOUT")


def test_delayed_ack_and_quick_ack() -> None:
    """The first sixteen segments are acknowledged one by one; then every second, a single one after 40 ms."""
    s = Script()

    def read(sock: TcpSocket) -> Process:
        while (yield sock.recv()):
            pass
    s.connect(read)
    seq = 1001
    for _ in range(20):
        s.peer.send("A", seq, 1, bytes(1448))
        seq += 1448
    s.until(1)
    acks = [x.ack for x in s.peer.log[2:]]
    assert acks[:15] == [1001 + 1448 * k for k in range(1, 16)]
    assert len(acks) < 20
    s.peer.send("A", seq, 1, b"x")
    s.until(2)
    assert s.peer.log[-1].at - 1 == pytest.approx(RTT + 0.04, abs=0.001)


def test_nagle_holds_small_segments_back() -> None:
    s = Script()

    def drip(sock: TcpSocket) -> Process:
        for _ in range(3):
            yield sock.send(100)
    s.connect(drip)
    s.until(0.08)
    assert [x.length for x in s.peer.data()] == [100]
    s.peer.send("A", 1001, 101)
    s.until(0.11)
    assert [x.length for x in s.peer.data()] == [100, 200]
    m = Script()
    m.connect(sender(1448 + 100))                       # Minshall: the tail of a write is not held behind full segments
    m.until(0.08)
    assert [x.length for x in m.peer.data()] == [1448, 100]
    t = Script()
    t.connect(drip, nodelay=True)
    t.until(0.08)
    assert [x.length for x in t.peer.data()] == [100, 100, 100]


def test_simultaneous_open() -> None:
    s = Script()
    sock = TcpSocket(s.ns)
    opened: list[float] = []

    def client() -> Process:
        yield sock.connect(PEER, 80)
        opened.append(s.env.now)
    s.env.process(client())
    s.until(0.045)
    s.peer.send("S", 1000)
    s.until(0.07)
    assert s.peer.log[-1].flags == "SA"
    s.peer.send("A", 1001, 1)
    s.until(0.1)
    assert (sock.state, len(opened)) == ("ESTABLISHED", 1)


def test_time_wait_gives_way_to_a_new_connection() -> None:
    """RFC 6191: a SYN beyond what the old connection received opens the next one."""
    s = Script()
    accepted: list[TcpSocket] = []

    def serve() -> Process:
        listener = TcpListener(s.ns, 8080)
        while True:
            sock = yield listener.accept()
            accepted.append(sock)
            yield sock.close()
    s.env.process(serve())
    s.until(0.001)
    s.peer.timestamps = False
    s.peer.send("S", 5000, sport=777, dport=8080)
    s.until(0.1)
    s.peer.send("A", 5001, 1, sport=777, dport=8080)
    s.until(0.15)
    s.peer.send("FA", 5001, 2, sport=777, dport=8080)
    s.until(0.3)
    assert accepted[0].state == "TIME_WAIT"
    s.peer.send("S", 4000, sport=777, dport=8080)                       # an old one: answered by an ACK only
    s.until(0.4)
    assert s.peer.log[-1].flags == "A"
    s.peer.send("S", 9000, sport=777, dport=8080)
    s.until(0.5)
    assert (s.peer.log[-1].flags, s.peer.log[-1].ack) == ("SA", 9001)


def test_backlog_overflow_drops_and_recovers() -> None:
    s = Script()
    listener = TcpListener(s.ns, 8080, backlog=1)
    for k in range(4):
        s.peer.send("S", 5000, sport=1000 + k, dport=8080)
        s.until(0.1 * (k + 1))
        s.peer.send("A", 5001, 1, sport=1000 + k, dport=8080)
        s.until(0.1 * (k + 1) + 0.05)
    assert listener.overflows >= 1
    assert len({x.dport for x in s.peer.log if x.flags == "SA"}) == 2   # one more than the backlog, as Linux counts
    got: list[TcpSocket] = []

    def accept() -> Process:
        for _ in range(2):
            got.append((yield listener.accept()))
    s.env.process(accept())
    s.until(1)
    assert len(got) == 2


def test_slow_start_after_idle() -> None:
    s = Script()
    sock = s.connect(sender(40 * 1448))
    t = 0.08
    while sock.inflight or t < 0.2:
        s.until(t)
        got = max(x.seq + x.length for x in s.peer.data())
        s.peer.send("A", 1001, got)
        t += RTT
    grown = sock.cwnd
    assert grown > 20 * 1448
    s.until(20)

    def more() -> Process:
        yield sock.send(20 * 1448)
    s.env.process(more())
    s.until(20.001)
    assert sock.cwnd == 10 * 1448
