"""The hooks one by one: packets that wait between them, clashes, log lines, TCPMSS, NOTRACK."""
from __future__ import annotations

import numpy as np
from scapy.all import ICMP, IP, TCP, UDP, Ether

import natfast
from natfast import Netfilter, Rules, Skb

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}
MASQUERADE = ("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{}"
              "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n")


def netfilter(dnat: str = "", more: str = "", **kw: object) -> Netfilter:
    return Netfilter(Rules.from_iptables_save(MASQUERADE.format(dnat) + more), INTERFACES, **kw)


def frame(p: IP) -> bytes:
    return bytes(Ether(src="02:42:ac:11:00:02", dst="02:42:ac:11:00:01") / p)


def query(payload: bytes, proto: type = UDP) -> Skb:
    return Skb(frame(IP(src="172.17.0.2", dst="10.0.0.53") / proto(sport=4000, dport=53) / payload))


def pass_on(nat: Netfilter, skb: Skb) -> int:
    verdict = nat.forwarding(skb, "docker0", "eth0")
    return nat.postrouting(skb, "eth0") if verdict == natfast.ACCEPT else verdict


def test_two_first_packets_of_a_udp_flow_share_one_entry() -> None:
    """A and AAAA of one lookup, both between PREROUTING and confirm: Linux lets the second join the first."""
    nat = netfilter()
    a, aaaa = query(b"A"), query(b"AAAA")
    assert nat.prerouting(a, "docker0") == nat.prerouting(aaaa, "docker0") == natfast.ACCEPT
    assert a.tracked
    assert aaaa.tracked
    assert pass_on(nat, a) == pass_on(nat, aaaa) == natfast.ACCEPT
    assert (len(nat), nat.stats["insert_failed"], nat.stats["clash_resolve"]) == (1, 1, 1)
    assert bytes(a)[26:38] == bytes(aaaa)[26:38]


def test_two_first_packets_sent_to_different_servers_both_get_through() -> None:
    nat = netfilter("-A PREROUTING -p udp -d 10.0.0.53 -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.1.0.1\n"
                    "-A PREROUTING -p udp -d 10.0.0.53 -j DNAT --to-destination 10.1.0.2\n")
    a, aaaa = query(b"A"), query(b"AAAA")
    nat.prerouting(a, "docker0")
    nat.prerouting(aaaa, "docker0")
    assert pass_on(nat, a) == pass_on(nat, aaaa) == natfast.ACCEPT
    assert {bytes(a)[30:34], bytes(aaaa)[30:34]} == {bytes([10, 1, 0, 1]), bytes([10, 1, 0, 2])}
    for server in ("10.1.0.1", "10.1.0.2"):
        answer = bytearray(frame(IP(src=server, dst="192.168.1.100") / UDP(sport=53, dport=4000) / b"answer"))
        assert nat.prerouting(answer, "eth0", 0.5) == natfast.ACCEPT
        assert answer[30:34] == bytes([172, 17, 0, 2])
    # the second's entry is there for one second only, however much it is used
    late = bytearray(frame(IP(src="10.1.0.2", dst="192.168.1.100") / UDP(sport=53, dport=4000) / b"answer"))
    nat.prerouting(late, "eth0", 1.5)
    assert late[30:34] == bytes([192, 168, 1, 100])


def test_the_second_of_two_tcp_packets_is_dropped() -> None:
    nat = netfilter()
    first, second = query(b"", TCP), query(b"", TCP)
    nat.prerouting(first, "docker0")
    nat.prerouting(second, "docker0")
    assert pass_on(nat, first) == natfast.ACCEPT
    assert pass_on(nat, second) == natfast.DROP
    assert (nat.stats["insert_failed"], nat.stats["clash_resolve"], nat.stats["drop"]) == (1, 0, 1)


def test_a_packet_that_is_forgotten_gives_its_connection_back() -> None:
    nat = netfilter()
    for _ in range(3):
        nat.prerouting(query(b"x"), "docker0")
    assert len(nat) == 0
    skb = query(b"x")
    nat.prerouting(skb, "docker0")
    assert pass_on(nat, skb) == natfast.ACCEPT
    assert nat.stats["bytes"] <= netfilter().stats["bytes"] + 2 * 128, "the entry of those before was used again"


