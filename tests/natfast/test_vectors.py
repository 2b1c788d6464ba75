"""Batches forwarded many at once do what packets one by one do: random traffic of many connections, every vector unit that is here."""
from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from natfast import Netfilter, Rules
from natfast.bench import _frames
from natfast.checksum import internet_checksum

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}
RULES = ("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
         "-A PREROUTING -i eth0 -p tcp -m tcp --dport 8000:8999 -j DNAT --to-destination 172.17.0.9:80\n"
         "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n"
         "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
         "-A FORWARD -m conntrack --ctstate INVALID -j LOG\nCOMMIT\n")
COUNTS_ALL = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING\nCOMMIT\n"
STRIDE = 192
TIMESTAMP, SACK_ALLOWED, SCALE_7, SACK = b"\1\1\x08\x0a12345678", b"\1\1\4\2", b"\1\3\3\7", b"\1\1\5\x0aabcdefgh"
ODD = ("payload", "header", "ttl", "options", "fragment", "short", "arp", "tiny", "none", "length")
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128


def packet(r: random.Random, src: int, dst: int, protocol: int, transport: bytes, check_at: int | None, odd: str = "") -> bytes:
    """An Ethernet frame; `odd` says what is wrong with it."""
    options = b"\1\1\1\0" if odd == "options" else b""
    body = bytearray(transport[:r.randrange(8, 20)] if odd == "tiny" else transport)
    ttl = 1 if odd == "ttl" else r.choice((64, 2, 255))
    head = bytearray(struct.pack(">BBHHHBBHII", 0x45 + len(options) // 4, r.choice((0, 0, 8)), 20 + len(options) + len(body),
                                 r.randrange(65536), 0x2000 if odd == "fragment" else 0x4000, ttl, protocol, 0, src, dst) + options)
    if check_at is not None and odd != "tiny":
        pseudo = bytes(head[12:20]) + struct.pack(">HH", protocol, len(body)) if protocol != 1 else b""
        c = internet_checksum(pseudo + bytes(body))
        body[check_at:check_at + 2] = ((c or 0xFFFF) if protocol == 17 else c).to_bytes(2, "big")
    if odd == "payload" and len(body):
        body[r.randrange(len(body))] ^= 1 << r.randrange(8)
    head[10:12] = internet_checksum(bytes(head)).to_bytes(2, "big")
    if odd == "header":
        head[r.randrange(1, 20)] ^= 1 << r.randrange(8)
    frame = bytes(12) + (b"\x08\x06" if odd == "arp" else b"\x08\x00") + bytes(head + body)
    if odd == "short":
        frame = frame[:r.randrange(10, len(frame))]
    return frame + r.randbytes(r.choice((0, 0, 0, 6)))      # some are padded


