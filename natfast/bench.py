"""`natfast bench`: what the NAT core does per packet, by number of flows."""
from __future__ import annotations

import gc
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natfast.checksum import internet_checksum
from natfast.errors import NatfastError
from natfast.hooks import Netfilter
from natfast.rules import Rules
from natfast.shards import Shards
from natfast.touch import touch_ns

RULES = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.16.0.0/12 ! -o docker0 -j MASQUERADE
COMMIT
"""
SERVERS = 65536
REPEATS = 8


@dataclass
class Traffic:
    """Frames of many flows: TCP and UDP, opened, answered, established."""

    frames: NDArray[np.uint8]
    lengths: NDArray[np.uint32]


def _frames(flows: NDArray[np.int64], stage: str, size: int) -> Traffic:
    """One 64-byte-slot frame per flow number: `syn`, `synack`, `ack` (out), `data` (in), `fin`, `finack` (in), `lastack`.

    Flow i is UDP if i % 4 == 0, from 172.17.x.y:p to one of 65536 servers.
    """
    n = len(flows)
    f = np.zeros((n, size), np.uint8)
    i = flows.astype(np.uint64)
    src = (np.uint64(0xAC110000) + np.uint64(2) + (i >> np.uint64(8)) % np.uint64(60000)).astype(np.uint32)
    sport = (1024 + (i * np.uint64(257)) % np.uint64(60000)).astype(np.uint32)
    dst = (np.uint64(0x5DB80000) + i % np.uint64(SERVERS)).astype(np.uint32)
    udp = (i % np.uint64(4)) == 0
    dport = np.where(udp, 53, 80).astype(np.uint32)
    inward = stage in ("synack", "data", "finack")
    a, b, p, q = (dst, np.full(n, 0xC0A80164, np.uint32), dport, sport) if inward else (src, dst, sport, dport)
    total = size - 14

    def put(at: int, width: int, value: Any) -> None:
        v = np.broadcast_to(np.asarray(value, np.uint32), (n,))
        for k in range(width):
            f[:, at + k] = (v >> np.uint32(8 * (width - 1 - k))) & np.uint32(255)

    put(12, 2, 0x0800)
    f[:, 14] = 0x45
    put(16, 2, total)
    put(18, 2, 1)
    f[:, 20] = 0x40
    f[:, 22] = 64
    f[:, 23] = np.where(udp, 17, 6)
    put(26, 4, a)
    put(30, 4, b)
    put(34, 2, p)
    put(36, 2, q)
    n_data = size - 14 - 40                     # each side has sent one segment's data before it closes
    flags, seq, ack = {
        "syn": (2, 1000, 0), "synack": (0x12, 5000, 1001), "ack": (0x10, 1001, 5001), "data": (0x10, 5001, 1001), "fin": (0x11, 1001, 5001),
        "finack": (0x11, 5001, 1002 + n_data), "lastack": (0x10, 1002 + n_data, 5002 + n_data)}[stage]
    tcp = ~udp
    length = np.where(udp, total - 20, 0)
    f[tcp, 38:42] = np.frombuffer(seq.to_bytes(4, "big"), np.uint8)
    f[tcp, 42:46] = np.frombuffer(ack.to_bytes(4, "big"), np.uint8)
    f[tcp, 46] = 0x50
    f[tcp, 47] = flags
    f[tcp, 48] = 0xFA
    f[udp, 38] = (length[udp] >> 8) & 255
    f[udp, 39] = length[udp] & 255
    _fill_checksums(f, udp, total)
    return Traffic(f, np.full(n, size, np.uint32))


def _fill_checksums(f: NDArray[np.uint8], udp: NDArray[np.bool_], total: int) -> None:
    def words(block: NDArray[np.uint8]) -> NDArray[np.uint64]:
        if block.shape[1] % 2:
            block = np.pad(block, ((0, 0), (0, 1)))
        w = block[:, 0::2].astype(np.uint64) << np.uint64(8) | block[:, 1::2].astype(np.uint64)
        return np.asarray(w.sum(axis=1), np.uint64)

    def fold(s: NDArray[np.uint64]) -> NDArray[np.uint64]:
        for _ in range(3):
            s = (s & np.uint64(0xFFFF)) + (s >> np.uint64(16))
        return ~s & np.uint64(0xFFFF)

    c = fold(words(f[:, 14:34]))
    f[:, 24], f[:, 25] = c >> np.uint64(8), c & np.uint64(255)
    s = words(f[:, 34:14 + total]) + words(f[:, 26:34]) + f[:, 23].astype(np.uint64) + np.uint64(total - 20)
    c = fold(s)
    at = np.where(udp, 40, 50)
    rows = np.arange(len(f))
    c = np.where(udp & (c == 0), 0xFFFF, c).astype(np.uint64)
    f[rows, at] = c >> np.uint64(8)
    f[rows, at + 1] = c & np.uint64(255)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without Python's garbage collector, which would stop the world for what is none of its business."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _run(nat: Netfilter | Shards, t: Traffic, iif: str, oif: str, now: float, batch: int) -> float:
    """Translate all; seconds."""
    batches = [(t.frames[at:at + batch], t.lengths[at:at + batch]) for at in range(0, len(t.frames), batch)]
    began = time.perf_counter()
    for frames, lengths in batches:
        nat.forward(frames, lengths, iif, oif, now)
    return time.perf_counter() - began


def _worst_call(nat: Netfilter | Shards, t: Traffic, iif: str, oif: str, now: float, batch: int) -> float:
    """Seconds that the longest single call took."""
    worst = 0.0
    for at in range(0, len(t.frames), batch):
        began = time.perf_counter()
        nat.forward(t.frames[at:at + batch], t.lengths[at:at + batch], iif, oif, now)
        worst = max(worst, time.perf_counter() - began)
    return worst


def _pick(rng: np.random.Generator, flows: int, n: int, pattern: str) -> NDArray[np.int64]:
    """Flow numbers of `n` packets: all flows alike, or Zipf's law with exponent 1.1."""
    if pattern == "random":
        return rng.integers(0, flows, n)
    weights = np.arange(1, flows + 1, dtype=np.float64) ** -1.1
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(n))
    return np.asarray(rng.permutation(flows)[np.minimum(ranks, flows - 1)], np.int64)


