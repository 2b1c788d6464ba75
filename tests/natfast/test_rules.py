"""iptables-save text: what is not understood is an error with line and token."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, UDP, Ether

from natfast import ACCEPT, Netfilter, Rules, RulesError

HEAD = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:MINE - [0:0]\n"


@pytest.mark.parametrize(("rule", "message"), [
    ("-A FORWARD -m nonsense -j ACCEPT", "rules: line 6: match 'nonsense' is not supported"),
    ("-A FORWARD -j NOWHERE", "rules: line 6: target 'NOWHERE' is neither known nor a chain of table filter"),
    ("-A FORWARD -p tcp --dport 70000 -j ACCEPT", "rules: line 6: port '70000' is out of range"),
    ("-A FORWARD -s 1.2.3.400 -j ACCEPT", "rules: line 6: '1.2.3.400' is not an IPv4 address"),
    ("-A FORWARD --frobnicate -j ACCEPT", "rules: line 6: '--frobnicate' is not understood"),
    ("-A FORWARD -j MASQUERADE", "rules: line 6: target MASQUERADE is only valid in the nat table"),
    ("-A MISSING -j ACCEPT", "rules: line 6: chain 'MISSING' is not declared"),
    ("-A FORWARD -m conntrack --ctstate FRESH -j ACCEPT", "rules: line 6: 'FRESH' is not a connection state"),
    ("-A FORWARD -m iprange --src-range 10.0.0.9-10.0.0.1 -j ACCEPT", "rules: line 6: range 10.0.0.9-10.0.0.1 runs backwards"),
    ("-A FORWARD -m dscp --dscp 64 -j ACCEPT", "rules: line 6: 64 is out of range 0-63"),
    ("-A FORWARD -m dscp --dscp-class XX -j ACCEPT", "rules: line 6: 'XX' is not a DSCP class; expected one of CS0"),
    ("-A FORWARD -m conntrack --ctproto foo -j ACCEPT", "rules: line 6: 'foo' is not a protocol: expected a number or one of all, icmp"),
    ("\"\"", "rules: line 6: '' is not understood; expected '-A CHAIN ...'"),
    ("-A FORWARD -j REJECT --reject-with a-letter", "rules: line 6: 'a-letter' is not an answer; expected one of icmp-net-unreachable"),
    ("-A FORWARD -m statistic --mode nth -j DROP", "rules: line 6: match statistic: --mode nth needs --every"),
    ("-A FORWARD -m statistic --mode nth --every 3 --packet 3 -j DROP", "rules: line 6: match statistic: --packet 3 is none of 0 to 2"),
    ("-A FORWARD -m mark -j DROP", "rules: line 6: match mark: needs --mark"),
    ("-A FORWARD -m ttl ! --ttl-gt 5 -j DROP", "rules: line 6: match ttl: --ttl-gt cannot be negated"),
    ("-A FORWARD -p udp -m tcp --dport 5 -j DROP", "rules: line 6: match tcp: needs -p tcp"),
    ("-A FORWARD -p tcp --dport 5 --dport 6 -j DROP", "rules: line 6: match tcp: --dport is given twice"),
    ("-A FORWARD -j DROP -j ACCEPT", "rules: line 6: -j is given twice"),
    ("-A FORWARD -g ACCEPT", "rules: line 6: target 'ACCEPT' is neither known nor a chain"),
    ("-A OUTPUT -i eth0 -j DROP", "rules: line 6: -i cannot be used in OUTPUT"),
    (":REJECT - [0:0]", "rules: line 6: a chain cannot have a target's name, REJECT"),
])
def test_errors_name_line_and_token(rule: str, message: str) -> None:
    with pytest.raises(RulesError) as error:
        Rules.from_iptables_save(HEAD + rule + "\nCOMMIT\n")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("match", "fits"), [
    ("-m iprange --src-range 172.17.0.2-172.17.0.2", True), ("-m iprange --src-range 172.17.0.3-255.255.255.255", False),
    ("-m iprange ! --src-range 0.0.0.0-172.17.0.1", True), ("-m iprange --src-range 10.0.0.0-200.0.0.0 --dst-range 9.9.9.9", False),
    ("-m iprange --dst-range 93.184.216.34", True), ("-m dscp --dscp 0x2e", True), ("-m dscp ! --dscp 46", False),
    ("-m dscp --dscp-class ef", True), ("-m dscp --dscp-class AF41", False), ("-m tos --tos 0xb9", True), ("-m tos --tos 0xb8", False),
    ("-m tos --tos 0xb8/0xfc", True), ("-m tos ! --tos 0x01/0x03", False)])
def test_what_matches(match: str, fits: bool) -> None:
    """A datagram of 172.17.0.2 to 93.184.216.34 of class EF that came through congestion."""
    nat = Netfilter(Rules.from_iptables_save(HEAD + f"-A FORWARD {match} -j ACCEPT\nCOMMIT\n"))
    frame = bytes(Ether() / IP(src="172.17.0.2", dst="93.184.216.34", tos=0xB9) / UDP(sport=1, dport=2))
    assert (nat.forwarding(bytearray(frame), "docker0", "eth0") == ACCEPT) == fits


def test_a_connection_keeps_a_mark() -> None:
    """The first packet's mark is kept with its connection, given to the answer, and the answer is marked for its queue by it."""
    nat = Netfilter(Rules.from_iptables_save(
        "*mangle\n-A PREROUTING -s 172.17.0.2 -j MARK --set-mark 7\n-A PREROUTING -m connmark ! --mark 0 -j CONNMARK --restore-mark\n"
        "-A POSTROUTING -m connmark --mark 0 -j CONNMARK --save-mark --mask 0xf\n"
        "-A POSTROUTING -m mark --mark 7 -j DSCP --set-dscp-class EF\nCOMMIT\n"))
    there = bytearray(bytes(Ether() / IP(src="172.17.0.2", dst="93.184.216.34") / UDP(sport=1, dport=2)))
    back = bytearray(bytes(Ether() / IP(src="93.184.216.34", dst="172.17.0.2", tos=3) / UDP(sport=2, dport=1)))
    for frame, iif, oif, tos in ((there, "docker0", "eth0", 0xB8), (back, "eth0", "docker0", 0xBB)):
        assert nat.packet(frame, nat.interface_number(iif), nat.interface_number(oif)) == ACCEPT
        assert Ether(bytes(frame))[IP].tos == tos
        assert bytes(frame) == _with_fresh_checksums(frame)
    assert "mark=7" in nat.conntrack()[0]


