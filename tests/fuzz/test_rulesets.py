"""Rules with anything in them: understood, and then written as they are read, or refused in one line."""
from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from natfast.errors import RulesError
from natfast.hooks import Netfilter
from natfast.rules import Rules

DATA = Path(__file__).parent.parent / "data"
DOCKER = (DATA / "oracle" / "docker.v4").read_text()
LINES = (DATA / "rules" / "iptables.txt").read_text().splitlines()[1:]
SINGLE = ["*{}\n-A {} {}\nCOMMIT\n".format(*line.split(" ", 3)[1:]) for line in LINES]
MORE = """
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A PREROUTING -p tcp -m multiport --dports 80,443,8000:8010 -j NOTRACK
COMMIT
*mangle
:FORWARD DROP [5:100]
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -s 172.17.0.2/32 -j MARK --set-xmark 0x7/0xffffffff
-A FORWARD -m conntrack ! --ctstate RELATED,ESTABLISHED --ctproto 6 -m limit --limit 5/sec --limit-burst 3 -j LOG --log-prefix "x y: "
-A FORWARD -m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.1-10.1.0.2 -m dscp --dscp 0x2e -m tos --tos 0x10/0x1c -j ACCEPT
-A FORWARD -m comment --comment "a b" -m length --length 40:100 -m statistic --mode random --probability 0.5 -j TTL --ttl-set 9
-A FORWARD -m ttl --ttl-gt 3 -m statistic --mode nth --every 3 --packet 1 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 192.168.1.100/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2-172.17.0.4:80-90 --random --persistent
-A PREROUTING -p tcp -j REDIRECT --to-ports 8080-8090
-A POSTROUTING -o eth0 -p udp -j SNAT --to-source 192.168.1.101-192.168.1.104:1024-2000 --random-fully
-A POSTROUTING -o eth0 -p tcp -j MASQUERADE --to-ports 5000-5100 --random
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:X - [0:0]
[3:180] -A INPUT -p icmp -m icmp --icmp-type 8/0 -m addrtype --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -i docker+ ! -o docker0 -p sctp -m sctp --dport 80 -g X
-A X -m mark --mark 0x1/0xff -m physdev --physdev-in veth+ -j RETURN
COMMIT
"""
WORDS = [*DOCKER.split(), *MORE.split(), "--", "!", "-1", "99999", "0x", "/", "x" * 200, "é", "'", '"', '""', "-p", "-j", "-m",
         "-A", "[1:2]"]


def mutated(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    for _ in range(rng.choice([1, 1, 2, 4])):
        k, what = rng.randrange(len(lines)), rng.random()
        words = lines[k].split(" ")
        at = rng.randrange(len(words))
        if what < 0.5:
            words[at] = rng.choice(WORDS)
        elif what < 0.65:
            del words[at]
        elif what < 0.8:
            words.insert(at, rng.choice(WORDS))
        elif what < 0.9:
            words = rng.choice(lines).split(" ")
        lines[k] = " ".join(words)
    return "\n".join(lines)


def read(text: str) -> None:
    rules = Rules.from_iptables_save(text)
    written = rules.to_iptables_save()
    assert Rules.from_iptables_save(written).to_iptables_save() == written
    nat = Netfilter(rules)
    assert nat.rules.to_iptables_save() == written
    nat.iptables_save()


def test_rules_as_they_are() -> None:
    read(DOCKER)
    read(MORE)


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**32), text=st.sampled_from([DOCKER, MORE]) | st.sampled_from(SINGLE))
def test_any_rules_are_understood_or_refused(seed: int, text: str) -> None:
    refused = "rules: "
    try:
        read(mutated(text, random.Random(seed)))
    except RulesError as error:
        refused = str(error)
    assert refused.startswith("rules: ")
    assert "\n" not in refused
