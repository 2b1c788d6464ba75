"""Shards: whatever the number of workers, the same packets come out."""
from __future__ import annotations

import os
import re
import time

import numpy as np
import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether

import natfast
from natfast import Netfilter, Rules, Shards
from natfast.bench import RULES, _frames

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}


def array(frames: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    out = np.zeros((len(frames), 128), np.uint8)
    for row, f in zip(out, frames, strict=True):
        row[:len(f)] = np.frombuffer(f, np.uint8)
    return out, np.array([len(f) for f in frames], np.uint32)


@pytest.mark.parametrize(("workers", "flows"), [(1, 4000), (2, 8192), (3, 20_000), (8, 16_385), (64, 4000), (5, 3)])
def test_the_same_as_one(workers: int, flows: int) -> None:
    """Of a batch that is dealt out at once or in several chunks, with fewer frames than workers, or more workers than processors."""
    rules = Rules.from_iptables_save(RULES)
    one = Netfilter(rules, INTERFACES)
    numbers = np.random.default_rng(1).permutation(flows)
    with Shards(workers, rules, INTERFACES) as many:
        for stage in ("syn", "synack", "ack", "data"):
            way = ("eth0", "docker0") if stage in ("synack", "data") else ("docker0", "eth0")
            a, b = _frames(numbers, stage, 64), _frames(numbers, stage, 64)
            assert (one.forward(a.frames, a.lengths, *way, 1.0) == many.forward(b.frames, b.lengths, *way, 1.0)).all()
            assert (a.frames == b.frames).all()
            assert (a.lengths == b.lengths).all()
        assert one.conntrack(1.0) == many.conntrack(1.0)
        assert len(many) == flows
        assert many.stats["found"] == one.stats["found"]
        if flows > 1000 * workers:
            assert min(map(len, many.workers)) > 0.7 * flows / workers
        assert one.delete_conntrack(17) == many.delete_conntrack(17)
        assert len(one) == len(many) == many.expire(1e6)


def test_answers_and_errors_reach_the_owner_of_a_translated_connection() -> None:
    """Every container wants the same source port, so almost every port is changed; nobody's answer gets lost."""
    rules = Rules.from_iptables_save(RULES)
    with Shards(4, rules, INTERFACES) as nat:
        servers = [f"93.184.{i}.34" for i in range(8)]
        query = UDP(sport=5000, dport=53) / b"12345678"
        out = [bytes(Ether() / IP(src=f"172.17.0.{c}", dst=s) / query) for c in range(2, 22) for s in servers]
        frames, lengths = array(out)
        assert (nat.forward(frames, lengths, "docker0", "eth0") == natfast.ACCEPT).all()
        sent = [IP(bytes(f[14:n])) for f, n in zip(frames, lengths, strict=True)]
        assert len({(p.dst, p.sport) for p in sent}) == len(out), "reply tuples are unique over all workers"
        back = [bytes(Ether() / IP(src=p.dst, dst=p.src) / UDP(sport=53, dport=p.sport) / b"answer") for p in sent]
        errors = [bytes(Ether() / IP(src="203.0.113.9", dst=p.src) / ICMP(type=11) / p)[:128] for p in sent]
        for kind in (back, errors):
            frames, lengths = array(kind)
            assert (nat.forward(frames, lengths, "eth0", "docker0", 0.1) == natfast.ACCEPT).all()
            assert [str(IP(bytes(f[14:n])).dst) for f, n in zip(frames, lengths, strict=True)] == [IP(f[14:]).src for f in out]


def test_a_fragmented_datagram_is_put_together_by_one_worker() -> None:
    with Shards(4, Rules.from_iptables_save(RULES), INTERFACES) as nat:
        whole = IP(src="172.17.0.2", dst="93.184.216.34", id=9) / UDP(sport=5000, dport=53) / (b"0123456789" * 20)
        frames, lengths = array([bytes(Ether() / f) for f in whole.fragment(80)])
        assert (nat.forward(frames, lengths, "docker0", "eth0") == natfast.STOLEN).all()
        [(frame, verdict, _, _)] = nat.take_reassembled()
        assert verdict == natfast.ACCEPT
        assert IP(frame[14:]).src == "192.168.1.100"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=re.escape("workers: expected 1 to 64, got 0")):
        Shards(0)
    with Shards(2) as nat, pytest.raises(ValueError, match="lengths has 1 entries for 2 frames"):
        nat.forward(np.zeros((2, 64), np.uint8), np.zeros(1, np.uint32), "docker0", "eth0")


def test_who_may_use_the_threads() -> None:
    frames, lengths = array([bytes(Ether() / IP(src="172.17.0.2", dst="93.184.216.34") / UDP(sport=5000, dport=53))])
    nat = Shards(2)
    child = os.fork()
    if child == 0:
        try:
            nat.forward(frames, lengths, "docker0", "eth0")
        except RuntimeError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    nat.close()
    with pytest.raises(RuntimeError, match="ended"):
        nat.forward(frames, lengths, "docker0", "eth0")


def test_batch_after_batch() -> None:
    """The members meet many times, now in haste and now out of sleep."""
    rules = Rules.from_iptables_save(RULES)
    one = Netfilter(rules, INTERFACES)
    rng = np.random.default_rng(3)
    with Shards(3, rules, INTERFACES) as many:
        for k in range(300):
            numbers = rng.integers(0, 500, int(rng.integers(1, 64)))
            a, b = _frames(numbers, "syn", 64), _frames(numbers, "syn", 64)
            expected = one.forward(a.frames, a.lengths, "docker0", "eth0", k / 100)
            assert (many.forward(b.frames, b.lengths, "docker0", "eth0", k / 100) == expected).all()
            assert (a.frames == b.frames).all()
            if k % 50 == 0:
                time.sleep(0.01)


def test_tcp_both_ways_has_one_owner() -> None:
    with Shards(8) as nat:
        for k in range(50):
            there = bytes(Ether() / IP(src="172.17.0.2", dst="93.184.216.34") / TCP(sport=4000 + k, dport=80 + k))
            back = bytes(Ether() / IP(src="93.184.216.34", dst="192.168.1.100") / TCP(sport=80 + k, dport=9999))
            assert nat.owners(*array([there]), "docker0", "eth0") == nat.owners(*array([back]), "eth0", "docker0")