def _with_fresh_checksums(frame: bytearray) -> bytes:
    packet = Ether(bytes(frame))
    del packet[IP].chksum, packet[UDP].chksum
    return bytes(packet)


def test_netmap_keeps_the_host_bits() -> None:
    nat = Netfilter(Rules.from_iptables_save("*nat\n-A POSTROUTING -s 172.17.0.0/16 -j NETMAP --to 10.9.0.0/16\nCOMMIT\n"))
    frame = bytearray(bytes(Ether() / IP(src="172.17.3.4", dst="93.184.216.34") / UDP(sport=1, dport=2)))
    assert nat.packet(frame, nat.interface_number("docker0"), nat.interface_number("eth0")) == ACCEPT
    assert Ether(bytes(frame))[IP].src == "10.9.3.4"


def rules_of_iptables() -> list[tuple[str, str, str, str]]:
    """Does iptables take it, table, chain, rule."""
    lines = (Path(__file__).parent.parent / "data" / "rules" / "iptables.txt").read_text().splitlines()
    return [(line[0], *line[2:].split(" ", 2)) for line in lines if line[0] != "#"]    # type: ignore[misc]


def test_what_iptables_refuses_is_refused() -> None:
    for taken, table, chain, rule in rules_of_iptables():
        text = f"*{table}\n-A {chain} {rule}\nCOMMIT\n"
        if taken == "+":
            rules = Rules.from_iptables_save(text)
            Netfilter(rules)
            again = rules.to_iptables_save()
            assert Rules.from_iptables_save(again).to_iptables_save() == again
        else:
            with pytest.raises(RulesError):
                Rules.from_iptables_save(text)