class Flow:
    """One connection of a container to a server, or of somebody to a published port."""

    def __init__(self, r: random.Random, i: int) -> None:
        self.r, self.udp, self.published = r, i % 4 == 0, i % 7 == 1
        self.inside = (0xAC110002 + i % 50, 2000 + i)
        self.server = (0x5DB80000 + r.randrange(3000), r.choice((80, 443)))
        if self.published:
            self.inside, self.server = (0xAC110009, 80), (0x0A000000 + i, 4000 + i)
        self.outside = (0xC0A80164, 8000 + i if self.published else self.inside[1])
        self.next = [r.randrange(1 << 32), r.randrange(1 << 32)]       # of the inner side, of the outer
        self.options = TIMESTAMP if r.random() < 0.5 else b""
        self.allowed = r.choice((b"", SACK_ALLOWED)) + r.choice((b"", SCALE_7))
        self.window = r.choice((64000, 64000, 300, 20, 0))
        self.last: dict[bool, bytes] = {}

    def segment(self, inward: bool, flags: int, payload: int = 0, options: bytes = b"", seq: int = 0, ack: int = 0,
                window: int | None = None, odd: str = "", more: int = 0) -> bytes:
        src, dst = (self.server, self.outside) if inward else (self.inside, self.server)
        mine, acknowledged = self.next[inward], self.next[not inward] + ack if flags & ACK else 0
        header = (20 + len(options) + more) // 4 << 4 | self.r.choice((0, 0, 0, 1))
        th = struct.pack(">HHIIBBHHH", src[1], dst[1], (mine + seq) & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, header, flags,
                         self.window if window is None else window, 0, 0)
        self.next[inward] = (mine + (0 if odd or seq else payload) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        return packet(self.r, src[0], dst[0], 6, th + options + self.r.randbytes(payload), 16, odd)

    def opening(self) -> list[tuple[bool, bytes]]:
        """(inward, frame) of the handshake, or of a datagram and its answer."""
        first = self.published
        if self.udp:
            return [(first, self.datagram(first)), (not first, self.datagram(not first))]
        return [(first, self.segment(first, SYN, options=self.allowed)),
                (not first, self.segment(not first, SYN | ACK, options=self.allowed)), (first, self.segment(first, ACK))]

    def odd_opening(self) -> bytes:
        r, odd = self.r, self.r.choice(("",) * 20 + ODD)
        if self.udp:
            return self.datagram(self.published, odd)
        flags = SYN | r.choice((0, 0, 0, PSH, URG, ECE, ECE | CWR, FIN, ACK, RST))
        return self.segment(self.published, flags, r.choice((0, 0, 1, 30)), r.choice((b"", self.allowed, TIMESTAMP)),
                            odd="" if odd in ("none", "length") else odd, more=r.choice((0, 0, 0, 0, -4, 4, 20)))

    def datagram(self, inward: bool, odd: str = "") -> bytes:
        src, dst = (self.server, self.outside) if inward else (self.inside, self.server)
        n = self.r.randrange(0, 90)
        length = 8 + n + (self.r.choice((-9, 1, 400)) if odd == "length" else 0)
        body = struct.pack(">HHHH", src[1], dst[1], max(length, 0), 0) + self.r.randbytes(n)
        if odd == "zero":                                   # as it leaves, its checksum is the zero that is sent as 0xffff
            left = struct.pack(">IIHH", self.outside[0], dst[0], 17, 10) + body[:4] + b"\0\x0a\0\0"
            body = body[:4] + b"\0\x0a\0\0" + internet_checksum(left).to_bytes(2, "big")
        return packet(self.r, src[0], dst[0], 17, body, None if odd == "none" else 6, odd)

    def next_frame(self, inward: bool) -> bytes:
        r = self.r
        odd = r.choice(ODD) if r.random() < 0.06 else ""
        if self.udp:
            return self.datagram(inward, odd or r.choice(("", "", "", "none", "" if inward else "zero")))
        odd = "" if odd in ("none", "length") else odd
        x = r.random()
        if x < 0.08 and inward in self.last:
            return self.last[inward]                        # the same again
        if x < 0.11:
            return self.segment(inward, r.choice((FIN | ACK, RST, SYN, SYN | ACK, RST | ACK, ECE | ACK, 0, FIN, URG | ACK)), odd=odd)
        if x < 0.16:
            edge = self.window << (7 if SCALE_7 in self.allowed else 0)
            seq = r.choice((-1, -70000, 70000, 1 << 30, edge + r.choice((-61, -1, 0, 1, 2))))
            return self.segment(inward, ACK, r.randrange(60), seq=seq, odd=odd)
        if x < 0.20:
            return self.segment(inward, ACK, r.randrange(60), ack=r.choice((1, -70000, 1 << 30, -1)), odd=odd)
        frame = self.segment(inward, ACK | r.choice((0, PSH)), r.choice((0, 0, 1, 7, 8, 10, 12, 100)),
                             SACK if x < 0.24 else self.options, window=r.choice((None, None, None, 501, 0)), odd=odd)
        self.last[inward] = frame
        return frame


def batches(seed: int) -> Iterator[tuple[float, bool, list[bytes]]]:
    """(seconds, inward, frames), the openings first."""
    r = random.Random(seed)
    flows = [Flow(r, i) for i in range(150)]
    now = 1.0
    openings = [f.opening() for f in flows]
    for step in range(3):
        for inward in (False, True):
            frames = [frame for o in openings for way, frame in o[step:step + 1] if way == inward]
            if frames:
                yield now, inward, frames
    for _ in range(70):
        now += r.choice((0.0, 0.0, 1.0, 3.0))
        inward = r.random() < 0.5
        some = r.sample(flows, 12) if r.random() < 0.2 else flows
        frames = []
        for _ in range(r.choice((5, 15, 16, 48, 49, 130))):
            x = r.random()
            if x < 0.02:
                frames.append(packet(r, 0xAC110002, 0x5DB80001, 1, struct.pack(">BBHHH", 8, 0, 0, r.randrange(9), 1), 2))
            elif x < 0.04:                                  # a new connection among the others
                frames.append(Flow(r, 1000 + r.randrange(4000)).opening()[0][1])
            elif x < 0.06:                                  # one that is perhaps not in order
                frames.append(Flow(r, 5000 + r.randrange(4000)).odd_opening())
            else:
                frames.append(r.choice(some).next_frame(inward))
        yield now, inward, frames


def rows_of(frames: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    rows = np.zeros((len(frames), STRIDE), np.uint8)
    for row, f in zip(rows, frames, strict=True):
        row[:len(f)] = np.frombuffer(f, np.uint8)
    return rows, np.array([len(f) for f in frames], np.uint32)


def with_each_unit(settings: dict[str, float], seed: int) -> dict[str, Netfilter]:
    """A `Netfilter` for each vector unit of this machine; "long way" first: a rule that counts sends all through every hook."""
    all_units = ("none", "avx2", "avx512")
    nats = {"long way": Netfilter(Rules.from_iptables_save(COUNTS_ALL + RULES), INTERFACES, settings, seed=seed)}
    for unit in all_units[:all_units.index(Netfilter().vectors) + 1]:
        nats[unit] = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, settings, seed=seed)
        nats[unit].vectors = unit
    return nats


@pytest.mark.parametrize("seed", range(16))
def test_all_vector_units_do_the_same(seed: int) -> None:
    settings: dict[str, float] = {"net.netfilter.nf_conntrack_max": (1 << 16, 170, 40)[seed % 3],
                                  "net.netfilter.nf_conntrack_checksum": seed % 4 != 3}
    r = random.Random(seed)
    for name in ("tcp_timeout_established", "tcp_timeout_unacknowledged", "tcp_timeout_max_retrans", "udp_timeout", "udp_timeout_stream"):
        settings[f"net.netfilter.nf_conntrack_{name}"] = r.choice((6, 20, 60, 1000))
    settings["net.netfilter.nf_conntrack_tcp_max_retrans"] = r.choice((1, 2, 3))
    nats = with_each_unit(settings, seed)
    units = list(nats)
    passed, walked = 0, {"rules_walked": 0}
    for number, (now, inward, frames) in enumerate(batches(seed)):
        rows, lengths = rows_of(frames)
        when = now if number % 2 else now + np.arange(len(frames)) * 1e-3
        macs = (b"\1" * 6, b"\2" * 6) if number % 3 else None
        results = []
        for unit in units:
            out, n = rows.copy(), lengths.copy()
            verdicts = nats[unit].forward(out, n, *(("eth0", "docker0") if inward else ("docker0", "eth0")), when, macs)
            results.append((verdicts.tolist(), n.tolist(), out.tobytes()))
        for unit, result in zip(units, results, strict=True):
            assert result == results[0], (unit, number)
        passed += results[0][0].count(1)
    for unit in units[1:]:
        assert nats[unit].conntrack() == nats["long way"].conntrack()
        assert nats[unit].stats | walked == nats["long way"].stats | walked
        assert nats[unit].log() == nats["long way"].log()
        assert nats[unit].rule_counters() == [c for c in nats["long way"].rule_counters() if c[0] != "raw"]
    for later in (1, 10, 30, 100):
        assert len({nat.expire(now + later) for nat in nats.values()}) == 1
    assert passed > 500


@pytest.mark.parametrize("seed", range(12))
def test_columns_become_the_same_packets(seed: int) -> None:
    """Any of the optional columns, groups with and without protocols that lanes leave alone, any number of rows."""
    rng = np.random.default_rng(seed)
    nats = with_each_unit({}, seed)
    for round_ in range(30):
        n = int(rng.integers(1, 600))
        columns = {"src": 0xAC110002 + rng.integers(0, 4, n), "dst": 0x5DB80000 + rng.integers(0, 3, n),
                   "proto": rng.choice((6, 17, 1, 132), n, p=(0.6, 0.35, 0.03, 0.02) if round_ % 2 else (0.6, 0.4, 0, 0))}
        optional = {"sport": rng.integers(1, 1 << 16, n) if round_ % 3 else 2000 + rng.integers(0, 40, n), "dport": rng.integers(1, 9, n),
                    "length": rng.integers(0, 1 << 16, n), "flags": rng.choice((2, 16, 18, 17, 4), n), "seq": rng.integers(0, 1 << 32, n),
                    "ack": rng.integers(0, 1 << 32, n), "window": rng.integers(0, 1 << 16, n)}
        columns |= {name: values for name, values in optional.items() if rng.random() < 0.6}
        way = ("docker0", "eth0") if rng.random() < 0.7 else ("eth0", "docker0")
        outs = [nat.forward_columns(columns, *way, float(round_)) for nat in nats.values()]
        for out in outs[1:]:
            for name, values in outs[0].items():
                assert (out[name] == values).all(), (round_, name)
    tables = [nat.conntrack() for nat in nats.values()]
    assert tables.count(tables[0]) == len(tables)


def test_an_entry_that_expires_sooner_than_before_is_found() -> None:
    """Data that nobody has acknowledged shortens an entry's life: its block must know, or nothing would look for it."""
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, {"net.netfilter.nf_conntrack_tcp_timeout_unacknowledged": 20})
    r = random.Random(1)
    flows = [flow for flow in (Flow(r, i) for i in range(40)) if not flow.udp and not flow.published]
    openings = [flow.opening() for flow in flows]
    for step, ways in enumerate((("docker0", "eth0"), ("eth0", "docker0"), ("docker0", "eth0"))):
        nat.forward(*rows_of([o[step][1] for o in openings]), *ways, 1.0)
    assert nat.expire(130.0) == 0, "each block now knows that nothing is due for days"
    nat.forward(*rows_of([flow.segment(False, ACK, 10, window=64000) for flow in flows]), "docker0", "eth0", 130.0)
    assert nat.expire(151.0) == len(flows)


