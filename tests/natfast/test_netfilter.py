"""The Python surface of natfast: batch, single packet, hooks, limits, expiry, port choice."""
from __future__ import annotations

import json
import random
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether

import natfast
from natfast import Netfilter, Rules
from natfast.bench import _frames
from natfast.checksum import internet_checksum
from natfast.defrag import Defragmenter

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}


def rules(options: str = "") -> Rules:
    return Rules.from_iptables_save(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
        f"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p tcp -j MASQUERADE {options}\n"
        f"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p udp -j MASQUERADE {options}\n"
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n")


def udp(src: str, sport: int, dst: str = "93.184.216.34", dport: int = 53, payload: bytes = b"x") -> bytes:
    head = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    addresses = bytes(int(x) for a in (src, dst) for x in a.split("."))
    c = internet_checksum(addresses + struct.pack(">HH", 17, 8 + len(payload)) + head + payload) or 0xFFFF
    ip = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0x4000, 64, 17, 0) + addresses)
    ip[10:12] = internet_checksum(bytes(ip)).to_bytes(2, "big")
    return bytes(12) + b"\x08\x00" + bytes(ip) + head[:6] + c.to_bytes(2, "big") + payload


def send(nat: Netfilter, frame: bytes, iif: str = "docker0", oif: str = "eth0", now: float = 0.0) -> tuple[int, bytes]:
    buf = np.frombuffer(frame, np.uint8).copy().reshape(1, -1)
    n = np.array([len(frame)], np.uint32)
    verdict = int(nat.forward(buf, n, iif, oif, now)[0])
    return verdict, bytes(buf[0, :n[0]])


def sport(frame: bytes) -> int:
    return int.from_bytes(frame[34:36], "big")


def test_batch_single_packet_and_scapy_agree() -> None:
    frames = [udp("172.17.0.2", 1000 + i, payload=bytes(i % 23)) for i in range(300)]
    one, many = Netfilter(rules(), INTERFACES), Netfilter(rules(), INTERFACES)
    batch = np.zeros((300, 128), np.uint8)
    lengths = np.array([len(f) for f in frames], np.uint32)
    for row, f in zip(batch, frames, strict=True):
        row[:len(f)] = np.frombuffer(f, np.uint8)
    verdicts = many.forward(batch, lengths, "docker0", "eth0", 0.0, macs=(b"\1" * 6, b"\2" * 6))
    assert verdicts.dtype == np.uint8
    assert (verdicts == natfast.ACCEPT).all()
    a, b = one.interface_number("docker0"), one.interface_number("eth0")
    for i, f in enumerate(frames):
        buf = bytearray(f)
        assert one.packet(buf, a, b) == natfast.ACCEPT
        got = bytes(batch[i, :lengths[i]])
        assert got[:12] == b"\1" * 6 + b"\2" * 6
        assert got[14:] == bytes(buf[14:])
        p = IP(f[14:])
        p.src, p.ttl = "192.168.1.100", 63
        del p.chksum, p[UDP].chksum
        assert got[14:] == bytes(p)
    assert one.conntrack() == many.conntrack()


def test_conntrack_text() -> None:
    nat = Netfilter(rules(), INTERFACES)
    send(nat, udp("172.17.0.2", 5353))
    assert nat.conntrack(0.0) == [
        "udp 17 30 src=172.17.0.2 dst=93.184.216.34 sport=5353 dport=53 [UNREPLIED] "
        "src=93.184.216.34 dst=192.168.1.100 sport=53 dport=5353 mark=0 use=1"]
    assert nat.conntrack(29.999)
    assert nat.conntrack(30.0) == []
    assert len(nat) == 1
    assert nat.expire(30.0) == 1
    assert len(nat) == 0


@pytest.mark.parametrize(("port", "low", "high"), [(300, 1, 511), (700, 600, 1023), (40000, 1024, 65535)])
def test_clash_draws_from_the_class_of_the_port(port: int, low: int, high: int) -> None:
    nat = Netfilter(rules(), INTERFACES, seed=7)
    assert sport(send(nat, udp("172.17.0.2", port))[1]) == port
    drawn = [sport(send(nat, udp(f"172.17.1.{i}", port))[1]) for i in range(1, 201)]
    assert all(low <= p <= high for p in drawn)
    assert len(set(drawn)) == len(drawn)
    deciles = np.histogram(drawn, bins=4, range=(low, high + 1))[0]
    assert deciles.min() > 25, "the start of the search is uniform over the class"


