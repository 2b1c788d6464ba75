"""Networks made by hand: what fits together, what does not, and the same under both engines."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simcore.errors import ScenarioError
from simcore.net.device import PythonDevice
from simcore.study.topology import Topology
from simcore.traffic import http

NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"


def home(engine: str = "compiled") -> Topology:
    """Two machines on a bridge, NAT, and a server."""
    net = Topology(seed=5, engine=engine)
    for i in (2, 3):
        net.add_host(f"pc{i}", {"eth0": f"10.0.0.{i}/24"}, gateway="10.0.0.1")
    net.add_host("nat", {"eth0": "192.0.2.1/24", "p2": None, "p3": None, "br0": "10.0.0.1/24"}, bridges={"br0": ["p2", "p3"]}, rules=NAT,
                 sysctl={"net.ipv4.ip_forward": 1})
    net.add_host("server", {"eth0": "192.0.2.9/24"})
    for i in (2, 3):
        net.add_link(f"pc{i}/eth0", f"nat/p{i}", latency="10us")
    net.add_link("nat/eth0", "server/eth0", rate="5Mbit", latency="3ms", queue=20, loss="2%", reverse={"rate": "20Mbit"})
    return net


def test_both_engines_see_the_same(tmp_path: Path) -> None:
    captures = []
    for engine in ("compiled", "simpy"):
        net = home(engine)
        http.serve(net.namespace("server"), 80, b"x" * 200_000)
        asking = [net.env.process(http.get(net.namespace(f"pc{i}"), "192.0.2.9", 80, source_port=4000)) for i in (2, 3)]
        net.capture(tmp_path / engine)
        net.run(30.0)
        assert [a.value.status for a in asking] == [200, 200]
        assert len(net.namespace("nat").netfilter.conntrack(net.env.now)) == 2
        assert net.links["server/eth0"].lost > 0
        captures.append((tmp_path / engine).read_bytes())
    assert captures[0] == captures[1]
    macs = [dev.mac_address for ns in net.namespaces() for dev in ns.interfaces if dev.name != "lo"]
    assert len({*macs}) == len(macs) == 7


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda net: net.add_host("pc2", {}), "there is a namespace 'pc2' already"),
    (lambda net: net.add_host("x", {"eth0": "10.0.0.256/24"}), "x: '10.0.0.256' does not appear to be|x: .*10.0.0.256"),
    (lambda net: net.add_host("x", {"eth0": "10.0.0.2/24"}, gateway="10.1.0.1"), "x: gateway 10.1.0.1 is on no interface's subnet"),
    (lambda net: net.add_host("x", {"eth0": None}, bridges={"br0": ["eth0"]}), "x: 'br0' is none of its interfaces: eth0"),
    (lambda net: net.add_link("pc2/eth0", "pc3/eth0"), "link pc2/eth0 to pc3/eth0: there is one at pc2/eth0 already"),
    (lambda net: net.add_link("pc9/eth0", "pc3/eth0"), "there is no namespace 'pc9'"),
    (lambda net: net.add_link("nat/br0", "pc3/eth0"), "'nat/br0' is no interface for a wire, expected one of nat/eth0, nat/p2, nat/p3"),
    (lambda net: net.add_link("a/0", (PythonDevice(net.env, "d"), 0)), "there is no namespace 'a'"),
    (lambda net: net.add_link((PythonDevice(net.env, "d"), 0), (PythonDevice(net.env, "e"), 0), rate="fast"),
     "link d/0 to e/0: rate: 'fast' is not a rate"),
    (lambda net: net.add_link((PythonDevice(net.env, "d"), 0), (PythonDevice(net.env, "e"), 0), speed=1), "speed: unknown key"),
])
def test_what_does_not_fit_is_said(mistake: Callable[[Topology], object], message: str) -> None:
    net = home()
    before = len(net.namespaces()), len(net.links)
    with pytest.raises(ScenarioError, match=message):
        mistake(net)
    assert (len(net.namespaces()), len(net.links)) == before