def test_a_table_whose_buckets_are_chained_and_whose_tags_collide() -> None:
    """100 000 connections: one tuple in fifty is in a bucket that another leads to, dozens share their tags with others."""
    n, rng = 100_000, np.random.default_rng(1)
    nats = with_each_unit({}, 1)
    some = rng.integers(0, n, n)
    stages = (("syn", np.arange(n)), ("synack", np.arange(n)), ("ack", some), ("data", some), ("syn", np.arange(n - 40, n + 4000)))
    for stage, flows in stages:
        t = _frames(flows, stage, 64)
        way = ("docker0", "eth0") if stage in ("syn", "ack") else ("eth0", "docker0")
        results = []
        for nat in nats.values():
            frames, lengths = t.frames.copy(), t.lengths.copy()
            verdicts = np.concatenate([nat.forward(frames[at:at + 250], lengths[at:at + 250], *way, 1.0)
                                       for at in range(0, len(frames), 250)])
            results.append((verdicts.tobytes(), frames.tobytes(), lengths.tobytes()))
        assert results.count(results[0]) == len(results), stage
        assert verdicts.min() == 1
    stats = [nat.stats | {"rules_walked": 0} for nat in nats.values()]
    assert stats.count(stats[0]) == len(stats)
    assert [len(nat) for nat in nats.values()] == [n + 4000] * len(nats)


def test_a_unit_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="vectors: 'sse' is not one of none"):
        Netfilter().vectors = "sse"
