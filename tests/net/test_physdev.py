"""physdev knows a bridged packet's ports, however many patterns the rules name."""
from __future__ import annotations

from simcore.study.topology import Topology
from simcore.transport import PingSocket


def test_rules_that_name_many_ports() -> None:
    others = "".join(f"-A FORWARD -m physdev --physdev-in nobody{k} --physdev-out nowhere{k}+ -j DROP\n" for k in range(20))
    net = Topology()
    for k in range(3):
        net.add_host(f"h{k}", {"eth0": f"10.0.0.{k + 1}/24"})
    host = net.add_host("host", {"br0": None, "v0": None, "v1": None, "v2": None}, bridges={"br0": ["v0", "v1", "v2"]},
                        rules=f"*filter\n{others}-A FORWARD -m physdev --physdev-in v0 --physdev-out v1 -j DROP\n"
                              "-A FORWARD -m physdev ! --physdev-in v0 -m physdev --physdev-is-bridged -j ACCEPT\nCOMMIT\n")
    for k in range(3):
        net.add_link(f"h{k}/eth0", f"host/v{k}", rate="1Gbit", latency="1ms")
    pings = [PingSocket(net.namespace(f"h{k}")) for k in range(2)]
    answered = {(a, b): pings[a].echo(f"10.0.0.{b + 1}") for a, b in ((0, 1), (0, 2), (1, 0), (1, 2))}
    net.run(2.0)
    # 1 asks 0 in vain, too: the answer goes from v0 to v1
    assert {way for way, event in answered.items() if event.value is not None} == {(0, 2), (1, 2)}
    assert [packets for packets, _ in host.netfilter.counts()["filter", "FORWARD"][-2:]] == [2, 4]