def test_chains_reached_from_hooks() -> None:
    """The kernel refuses a translation in a chain that a wrong hook leads to, however deep it stands."""
    text = "*nat\n:{hook} ACCEPT [0:0]\n:X - [0:0]\n:Y - [0:0]\n-A {hook} -j X\n-A X -j Y\n-A Y -p tcp -j MASQUERADE\nCOMMIT\n"
    Rules.from_iptables_save(text.format(hook="POSTROUTING"))
    with pytest.raises(RulesError, match="line 7: MASQUERADE is only valid in POSTROUTING, not in Y from PREROUTING"):
        Rules.from_iptables_save(text.format(hook="PREROUTING"))
    ladder = "".join(f":C{i} - [0:0]\n" for i in range(63)) + "".join(f"-A C{i} -j C{i + 1}\n" * 2 for i in range(62))
    Rules.from_iptables_save(f"*filter\n:FORWARD ACCEPT [0:0]\n{ladder}-A FORWARD -j C0\nCOMMIT\n")      # 2^62 ways lead down it
    with pytest.raises(RulesError, match="jumps nest deeper than 63"):
        Rules.from_iptables_save(f"*filter\n:FORWARD ACCEPT [0:0]\n{ladder}:C63 - [0:0]\n-A C62 -j C63\n-A FORWARD -j C0\nCOMMIT\n")


def test_what_is_written_by_hand_is_understood() -> None:
    """Names instead of numbers, lists of addresses, masks of any bits, abbreviations, a builtin chain that is not declared."""
    text = ("*filter\n-A FORWARD -s 10.0.0.1,10.0.0.2 -d 10.9.0.0/255.255.0.255 -p tcp --dport ssh:http -m state --state estab "
            "-m limit --limit 5/min -m tos --tos minimize-delay -j REJECT --reject-with host-prohib\nCOMMIT\n")
    rules = Rules.from_iptables_save(text).tables["filter"]["FORWARD"].rules
    assert [(r.source, r.destination) for r in rules] == [((False, f"10.0.0.{i}/32"), (False, "10.9.0.0/255.255.0.255")) for i in (1, 2)]
    assert [m.lower()[0].port for m in rules[0].matches if m.module == "tcp"] == [(0, 65535, 22, 80)]


NEEDS_IPTABLES = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("iptables-restore") is None or shutil.which("unshare") is None,
    reason="needs root, iptables-restore and unshare")


@NEEDS_IPTABLES
def test_iptables_here_takes_and_refuses_the_same() -> None:
    version = subprocess.run(["iptables", "--version"], text=True, capture_output=True, check=True).stdout.strip()
    if version != "iptables v1.8.9 (nf_tables)":
        pytest.skip(f"rules were tried with 1.8.9 (nf_tables), here is {version}")
    lines = rules_of_iptables()
    script = "".join(f"iptables -t {table} -A {chain} {rule} >/dev/null 2>&1 && echo + || echo -\n" for _, table, chain, rule in lines)
    answers = subprocess.run(["unshare", "--net", "sh"], input=script, text=True, capture_output=True, check=True).stdout.split()
    assert answers == ["-" if taken == "-" else "+" for taken, *_ in lines]


def test_helpers_and_loops_are_refused() -> None:
    with pytest.raises(RulesError, match="helpers are not supported"):
        Rules.from_iptables_save("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n")
    with pytest.raises(RulesError, match="jumps to itself"):
        Netfilter(Rules.from_iptables_save(HEAD + "-A FORWARD -j MINE\n-A MINE -j MINE\nCOMMIT\n"))


