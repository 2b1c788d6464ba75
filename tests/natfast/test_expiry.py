"""Expiry: blocks of entries that are looked at only when one of them may be over."""
from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import natfast
from natfast import Netfilter, Rules
from natfast.bench import RULES, _frames
from natfast.rules import source_ports

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}
STAGES = ("syn", "synack", "ack", "data", "fin", "finack", "lastack")       # timeouts from 10 s to five days, up and down


def forward(nat: Netfilter, flows: range, stage: str, now: float) -> None:
    way = ("eth0", "docker0") if stage in ("synack", "data", "finack") else ("docker0", "eth0")
    t = _frames(np.array(flows, np.int64), stage, 64)
    nat.forward(t.frames, t.lengths, *way, now)


steps = st.lists(st.tuples(st.sampled_from(STAGES), st.integers(0, 300), st.integers(1, 120), st.floats(0, 200)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_what_is_over_goes_and_nothing_else(steps: list[tuple[str, int, int, float]]) -> None:
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, {"net.netfilter.nf_conntrack_max": 1 << 16})
    now = 0.0
    for stage, first, count, wait in steps:
        forward(nat, range(first, first + count), stage, now)
        now += wait
        live = nat.conntrack(now)                   # looks at every entry, whatever its block says
        held = len(nat)
        assert nat.expire(now) == held - len(live)
        assert nat.conntrack(now) == live
        assert len(nat) == len(live)


def test_a_full_table_is_rid_of_what_is_over_before_a_connection_is_refused() -> None:
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, {"net.netfilter.nf_conntrack_max": 500})
    tcp = range(1, 2000, 4)                         # none of them UDP, all ASSURED
    for stage in ("syn", "synack", "ack", "data", "ack", "fin", "finack", "lastack"):
        forward(nat, tcp, stage, 0.0)
    assert len(nat) == 500
    assert all("TIME_WAIT" in line and "[ASSURED]" in line for line in nat.conntrack(0.0))
    late = _frames(np.array([2001]), "syn", 64)
    buf = bytearray(late.frames.tobytes())
    a, b = nat.interface_number("docker0"), nat.interface_number("eth0")
    nat.expire(119.0)                               # sets the clock; none is over
    assert len(nat) == 500
    nat.set_sysctl("net.netfilter.nf_conntrack_max", 499)
    assert nat.packet(bytearray(buf), a, b) == natfast.ACCEPT       # TIME_WAIT gives way (early drop)
    assert nat.stats["early_drop"] == 1
    forward(nat, range(2005, 2006), "syn", 121.0)
    assert nat.stats["expired"] >= 499
    assert nat.stats["early_drop"] == 1
    assert len(nat) == 2


def test_new_connections_alone_keep_the_table_small() -> None:
    """One packet at a time, as a simulated host forwards: what has expired makes room for what comes."""
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, {"net.netfilter.nf_conntrack_max": 1 << 18})
    a, b = nat.interface_number("docker0"), nat.interface_number("eth0")
    t = _frames(np.arange(0, 80_000, 4), "syn", 64)                 # UDP: 30 s each, a hundred a second
    rows = [bytearray(row.tobytes()) for row in t.frames]
    for i, row in enumerate(rows):
        if i % 1000 == 0:
            nat.occupancy(i / 100.0)                                # sets the clock
        assert nat.packet(row, a, b) == natfast.ACCEPT
    assert len(nat) < 2 * 3000 + 2000


def test_a_packet_that_outlives_its_connection_gives_nothing_back() -> None:
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES)
    forward(nat, range(4, 5), "syn", 0.0)                           # UDP
    waits = natfast.Skb(_frames(np.array([4]), "syn", 64).frames[0].tobytes())
    assert nat.prerouting(waits, "docker0", 1.0) == natfast.ACCEPT
    assert waits.tracked
    assert nat.expire(100.0) == 1
    del waits
    forward(nat, range(8, 88, 4), "syn", 100.0)
    assert len(nat) == len(set(nat.conntrack(100.0))) == 20
    assert len(nat.conntrack(100.0)) == 20


def test_source_ports_in_use_are_those_that_conntrack_lists() -> None:
    """By what a port serves only once; against the listing, as the kernel prints it."""
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES)
    for stage in ("syn", "synack", "ack"):
        forward(nat, range(400), stage, 0.0)
    forward(nat, range(0, 400, 2), "fin", 0.0)
    wanted: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for line in nat.conntrack(1.0):
        words = line.split()
        reply = dict(w.split("=") for w in words[[i for i, w in enumerate(words) if w.startswith("src=")][1]:] if "=" in w)
        state = words[3] if words[0] == "tcp" else "ASSURED" if "[ASSURED]" in line else "UNREPLIED" if "[UNREPLIED]" in line else "REPLIED"
        used = wanted.setdefault((words[0], reply["dst"], reply["src"], int(reply["sport"])), {"states": {}, "low": 65535, "high": 0})
        used["states"][state] = used["states"].get(state, 0) + 1
        used["low"], used["high"] = min(used["low"], int(reply["dport"])), max(used["high"], int(reply["dport"]))
    assert len(wanted) > 1
    assert nat.source_ports(1.0) == wanted


def test_which_ports_a_rule_may_choose() -> None:
    lines = {"-j MASQUERADE": None, "-p tcp -j MASQUERADE --to-ports 4000-4999": (4000, 4999), "-p tcp -j MASQUERADE --to-ports 7": (7, 7),
             "-p udp -j SNAT --to-source 192.168.1.7:100-200": (100, 200), "-j SNAT --to-source 192.168.1.7": None, "-j ACCEPT": None}
    for line, ports in lines.items():
        rules = Rules.from_iptables_save(f"*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING {line}\nCOMMIT\n")
        assert source_ports(rules.tables["nat"]["POSTROUTING"].rules[0]) == ports