def test_mapping_sticks_across_destinations() -> None:
    nat = Netfilter(rules(), INTERFACES, seed=3)
    send(nat, udp("172.17.0.2", 5000))
    odd = sport(send(nat, udp("172.17.0.3", 5000))[1])
    assert odd != 5000
    assert sport(send(nat, udp("172.17.0.3", 5000, "198.51.100.7"))[1]) == odd
    assert sport(send(nat, udp("172.17.0.2", 5000, "198.51.100.7"))[1]) == 5000


def test_mappings_stick_however_many_sources_share_a_chain() -> None:
    """As many sources as chains, of which some have ended: each is found in its chain among the others."""
    nat = Netfilter(rules(), INTERFACES, {"net.netfilter.nf_conntrack_max": 1 << 15, "net.netfilter.nf_conntrack_udp_timeout": 10}, seed=3)
    places = range(0, 64000, 8)

    def ports(container: str, server: str, now: float) -> list[int]:
        frames = [udp(container, 1024 + i, server) for i in places]
        rows = np.array([np.frombuffer(f, np.uint8) for f in frames])
        assert nat.forward(rows, np.full(len(rows), rows.shape[1], np.uint32), "docker0", "eth0", now).all()
        return [sport(bytes(row)) for row in rows]

    first = ports("172.17.0.2", "93.184.216.34", 0.0)
    odd = ports("172.17.0.3", "93.184.216.34", 1.0)
    assert first == [1024 + i for i in places]
    assert not set(first) & set(odd)
    ports("172.17.0.2", "198.51.100.9", 8.0)
    nat.expire(10.5)                                        # those of `first` to the first server
    assert nat.delete_conntrack(dst="198.51.100.9") == len(places)     # the newest of theirs, heads of their chains
    assert len(nat) == len(places)
    assert ports("172.17.0.3", "198.51.100.7", 10.6) == odd
    nat.flush()
    assert ports("172.17.0.3", "198.51.100.7", 20.0) == first


def test_port_range_exhaustion_is_silent_and_counted() -> None:
    nat = Netfilter(rules("--to-ports 40000-40009"), INTERFACES)
    got = [send(nat, udp("172.17.0.2", 1000 + i)) for i in range(12)]
    assert sorted(sport(f) for v, f in got if v == natfast.ACCEPT) == list(range(40000, 40010))
    assert [v for v, _ in got[10:]] == [natfast.DROP, natfast.DROP]
    assert nat.stats["insert_failed"] == 2
    assert nat.stats["drop"] == 2


def test_bounded_search_fails_before_the_range_is_full() -> None:
    """KERNEL.md section 4: with 512 random free ports of 64512 some 70 % of new flows find one, not all."""
    nat = Netfilter(rules("--to-ports 1024-65535"), INTERFACES, seed=5)
    rng = np.random.default_rng(5)
    ports = rng.permutation(np.arange(1024, 65536))
    for p in ports[512:]:
        send(nat, udp("172.17.0.2", int(p)))
    before = len(nat)
    assert before == 64000
    for i in range(400):
        send(nat, udp(f"172.17.{2 + i // 250}.{i % 250 + 1}", 1023 + int(ports[-1 - i]) % 7 * 0 + 1))
    assert 0.55 < (len(nat) - before) / 400 < 0.82


def test_full_table_evicts_unassured_first_and_then_drops() -> None:
    nat = Netfilter(rules(), INTERFACES, {"net.netfilter.nf_conntrack_max": 100})
    for i in range(300):
        assert send(nat, udp("172.17.0.2", 1024 + i))[0] == natfast.ACCEPT
    assert len(nat) <= 100
    assert nat.stats["early_drop"] >= 200
    full = Netfilter(rules(), INTERFACES, {"net.netfilter.nf_conntrack_max": 50})
    for i in range(50):
        out = send(full, udp("172.17.0.2", 1024 + i))[1]
        assert send(full, udp("93.184.216.34", 53, "192.168.1.100", sport(out)), "eth0", "docker0")[0] == natfast.ACCEPT
        send(full, udp("172.17.0.2", 1024 + i), now=3.0)
    assert all("[ASSURED]" in line for line in full.conntrack(3.0))
    assert send(full, udp("172.17.0.2", 9999), now=3.0)[0] == natfast.DROP
    assert full.stats["table_full"] == 1