FILTER = "*filter\n:FORWARD ACCEPT [0:0]\n{}\nCOMMIT\n"


def test_log_lines_are_the_kernels() -> None:
    nat = netfilter(more=FILTER.format('-A FORWARD -p tcp -j LOG --log-prefix "web: " --log-tcp-sequence\n-A FORWARD -p icmp -j LOG'))
    syn = IP(src="172.17.0.2", dst="93.184.216.34", id=7, flags="DF", tos=0x10) / TCP(sport=4000, dport=80, flags="S", seq=9, window=502)
    ping = IP(src="172.17.0.2", dst="93.184.216.34", id=8) / ICMP(type=8, id=3, seq=1) / b"abc"
    for packet in (syn, ping):
        skb = Skb(frame(packet))
        nat.prerouting(skb, "docker0", 2.5)
        pass_on(nat, skb)
    mac = "MAC=02:42:ac:11:00:01:02:42:ac:11:00:02:08:00"
    assert [line for _, line in nat.log()] == [
        f"web: IN=docker0 OUT=eth0 {mac} SRC=172.17.0.2 DST=93.184.216.34 LEN=40 TOS=0x10 PREC=0x00 TTL=64 ID=7 DF "
        "PROTO=TCP SPT=4000 DPT=80 SEQ=9 ACK=0 WINDOW=502 RES=0x00 SYN URGP=0",
        f"IN=docker0 OUT=eth0 {mac} SRC=172.17.0.2 DST=93.184.216.34 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=8 "
        "PROTO=ICMP TYPE=8 CODE=0 ID=3 SEQ=1"]


def test_a_full_table_says_so_but_not_for_every_packet() -> None:
    nat = netfilter(sysctl={"net.netfilter.nf_conntrack_max": 2})
    out, back = ("172.17.0.2", "10.0.0.1", "docker0", "eth0"), ("10.0.0.1", "192.168.1.100", "eth0", "docker0")
    for at, (src, dst, iif, oif) in ((0.0, out), (0.1, back), (3.0, out)):
        for port in (5000, 5001):
            ports = {"sport": port, "dport": 53} if iif == "docker0" else {"sport": 53, "dport": port}
            nat.prerouting(skb := Skb(frame(IP(src=src, dst=dst) / UDP(**ports) / b"x")), iif, at)
            nat.postrouting(skb, oif, at)
    assert all("[ASSURED]" in line for line in nat.conntrack(3.0))
    for i in range(50):
        new = Skb(frame(IP(src="172.17.0.2", dst="10.0.0.1") / UDP(sport=6000 + i, dport=53)))
        assert nat.prerouting(new, "docker0", 3.0) == natfast.DROP
    assert nat.stats["table_full"] == 50
    assert [line for _, line in nat.log()] == ["nf_conntrack: nf_conntrack: table full, dropping packet"] * 10


MSS = "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n"


def test_tcpmss_clamps_and_adds() -> None:
    nat = netfilter(more=MSS)
    nat.set_mtu("eth0", 1400)
    for options, want in (([("MSS", 1460)], 1360), ([("MSS", 1200)], 1200), ([], 536)):
        data = frame(IP(src="172.17.0.2", dst="93.184.216.34") / TCP(sport=4000 + want, dport=80, flags="S", options=options))
        buf, n = np.zeros((1, 128), np.uint8), np.array([len(data)], np.uint32)
        buf[0, :len(data)] = np.frombuffer(data, np.uint8)
        assert nat.forward(buf, n, "docker0", "eth0")[0] == natfast.ACCEPT
        out = bytes(buf[0, :n[0]])
        got = IP(out[14:])
        assert dict(got[TCP].options)["MSS"] == want
        assert len(out) == 14 + got.len
        again = IP(bytes(got))
        del again.chksum, again[TCP].chksum
        assert bytes(again) == out[14:]


def test_rules_walked_are_counted() -> None:
    nat = netfilter(more=FILTER.format("\n".join(["-A FORWARD -s 10.9.9.9/32 -j DROP"] * 20)))
    nat.prerouting(skb := query(b"x"), "docker0")
    before = nat.stats["rules_walked"]
    nat.forwarding(skb, "docker0", "eth0")
    assert nat.stats["rules_walked"] - before == 20