def _ipv4(src: int, dst: int, protocol: int, l4: bytes, offset: int = 0) -> bytes:
    """One frame; `offset` is the field of flags and fragment offset."""
    head = bytearray(struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(l4), 7, offset, 64, protocol, 0, src, dst))
    head[10:12] = internet_checksum(bytes(head)).to_bytes(2, "big")
    return bytes(12) + b"\x08\x00" + bytes(head) + l4


def _echo(flow: int) -> bytes:
    """A container's ping; its identifier is the flow's number."""
    l4 = bytearray(struct.pack(">BBHHH", 8, 0, 0, flow & 0xFFFF, 1) + bytes(22))
    l4[2:4] = internet_checksum(bytes(l4)).to_bytes(2, "big")
    return _ipv4(0xAC110002 + flow % 60000, 0x5DB80000 + flow % SERVERS, 1, bytes(l4))


def _unreachable(frame: bytes) -> bytes:
    """A server's ICMP error about a frame that the host has sent out."""
    ip = frame[14:42]
    l4 = bytearray(b"\x03\x03" + bytes(6) + ip)
    l4[2:4] = internet_checksum(bytes(l4)).to_bytes(2, "big")
    return _ipv4(int.from_bytes(ip[16:20], "big"), int.from_bytes(ip[12:16], "big"), 1, bytes(l4))


def _pieces(flow: int) -> tuple[bytes, bytes]:
    """A container's UDP datagram of 44 bytes in two fragments."""
    src, dst = 0xAC110002 + flow % 60000, 0x5DB80000 + flow % SERVERS
    udp = struct.pack(">HHHH", 1024 + flow % 60000, 53, 44, 0) + bytes(36)
    return _ipv4(src, dst, 17, udp[:24], 0x2000), _ipv4(src, dst, 17, udp[24:], 3)


