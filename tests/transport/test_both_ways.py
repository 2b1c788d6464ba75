"""Two ends that both send, over links that lose, repeat, reorder and damage, through a host that translates."""
from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from natfast import Rules
from simcore.engine import Environment, Streams
from simcore.measure.capture import FrameTap
from simcore.net.cable import LinkParameters, connect
from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Any
NAT = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
"""
PATIENT = {f"net.netfilter.nf_conntrack_tcp_timeout_{state}": 100_000 for state in (
    "syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "max_retrans", "unacknowledged")}
"""Else an entry may be gone before a retransmission that has backed off to two minutes."""
HOSTILE = st.just({}) | st.fixed_dictionaries({}, optional={
    "loss": st.sampled_from([0.01, 0.1]), "duplicate": st.just(0.1), "reorder": st.just(0.1), "jitter": st.just(2e-3),
    "corrupt": st.sampled_from([0.01, 0.1])})
WRITES = st.lists(st.tuples(st.integers(1, 60_000), st.sampled_from([0.0, 0.001, 0.3])), min_size=1, max_size=6)
ENDS = st.fixed_dictionaries({}, optional={
    "net.ipv4.tcp_sack": st.just(0), "net.ipv4.tcp_timestamps": st.just(0), "net.ipv4.tcp_window_scaling": st.just(0),
    "net.ipv4.tcp_ecn": st.just(1), "net.ipv4.tcp_congestion_control": st.sampled_from(["reno", "bbr", "dctcp"])})


def text(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def make(env: Environment, ends: tuple[dict[str, Any], dict[str, Any]], there: dict[str, Any], back: dict[str, Any], mtu: int) -> Any:
    """a - middle (NAT) - b; the second link is the hostile one, and the first's MTU may be smaller than the ends think."""
    streams = Streams(1)
    middle = Namespace(env, "middle", {"net.ipv4.ip_forward": 1, **PATIENT}, Rules.from_iptables_save(NAT), 1)
    a, b = (Namespace(env, name, {"net.ipv4.tcp_syn_retries": 20, **sysctl}) for name, sysctl in zip("ab", ends, strict=True))
    frames: list[bytes] = []
    for i, (ns, address) in enumerate(((a, "10.0.0.2"), (b, "10.0.1.2"))):
        middle.add_interface(f"eth{i}", f"02:00:00:00:01:0{i}", mtu if i else 1500)
        middle.add_address(f"eth{i}", f"10.0.{i}.1/24")
        ns.add_interface("eth0", f"02:00:00:00:00:0{i}")
        ns.add_address("eth0", f"{address}/24")
        ns.add_route("default", "eth0", f"10.0.{i}.1")
        ns.interface("eth0").tap = FrameTap(lambda time, frame, outgoing: frames.append(frame) if outgoing else None)
        p = LinkParameters(1e7, 5e-3, 50, netem=there, reverse=LinkParameters(1e7, 5e-3, 50, netem=back)) if i else LinkParameters(1e8)
        connect(env, streams, middle, i, f"middle/eth{i}", ns, 0, f"{ns.name}/eth0", p)
    return a, b, middle, frames


@given(ends=st.tuples(ENDS, ENDS), writes=st.tuples(WRITES, WRITES), there=HOSTILE, back=HOSTILE, mtu=st.sampled_from([1500, 1400, 600]),
       room=st.sampled_from([4000, 20_000, 1 << 20]), pause=st.sampled_from([0.0, 0.01]), piece=st.sampled_from([700, 5000]))
@example(ends=({}, {"net.ipv4.tcp_timestamps": 0}), writes=([(1361, 0.0)], [(1, 0.0)]), there={}, back={}, mtu=1400, room=4000, pause=0.0,
         piece=700)                             # a byte too long for the path, and its FIN apart
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_streams_arrive_whole(ends: Any, writes: Any, there: dict[str, Any], back: dict[str, Any], mtu: int, room: int,
                                   pause: float, piece: int) -> None:
    env = Environment()
    a, b, middle, frames = make(env, ends, there, back, mtu)
    got: dict[str, bytes] = {}
    sent = {name: [text(n, 10 * i + k) for k, (n, _) in enumerate(w)] for i, (name, w) in enumerate(zip("ab", writes, strict=True))}

    def write(sock: TcpSocket, name: str, pauses: list[float]) -> Process:
        for data, wait in zip(sent[name], pauses, strict=True):
            yield sock.send(data)
            yield env.timeout(wait)
        yield sock.close()

    def read(sock: TcpSocket, name: str) -> Process:
        got[name] = b""
        while data := (yield sock.recv(piece)):
            got[name] += data
            yield env.timeout(pause)

    def both(sock: TcpSocket, name: str, pauses: list[float]) -> None:
        env.process(write(sock, name, pauses))
        env.process(read(sock, name))

    def server() -> Process:
        both((yield TcpListener(b, 80, rcvbuf=room).accept()), "b", [w for _, w in writes[1]])

    def client() -> Process:
        sock = TcpSocket(a, rcvbuf=room)
        yield sock.connect("10.0.1.2", 80)
        both(sock, "a", [w for _, w in writes[0]])

    env.process(server())
    env.process(client())
    env.run(until=100_000)
    assert got == {"b": b"".join(sent["a"]), "a": b"".join(sent["b"])}
    ip = [f[14:] for f in frames if f[12:14] == b"\x08\x00"]
    assert all(int.from_bytes(p[6:8], "big") == 0x4000 for p in ip if p[9] == 6)        # whole, and never to be cut
    assert max(map(len, ip)) <= 1500
    if not ({"corrupt", "loss", "reorder", "jitter", "duplicate"} & {*there, *back}) and mtu == 1500:
        assert middle.netfilter.stats["invalid"] == 0
        for own in (b"\x0a\0\0\2", b"\x0a\0\1\2"):           # nobody repeats himself where nothing is lost
            acks = [p[20:36] for p in ip if p[12:16] == own and p[9] == 6]
            pure = [int.from_bytes(p[2:4], "big") == 20 + (p[32] >> 4) * 4 and p[33] == 0x10 for p in ip if p[12:16] == own and p[9] == 6]
            assert not any(a == b and first and second
                           for a, b, first, second in zip(acks, acks[1:], pure, pure[1:], strict=False))