def test_many_inserts_and_deletes_leave_a_table_that_works() -> None:
    nat = Netfilter(rules(), INTERFACES)
    for round_ in range(20):
        now = round_ * 100.0
        for i in range(2000):
            send(nat, udp(f"172.17.{i % 7}.9", 1024 + i, dport=round_ + 1), now=now)
        assert len(nat.conntrack(now)) == 2000
        for i in range(0, 2000, 97):
            reply = udp("93.184.216.34", round_ + 1, "192.168.1.100", 1024 + i)
            verdict, out = send(nat, reply, "eth0", "docker0", now)
            assert verdict == natfast.ACCEPT
            assert out[30:34] == bytes([172, 17, i % 7, 9])
        nat.expire(now + 99.0)
        assert len(nat) == 0


def test_udp_zero_checksum_stays_and_icmp_errors_are_mapped_inside_and_out() -> None:
    nat = Netfilter(rules(), INTERFACES)
    zero = bytearray(udp("172.17.0.2", 7000))
    zero[40:42] = b"\0\0"
    assert send(nat, bytes(zero))[1][40:42] == b"\0\0"
    out = send(nat, udp("172.17.0.2", 7001, payload=b"abcdefgh"))[1]
    error = bytes(Ether() / IP(src="203.0.113.9", dst="192.168.1.100") / ICMP(type=11, code=0) / IP(out[14:]))
    verdict, back = send(nat, error, "eth0", "docker0")
    assert verdict == natfast.ACCEPT
    inner = IP(back[14:])[ICMP].payload
    assert back[30:34] == bytes([172, 17, 0, 2])
    assert (inner.src, inner.sport) == ("172.17.0.2", 7001)
    fixed = IP(bytes(IP(src="172.17.0.2", dst="93.184.216.34", ttl=63, id=1, flags="DF") / UDP(sport=7001, dport=53) / b"abcdefgh"))
    assert inner.chksum == fixed.chksum
    assert inner.payload.chksum == fixed[UDP].chksum


def test_fragments_are_held_until_the_datagram_is_whole() -> None:
    nat = Netfilter(rules(), INTERFACES)
    whole = IP(src="172.17.0.2", dst="93.184.216.34", id=9) / UDP(sport=5000, dport=53) / (b"0123456789" * 200)
    pieces = [bytes(Ether() / f) for f in whole.fragment(800)]
    assert [send(nat, p)[0] for p in pieces] == [natfast.STOLEN] * len(pieces)
    [(frame, verdict, size, sizes)] = nat.take_reassembled()
    assert verdict == natfast.ACCEPT
    assert size == max(len(p) - 14 for p in pieces)
    assert sum(sizes) == len(frame) - 34
    assert frame[26:30] == bytes([192, 168, 1, 100])