@dataclass
class Mix:
    """Percent of the packets that are no ordinary ones."""

    inward: float = 50.0
    icmp: float = 0.0                   # half pings, half errors about translated packets
    fragment: float = 0.0               # in pairs

    @classmethod
    def parse(cls, text: str) -> Mix:
        """`in=50,icmp=2,fragment=1`; what is not named keeps its default.

        Raises
        ------
        NatfastError
            For anything else.
        """
        mix = cls()
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in ("in", "icmp", "fragment") or not value.replace(".", "", 1).isdigit() or float(value) > 100:
                raise NatfastError(f"--mix {text}: {part!r} is not one of in=, icmp=, fragment= with 0 to 100")
            setattr(mix, "inward" if name == "in" else name, float(value))
        if mix.icmp + mix.fragment > 100:
            raise NatfastError(f"--mix {text}: icmp and fragment together are more than 100")
        return mix


def _spread(t: Traffic, mix: Mix, inward: bool, sent: list[bytes], rng: np.random.Generator) -> Traffic:
    """The traffic with the mix's pings, errors and fragments in place of random frames."""
    n = len(t.frames)
    t = Traffic(np.pad(t.frames, ((0, 0), (0, max(128 - t.frames.shape[1], 0)))), t.lengths)     # an error is longer than 64 bytes
    out: list[bytes] = []
    wanted_icmp, wanted_pieces = round(n * mix.icmp / 100), round(n * mix.fragment / 100)
    for k in range(wanted_icmp):
        out.append(_unreachable(sent[k % len(sent)]) if inward else _echo(int(rng.integers(1 << 16))))
    if not inward:
        for _ in range(wanted_pieces // 2):
            out.extend(_pieces(int(rng.integers(1 << 16))))
    rows = np.sort(rng.choice(n, len(out), replace=False))      # in order: a datagram's pieces follow one another
    for row, frame in zip(rows, out, strict=True):
        t.frames[row] = 0
        t.frames[row, :len(frame)] = np.frombuffer(frame, np.uint8)
        t.lengths[row] = len(frame)
    return t


class _Lab:
    """A table, opened and closed again through the front door."""

    def __init__(self, flows: int, threads: int, seed: int, batch: int, size: int, fill: float = 0.5) -> None:
        rules, interfaces = Rules.from_iptables_save(RULES), {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}
        sysctl = {"net.netfilter.nf_conntrack_max": max(int(flows / fill) + 1, 65536) * (2 if threads > 1 else 1)}
        self.nat = Netfilter(rules, interfaces, sysctl, seed) if threads == 1 else Shards(threads, rules, interfaces, sysctl, seed)
        self.flows, self.batch, self.size, self.seed = flows, batch, size, seed

    def stage(self, stage: str, now: float, numbers: NDArray[np.int64] | None = None) -> float:
        """One packet of each flow; seconds."""
        way = ("eth0", "docker0") if stage in ("synack", "data", "finack") else ("docker0", "eth0")
        numbers = np.arange(self.flows) if numbers is None else numbers
        spent = 0.0
        for at in range(0, len(numbers), 1 << 18):
            spent += _run(self.nat, _frames(numbers[at:at + (1 << 18)], stage, self.size), *way, now, self.batch)
        return spent

    def packets(self, frames: int, pattern: str, mix: Mix, now: float) -> float:
        """ns per packet of established connections: the best of many runs, as what disturbs only adds."""
        rng = np.random.default_rng(self.seed)
        n = max(min(frames, 1 << 18), 2 * self.batch)
        inside = min(max(round(n * mix.inward / 100), 0), n)
        ways = [(_frames(_pick(rng, self.flows, count, pattern), stage, self.size), way) for count, stage, way in
                ((n - inside, "ack", ("docker0", "eth0")), (inside, "data", ("eth0", "docker0"))) if count]
        if mix.icmp or mix.fragment:
            probe = _frames(_pick(rng, self.flows, 1024, pattern), "ack", self.size)
            _run(self.nat, probe, "docker0", "eth0", now, self.batch)
            sent = [f.tobytes() for f in probe.frames]
            ways = [(_spread(t, mix, way[0] == "eth0", sent, rng), way) for t, way in ways]
        best = float("inf")
        for k in range(max(REPEATS, frames // n)):
            spent = 0.0
            for t, way in ways:
                copy = Traffic(t.frames.copy(), t.lengths.copy())
                spent += _run(self.nat, copy, *way, now + 0.001 * (k + 1), self.batch)
                changed = (copy.frames[:, 22] == 63) if not mix.fragment else np.ones(1, bool)
                if not changed.all():
                    raise RuntimeError(f"{int((~changed).sum())} frames were not translated")
            self.nat.take_reassembled()
            best = min(best, spent)
        return best * 1e9 / n

    def queues(self, frames: int, pattern: str, now: float) -> float | None:
        """ns per packet where a network card has sorted them for the workers; None where there is but one."""
        if not isinstance(self.nat, Shards):
            return None
        rng = np.random.default_rng(self.seed)
        n = max(min(frames, 1 << 18), 2 * self.batch)
        best = float("inf")
        ways = []
        for stage, way in (("ack", ("docker0", "eth0")), ("data", ("eth0", "docker0"))):
            t = _frames(_pick(rng, self.flows, n // 2, pattern), stage, self.size)
            whose = self.nat.owners(t.frames, t.lengths, *way)
            ways.append(([Traffic(t.frames[whose == k], t.lengths[whose == k]) for k in range(len(self.nat.workers))], way))
        for k in range(REPEATS):
            spent = 0.0
            for parts, way in ways:
                copies = [(p.frames.copy(), p.lengths.copy()) for p in parts]
                began = time.perf_counter()
                self.nat.forward_queues(copies, *way, now + 0.001 * (k + 1))
                spent += time.perf_counter() - began
            best = min(best, spent)
        return best * 1e9 / n

    def open(self, now: float) -> float:
        """All handshakes; seconds that the answers and what follows them took."""
        spent = self.stage("synack", now) + self.stage("ack", now)
        if len(self.nat) != self.flows:
            raise RuntimeError(f"{len(self.nat)} of {self.flows} flows were opened")
        return spent

    def expire(self, now: float) -> tuple[float, int]:
        """Seconds, and how many went."""
        began = time.perf_counter()
        gone = self.nat.expire(now)
        return time.perf_counter() - began, gone


def _columns(t: Traffic) -> dict[str, NDArray[Any]]:
    def field(at: int, width: int, kind: type) -> NDArray[Any]:
        parts = [t.frames[:, at + k].astype(np.uint32) << np.uint32(8 * (width - 1 - k)) for k in range(width)]
        return np.asarray(np.bitwise_or.reduce(parts), kind)

    return {"src": field(26, 4, np.uint32), "dst": field(30, 4, np.uint32), "sport": field(34, 2, np.uint16),
            "dport": field(36, 2, np.uint16), "proto": field(23, 1, np.uint8), "length": field(16, 2, np.uint16),
            "seq": field(38, 4, np.uint32), "ack": field(42, 4, np.uint32), "window": field(48, 2, np.uint16)}


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench(flows: int, frames: int = 1 << 20, batch: int | None = None, size: int = 64, seed: int = 1, threads: int = 1,
          pattern: str = "random", mix: Mix | None = None, full: bool = False) -> dict[str, Any]:
    """Open `flows` connections, then send `frames` packets over them, half in, half out; close them again.

    `mix` says what else is among them; `full` measures a table at 90 % of nf_conntrack_max as well.

    Returns
    -------
    dict
        flows, ns_per_packet, mpps, gbps; insert_ns per new flow (of a table that has been full before) and
        insert_cold_ns (of a new one, whose pages the system has yet to give); expire_ns; bytes_per_flow; touch_ns (see
        `natfast.touch`); sweep_ns per live flow looked at; columns_ns per packet given as columns; queues_ns per packet that a card
        has sorted for the workers (threads > 1); full_ratio (the time of a
        packet at 90 % of nf_conntrack_max over that at half); worst_call_us of any batch while the table grows; and RFC
        9693's metrics:
        connections_per_s (three-way handshakes and first UDP packets answered), teardown_ns and teardowns_per_s (the whole
        table deleted from outside, as by `conntrack -D`), closed_ns (a TCP connection's last three segments together),
        flows_per_gib (capacity).
    """
    with _undisturbed():
        return _bench(flows, frames, batch or (256 if threads == 1 else 1 << 15), size, seed, threads, pattern, mix or Mix(), full)


def _bench(flows: int, frames: int, batch: int, size: int, seed: int, threads: int, pattern: str, mix: Mix, full: bool) -> dict[str, Any]:
    lab = _Lab(flows, threads, seed, batch, size)
    nat = lab.nat
    cold = lab.stage("syn", 0.0)
    if len(nat) != flows:
        raise RuntimeError(f"{len(nat)} of {flows} flows were opened")
    lab.expire(1000.0)
    insert = lab.stage("syn", 1000.0)
    setup = insert + lab.open(1000.0)
    used = nat.stats["bytes"]
    swept = _timed(lambda: nat.expire(1000.0))
    per_packet = lab.packets(frames, pattern, mix, 1000.0)
    queues = lab.queues(frames, pattern, 1000.5)
    full_ratio = None
    if full:
        narrow = _Lab(flows, threads, seed, batch, size, 0.9)
        narrow.stage("syn", 0.0)
        narrow.open(0.0)
        full_ratio = narrow.packets(frames, pattern, mix, 0.0) / per_packet
        if isinstance(narrow.nat, Shards):
            narrow.nat.close()
    columns = None
    if isinstance(nat, Netfilter):
        given = _columns(_frames(_pick(np.random.default_rng(seed), flows, 1 << 17, pattern), "ack", 64))
        columns = min(_timed(lambda: nat.forward_columns(given, "docker0", "eth0", 1001.0)) for _ in range(REPEATS)) * 1e9 / (1 << 17)
    tcp = np.arange(flows)[np.arange(flows) % 4 != 0]
    closed = sum(lab.stage(stage, 1001.0, tcp) for stage in ("fin", "finack", "lastack"))
    live = len(nat)
    expire, gone = lab.expire(1e6)
    if gone != live:
        raise RuntimeError(f"{gone} of {live} flows expired")
    lab.stage("syn", 1e6)
    teardown = _timed(nat.delete_conntrack)
    if len(nat):
        raise RuntimeError(f"{len(nat)} of {flows} flows were not torn down")
    fresh = _Lab(flows, threads, seed, batch, size)
    worst = _worst_call(fresh.nat, _frames(np.arange(min(flows, 1 << 18)), "syn", size), "docker0", "eth0", 0.0, batch)
    for used_nat in (nat, fresh.nat):
        if isinstance(used_nat, Shards):
            used_nat.close()
    return {"flows": flows, "ns_per_packet": per_packet, "mpps": 1e3 / per_packet, "gbps": size * 8 / per_packet,
            "insert_ns": insert * 1e9 / flows, "insert_cold_ns": cold * 1e9 / flows, "expire_ns": expire * 1e9 / max(gone, 1),
            "queues_ns": queues, "sweep_ns": swept * 1e9 / flows, "columns_ns": columns, "full_ratio": full_ratio,
            "bytes_per_flow": used / flows, "touch_ns": touch_ns(flows), "worst_call_us": worst * 1e6,
            "connections_per_s": flows / setup, "closed_ns": closed * 1e9 / len(tcp) if len(tcp) else None,
            "teardown_ns": teardown * 1e9 / flows, "teardowns_per_s": flows / teardown,
            "flows_per_gib": int((1 << 30) / (used / flows)), "frames": frames, "batch": batch, "frame_size": size,
            "threads": threads, "pattern": pattern, "mix": vars(mix)}


def plot(rows: list[dict[str, Any]], path: str) -> None:
    """ns per packet and per new flow over the number of flows, beside what memory alone costs.

    Raises
    ------
    NatfastError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NatfastError("--plot needs matplotlib (pip install 'simcore-natfast[study]')") from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    flows = [r["flows"] for r in rows]
    for key, label in (("ns_per_packet", "established packet"), ("insert_ns", "new flow"), ("expire_ns", "expired flow"),
                       ("touch_ns", "its memory alone")):
        axes.plot(flows, [r[key] for r in rows], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="flows", ylabel="ns", title="natfast, one core" if rows[0]["threads"] == 1 else "natfast")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