PIECES = st.lists(st.sampled_from([
    "-s 10.0.0.0/8", "! -d 192.168.0.0/16", "-i docker0", "! -o br-+", "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m addrtype --dst-type LOCAL", "-m mark --mark 0x1/0xff", "-m comment --comment \"a b\"", "-m limit --limit 5/minute",
    "-m statistic --mode random --probability 0.5", "-m length --length 100:200",
]), max_size=5, unique_by=lambda s: s.split()[-2])
PROTOCOLS = st.sampled_from(["", "-p tcp -m tcp --dport 80", "-p tcp -m multiport --dports 80,443,8000:8100", "-p udp -m udp ! --sport 53",
                             "-p icmp -m icmp --icmp-type 8", "-p tcp -m tcp --tcp-flags SYN,RST SYN", "! -p gre"])
TARGETS = st.sampled_from(["-j ACCEPT", "-j DROP", "-j RETURN", "-j MINE", "-g MINE", "-j REJECT --reject-with tcp-reset",
                           "-j LOG --log-prefix \"x: \"", ""])


@given(st.lists(st.tuples(PIECES, PROTOCOLS, TARGETS), max_size=8))
def test_round_trip(rows: list[tuple[list[str], str, str]]) -> None:
    order = ["-s", "!", "-i", "-m"]
    text = HEAD
    for pieces, protocol, target in rows:
        basic = [p for p in pieces if not p.startswith("-m")]
        matches = [p for p in pieces if p.startswith("-m")]
        basic.sort(key=lambda p: order.index(p.split()[0]))
        if "tcp-reset" in target and "-p tcp" not in protocol:
            target = "-j DROP"
        text += " ".join(w for w in ["-A FORWARD", *basic, protocol, *matches, target] if w) + "\n"
    rules = Rules.from_iptables_save(text + "COMMIT\n")
    again = Rules.from_iptables_save(rules.to_iptables_save())
    assert again.to_iptables_save() == rules.to_iptables_save()
    Netfilter(rules, {"docker0": ["172.17.0.1/16"]})


@NEEDS_IPTABLES
def test_the_real_iptables_takes_what_we_write() -> None:
    from simcore.docker.iptables import Bridge, Published, docker_rules
    rules = docker_rules([Bridge("docker0", "172.17.0.0/16"), Bridge("br-web", "172.18.0.0/16")],
                         [Published("docker0", "172.17.0.2", 80, 8080), Published("br-web", "172.18.0.2", 53, 53, "udp", "127.0.0.1")])
    for proxy in (rules, docker_rules([Bridge("docker0", "172.17.0.0/16")], [Published("docker0", "172.17.0.2", 80, 8080)], False)):
        done = subprocess.run(["unshare", "--net", "iptables-restore", "--test"], input=proxy.to_iptables_save(), text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_hashlimit_has_a_bucket_for_each() -> None:
    """Three at once and then one a second for each /24 of sources; a bucket that nobody asked for ten seconds is as new."""
    nat = Netfilter(Rules.from_iptables_save(
        "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 3 --hashlimit-mode srcip,dstport "
        "--hashlimit-srcmask 24 --hashlimit-name a --hashlimit-htable-expire 10000 --hashlimit-htable-max 100 -j ACCEPT\nCOMMIT\n"))

    def passed(src: str, now: float, dport: int = 53, n: int = 5) -> int:
        frame = bytes(Ether() / IP(src=src, dst="93.184.216.34") / UDP(sport=1, dport=dport))
        return sum(nat.forwarding(bytearray(frame), "docker0", "eth0", now) == ACCEPT for _ in range(n))

    assert [passed("172.17.0.2", 0.0), passed("172.17.0.3", 0.0), passed("172.17.1.2", 0.0), passed("172.17.0.2", 0.0, 80)] == [3, 0, 3, 3]
    assert [passed("172.17.0.3", t) for t in (1.5, 2.0, 2.4, 12.5)] == [1, 1, 0, 3]
    assert sum(passed("10.0.0.1", 13.0, port, n=1) for port in range(200)) == 99      # as many buckets as are allowed, one of them above
    assert sum(passed("10.0.0.1", 24.0, port, n=1) for port in range(200, 300)) == 100