def test_fragments_have_limits() -> None:
    def piece(ident: int, offset: int, more: bool, src: str = "10.0.0.1") -> bytes:
        return bytes(IP(src=src, dst="10.0.0.2", id=ident, frag=offset // 8, flags="MF" if more else 0, proto=17) / (b"x" * 8))

    d = Defragmenter(max_dist=64)
    for others, whole in ((63, True), (64, False)):
        d.clear()
        d.push(piece(1, 0, True), 0.0)
        for k in range(others):
            d.push(piece(1000 + k, 0, True), 0.0)
        assert (d.push(piece(1, 8, False), 0.0) is not None) == whole
    d = Defragmenter(high_thresh=10_000, max_dist=0)
    for k in range(20):
        d.push(piece(k, 0, True, f"10.0.1.{k}"), 0.0)
    assert len(d.queues) == 13, "776 bytes each: the 13th is the first over the limit"
    assert d.failed == 7
    assert len(d.expire(30.0)) == 13
    assert d.waiting == 0


def test_bad_arguments_are_named() -> None:
    nat = Netfilter(rules(), INTERFACES)
    frames = np.zeros((2, 64), np.uint8)
    with pytest.raises(ValueError, match="lengths has 1 entries for 2 frames"):
        nat.forward(frames, np.zeros(1, np.uint32), "docker0", "eth0")
    with pytest.raises(ValueError, match="more than the frames' stride of 64"):
        nat.forward(frames, np.array([60, 65], np.uint32), "docker0", "eth0")
    with pytest.raises(ValueError, match="sysctl 'net.netfilter.nf_conntrack_nonsense' is not known"):
        Netfilter(rules(), INTERFACES, {"net.netfilter.nf_conntrack_nonsense": 1})
    with pytest.raises(natfast.BoxError, match="interface eth0: '192.168.1.300/24' is not an address"):
        Netfilter(rules(), {"eth0": ["192.168.1.300/24"]})


def test_real_rules_round_trip(data: Path) -> None:
    text = (data / "oracle" / "docker.v4").read_text()
    once = Rules.from_iptables_save(text)
    assert Rules.from_iptables_save(once.to_iptables_save()).to_iptables_save() == once.to_iptables_save()
    assert once.to_iptables_save() == text


def test_tcp_states_by_name() -> None:
    nat = Netfilter(rules(), INTERFACES)

    def tcp(flags: str, inward: bool, seq: int, ack: int) -> None:
        a, b = ("93.184.216.34", "192.168.1.100") if inward else ("172.17.0.2", "93.184.216.34")
        p = IP(src=a, dst=b) / TCP(sport=80 if inward else 4000, dport=4000 if inward else 80, flags=flags, seq=seq, ack=ack)
        send(nat, bytes(Ether() / p), *(("eth0", "docker0") if inward else ("docker0", "eth0")))

    states = []
    for flags, inward, seq, ack in [("S", False, 1, 0), ("SA", True, 9, 2), ("A", False, 2, 10), ("FA", False, 2, 10),
                                    ("A", True, 10, 3), ("FA", True, 10, 3), ("A", False, 3, 11)]:
        tcp(flags, inward, seq, ack)
        states.append(nat.conntrack()[0].split()[3])
    assert states == ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"]


def conversations(data: Path) -> list[list[tuple[bool, bytes]]]:
    """(inward, frame) of recorded random conversations and of fresh ones that stay near the edges of TCP windows."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "kernel" / "rig"))
    import kinds
    out = []
    for case in sorted((data / "oracle" / "random").glob("*.jsonl")):
        rows = [json.loads(line) for line in case.read_text().splitlines()]
        out.append([(r["in"] == "eth0", bytes.fromhex(r["frame"])) for r in rows] * 2)
    for k in range(60):
        out.append([(w == "eth0", f) for w, f in kinds.tcp_case(random.Random(k)) if len(f) <= 640])
    return out


def test_a_batch_does_what_single_packets_and_the_long_way_do(data: Path) -> None:
    """Established packets take a short way, batches look ahead: nothing may tell the difference.

    A raw table with a rule that only counts sends everything the long way, through every hook.
    """
    def counted(nat: Netfilter) -> str:
        """What rules and policies counted, but for that table."""
        return re.sub(r"(?s)\*raw.*?COMMIT\n", "", nat.iptables_save())

    long_way = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING\nCOMMIT\n"
    docker = (data / "oracle" / "docker.v4").read_text()
    leading = ("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
               "-A FORWARD -j ACCEPT\nCOMMIT\n")
    by_packet = leading.replace("-A FORWARD -m", "-A FORWARD -p tcp -m ttl --ttl-gt 60 -m")
    empty = "*mangle\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"))
    for text in (rules().to_iptables_save(), docker, rules().to_iptables_save() + leading + empty + "COMMIT\n",
                 rules().to_iptables_save() + by_packet + empty + "COMMIT\n"):
        for frames in conversations(data):
            one, many = (Netfilter(Rules.from_iptables_save(text), INTERFACES, seed=1) for _ in range(2))
            slow = Netfilter(Rules.from_iptables_save(long_way + text), INTERFACES, seed=1)
            a, b = one.interface_number("docker0"), one.interface_number("eth0")
            at = 0
            while at < len(frames):
                inward = frames[at][0]
                end = next((i for i in range(at, len(frames)) if frames[i][0] != inward), len(frames))
                batch = np.zeros((end - at, 640), np.uint8)
                lengths = np.array([len(f) for _, f in frames[at:end]], np.uint32)
                for row, (_, f) in zip(batch, frames[at:end], strict=True):
                    row[:len(f)] = np.frombuffer(f, np.uint8)
                verdicts = many.forward(batch, lengths, *(("eth0", "docker0") if inward else ("docker0", "eth0")), 0.0)
                for i, (_, f) in enumerate(frames[at:end]):
                    for single in (one, slow):
                        buf = bytearray(f)
                        verdict = single.packet(buf, *((b, a) if inward else (a, b)))
                        assert verdict == verdicts[i]
                        assert bytes(batch[i, :lengths[i]]) == bytes(buf[:lengths[i]])
                at = end
            assert one.conntrack(0.0) == many.conntrack(0.0) == slow.conntrack(0.0)
            assert one.stats == many.stats
            differ = {"rules_walked"}
            assert {k: v for k, v in slow.stats.items() if k not in differ} == {k: v for k, v in one.stats.items() if k not in differ}
            assert counted(many) == counted(one) == counted(slow)
            assert re.search(r"^\[[1-9]\d*:\d+\] -A", counted(one), re.MULTILINE)


def test_hash_flooding_does_not_help() -> None:
    """Tuples that collide under an unkeyed hash of the same words spread like any others under the keyed one."""
    rng = np.random.default_rng(1)
    n = 1 << 15
    # against h = src ^ dst ^ (ports), folded: all of these have one value
    src = rng.integers(0xAC100000, 0xAC1FFFFF, n, dtype=np.uint64)
    dst = (src ^ np.uint64(0x0A0A0A0A)) & np.uint64(0xFFFFFFFF)
    hostile, ordinary = Netfilter(rules(), INTERFACES), Netfilter(rules(), INTERFACES)
    frames = _frames(np.arange(n), "syn", 64)
    any_src, any_dst = rng.integers(0xAC100000, 0xAC1FFFFF, n), rng.integers(1 << 24, 1 << 30, n)
    for nat, sources, destinations in ((hostile, src, dst), (ordinary, any_src, any_dst)):
        f = frames.frames.copy()
        for at, values in ((26, sources), (30, destinations)):
            for k in range(4):
                f[:, at + k] = (values.astype(np.uint64) >> np.uint64(24 - 8 * k)) & np.uint64(255)
        nat.set_sysctl("net.netfilter.nf_conntrack_checksum", 0)
        f[:, 24:26] = 0
        words = f[:, 14:34].astype(np.uint32)
        total = (words[:, 0::2] << 8 | words[:, 1::2]).sum(axis=1)
        total = (total & 0xFFFF) + (total >> 16)
        check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        f[:, 24], f[:, 25] = check >> 8, check & 255
        nat.forward(f, frames.lengths.copy(), "docker0", "eth0")
    a, b = hostile.chain_lengths(), ordinary.chain_lengths()
    assert min(len(hostile), len(ordinary)) > 0.99 * n
    assert len(a) <= len(b) + 2, "no bucket's chain is longer than chance makes it"
    assert abs(a[1] / sum(a) - b[1] / sum(b)) < 0.02


def test_steady_state_costs_no_memory() -> None:
    """Many times as many flows as the table ever holds at once: it does not rot, grow or lose any."""
    nat = Netfilter(rules(), INTERFACES, {"net.netfilter.nf_conntrack_max": 1 << 20})
    n, sizes = 1 << 14, []
    for generation in range(24):
        now = 40.0 * generation
        frames = _frames(np.arange(generation * 977, generation * 977 + n), "syn", 64)
        assert (nat.forward(frames.frames, frames.lengths, "docker0", "eth0", now) == natfast.ACCEPT).all()
        assert len(nat.conntrack(now)) >= n
        nat.expire(now + 300.0 if generation % 3 == 2 else now + 31.0)
        sizes.append(nat.stats["bytes"])
    assert max(sizes[3:]) <= 1.25 * sizes[2]


def test_columns_do_what_frames_do() -> None:
    """Handshakes, data, UDP and pings of many flows, as frames and as columns: the same addresses, ports and table."""
    by_frame, by_column = Netfilter(rules(), INTERFACES, seed=5), Netfilter(rules(), INTERFACES, seed=5)

    def column(f: np.ndarray, at: int, width: int) -> np.ndarray:
        return np.sum([f[:, at + k].astype(np.uint64) << np.uint64(8 * (width - 1 - k)) for k in range(width)], axis=0)

    def columns(f: np.ndarray) -> dict[str, np.ndarray]:
        tcp = f[:, 23] == 6
        return {"src": column(f, 26, 4), "dst": column(f, 30, 4), "proto": f[:, 23], "length": column(f, 16, 2),
                "sport": np.where(f[:, 23] == 1, column(f, 38, 2), column(f, 34, 2)),
                "dport": np.where(f[:, 23] == 1, column(f, 34, 2), column(f, 36, 2)),
                "flags": np.where(tcp, f[:, 47], 0), "seq": column(f, 38, 4), "ack": column(f, 42, 4), "window": column(f, 48, 2)}

    numbers = np.concatenate([np.arange(500), np.arange(60000, 60000 + 300)])
    for stage in ("syn", "synack", "ack", "data", "fin", "finack", "lastack"):
        way = ("eth0", "docker0") if stage in ("synack", "data", "finack") else ("docker0", "eth0")
        t = _frames(numbers, stage, 64)
        if stage in ("syn", "ack"):
            for i in range(0, 800, 50):
                ping = bytes(Ether() / IP(src=f"172.17.0.{i % 200 + 2}", dst="9.9.9.9", ttl=64) / ICMP(id=i, seq=1))
                t.frames[i, :len(ping)] = np.frombuffer(ping, np.uint8)
                t.lengths[i] = len(ping)
        given = columns(t.frames)
        verdicts = by_frame.forward(t.frames, t.lengths, *way, 1.0)
        out = by_column.forward_columns(given, *way, 1.0)
        after = columns(t.frames)
        assert (out["verdict"] == verdicts).all()
        for name in ("src", "dst", "sport", "dport"):
            assert (out[name] == after[name]).all(), (stage, name)
        assert by_column.conntrack() == by_frame.conntrack()
    assert len(by_column) > 800


@pytest.mark.parametrize(("columns", "message"), [
    ({"src": [1], "dst": [2]}, "proto is missing"),
    ({"src": [1], "dst": [2], "proto": [6], "ttl": [3]}, "ttl is not one of"),
    ({"src": [1], "dst": [2], "proto": [6], "sport": [1, 2]}, r"sport has shape \(2,\), expected \(1,\)"),
    ({"src": [1], "dst": [2], "proto": [6], "sport": [70000]}, "outside 0 to 65535"),
    ({"src": [1.5], "dst": [2], "proto": [6]}, "src is float64, expected uint32"),
    ({"src": [1], "dst": "10.0.0.256", "proto": 6}, "dst: '10.0.0.256' is not an IPv4 address"),
])
def test_wrong_columns_are_named(columns: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Netfilter(rules(), INTERFACES).forward_columns(columns, "docker0", "eth0")


def test_rules_replaced_at_run_time_keep_counters_and_connections() -> None:
    head = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
    masquerade = "-A POSTROUTING -s 172.17.0.0/16 -o eth0 -j MASQUERADE\n"
    drop = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -d 9.9.9.9/32 -j DROP\nCOMMIT\n"
    nat = Netfilter(Rules.from_iptables_save(head + masquerade + "COMMIT\n"), INTERFACES)
    known, other = udp("172.17.0.2", 4000), udp("172.17.0.2", 4001)
    assert sport(send(nat, known)[1]) == 4000
    later = "-A POSTROUTING -p udp --sport 4001 -j SNAT --to-source 192.168.1.100:5001\n"
    nat.replace_rules(Rules.from_iptables_save(head + masquerade + later + "COMMIT\n" + drop))
    assert [c[3] for c in nat.rule_counters() if c[2].endswith("MASQUERADE")] == [1]
    assert sport(send(nat, known)[1]) == 4000                   # decided when it began
    assert sport(send(nat, other)[1]) == 4001                   # the first rule that fits decides
    assert send(nat, udp("172.17.0.2", 4002, "9.9.9.9"))[0] == natfast.DROP
    nat.replace_rules(Rules.from_iptables_save(head + "COMMIT\n"))
    assert send(nat, udp("172.17.0.3", 1))[1][26:30] == bytes([172, 17, 0, 3])
    assert nat.delete_conntrack(17, sport=4000) == 1
    assert send(nat, known)[1][26:30] == bytes([172, 17, 0, 2])     # it is a new connection now
    assert nat.delete_conntrack(src="172.17.0.3", dst="93.184.216.34") == 1
    assert nat.delete_conntrack() == 2
    assert len(nat) == 0
