"""The CPU model: what packets cost, queueing for cores against theory, and that it changes times only."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from simcore.docker.compose import Compose
from simcore.engine import Environment, Streams
from simcore.errors import ScenarioError
from simcore.net.cpu import Costs, Cpu
from simcore.net.link import Link, plug
from simcore.net.namespace import Namespace
from simcore.net.presets import PRESETS, load
from simcore.study.scenario import World
from simcore.traffic.frames import FrameSink, FrameSource
from tests.theory.test_queues import agrees


class Router:
    """Sources into a namespace that routes to a sink; only its CPU takes time."""

    def __init__(self, seed: int, costs: Costs, random: bool = False, **options: Any) -> None:
        self.env, self.streams = Environment(), Streams(seed)
        self.ns = Namespace(self.env, "router", {"net.ipv4.ip_forward": 1})
        self.ns.add_interface("eth0", "00:00:00:00:00:01")
        self.ns.add_interface("eth1", "00:00:00:00:01:01")
        self.ns.add_address("eth0", "10.0.0.254/24")
        self.ns.add_address("eth1", "10.0.1.254/24")
        self.ns.add_neighbour("10.0.1.2", "00:00:00:00:00:09", "eth1")
        self.sink = FrameSink(self.env, "sink", keep_arrivals=True)
        plug(self.ns, 1, Link(self.env, "out", self.sink, 0))
        self.cpu = Cpu(self.ns, costs, rng=self.streams["cpu"] if random else None, **options)

    def source(self, rate: float, until: float, port: int = 5000) -> FrameSource:
        s = FrameSource(self.env, f"s{port}", rate, 100, self.streams[f"s{port}"], source="10.0.0.1", destination="10.0.1.2",
                        source_port=port, stop=until)
        plug(s, 0, Link(self.env, f"in{port}", self.ns, 0))
        return s


def erlang_c(servers: int, load: float) -> float:
    """Probability of having to wait in M/M/c."""
    a = servers * load
    top = a**servers / math.factorial(servers) / (1 - load)
    return top / (sum(a**k / math.factorial(k) for k in range(servers)) + top)


@pytest.mark.parametrize("cores", [1, 3])
def test_mmc(cores: int) -> None:
    """M/M/c: mean time in the system s + C(c, rho) s / (c (1 - rho))."""
    s, load = 1e-3, 0.8

    def sojourn(seed: int) -> float:
        r = Router(seed, Costs(receive=1e6), random=True, cores=cores, steering="shared", backlog=1 << 20)
        r.source(load * cores / s, 200 / cores)
        r.env.run()
        assert sum(c["packets"] for c in r.cpu.stats) == r.sink.packets
        return float(r.sink.delays.mean or 0)
    agrees(sojourn, s + erlang_c(cores, load) * s / (cores * (1 - load)), precision=0.08)


def test_costs_add_up_and_backlog_drops() -> None:
    r = Router(1, Costs(receive=1000, route=500, byte=2), backlog=10)
    s = r.source(1e6, 0.01)
    r.env.run()
    [core] = r.cpu.stats
    assert core["busy_s"] == pytest.approx(r.sink.packets * 1700e-9)
    assert core["dropped"] == r.ns.drops["backlog"] == s.sent - r.sink.packets
    assert core["longest_backlog"] == 10
    assert r.sink.delays.most == pytest.approx(11 * 1700e-9, rel=0.1)
    assert r.sink.packets == pytest.approx(0.01 / 1700e-9, rel=0.01)


def test_rss_keeps_flows_in_order_and_uses_all_cores() -> None:
    r = Router(1, Costs(receive=2000), cores=4)
    sources = [r.source(1e5, 0.01, 5000 + k) for k in range(32)]
    r.env.run()
    busy = [c["packets"] for c in r.cpu.stats]
    assert sum(busy) + r.ns.drops.get("backlog", 0) == sum(s.sent for s in sources)
    assert min(busy) > 0.3 * max(busy)


def compose(cpu: dict[str, Any] | None) -> Compose:
    return Compose.model_validate({"services": {"c0": {}}, "x-simcore": {
        "duration": "1s", "servers": {"web": {"address": "93.184.216.34", "http": {"port": 80, "size": 100000}}},
        "host": {"cpu": cpu} if cpu else {}, "workloads": [{"kind": "http", "from": "c0", "to": "web"}]}})


def test_the_host_pays_for_conntrack_rules_and_new_flows() -> None:
    times = {}
    for name, cpu in {"off": None, "on": {"preset": "linux-6.18"},
                      "rules": {"costs": {k: 0.0 for k in ("receive", "bridge", "route", "conntrack", "nat", "new_flow", "cold")}},
                      "flows": {"preset": "linux-6.18", "costs": {"new_flow": 5e6}}}.items():
        world = World(compose(cpu))
        world.run()
        summary = world.summary()
        times[name] = summary["workloads"][0]["requests"][0]["total_time"]
        if cpu:
            assert 0 < summary["cpu"]["utilisation"][0] < 0.01
    assert times["off"] < times["rules"] < times["on"] < times["flows"]
    assert times["flows"] - times["on"] == pytest.approx(5e-3 - 1e-6, rel=0.01)


def test_presets_and_files(tmp_path: Path) -> None:
    assert load("linux-6.18") is PRESETS["linux-6.18"]
    with pytest.raises(ScenarioError, match="expected linux-6.18, or a file"):
        load("linux-1.0")
    bad = tmp_path / "bad.json"
    bad.write_text('{"costs": {"flying": 1}}')
    with pytest.raises(ScenarioError, match="not a file of costs"):
        load(str(bad))
    good = tmp_path / "good.json"
    good.write_text('{"costs": {"route": 70}}')
    assert load(str(good)).route == 70
    with pytest.raises(ValueError, match="is no cost"):
        Costs(route=-1)


@pytest.mark.parametrize(("cores", "slowest"), [(1, 0.021), (2, 1.021)])
def test_two_cores_can_take_one_port(cores: int, slowest: float) -> None:
    """SYNs of two containers at one time: with two cores both take the host's same port, and one is sent again after a second."""
    world = World(Compose.model_validate({"services": {"a": {}, "b": {}}, "x-simcore": {
        "duration": "5s", "host": {"cpu": {"costs": {"receive": 500, "new_flow": 1000}, "cores": cores, "steering": "shared"}},
        "servers": {"web": {"address": "93.184.216.34", "http": {"port": 80}}}, "links": {"server": {"rate": "1Gbit", "latency": "5ms"}},
        "workloads": [{"kind": "ping", "from": "a", "to": "web"}, {"kind": "ping", "from": "b", "to": "web"},
                      *({"kind": "http", "from": c, "to": "web", "source-port": 4000, "start": "1s"} for c in "ab")]}}))
    world.run()
    summary = world.summary()
    times = sorted(w["requests"][0]["connect_time"] for w in summary["workloads"] if w["kind"] == "http")
    assert times[0] < 0.021
    assert slowest - 0.02 < times[1] < slowest
    assert summary["conntrack_stats"]["insert_failed"] == cores - 1
    assert summary["drops"].get("host", {}).get("conntrack: insert failed", 0) == cores - 1
    assert all(not w["requests"][0]["error"] for w in summary["workloads"] if w["kind"] == "http")


def test_the_host_answers_on_the_connection_that_asks() -> None:
    """What is for the host itself is confirmed before it is answered, in the same time."""
    world = World(Compose.model_validate({"services": {"a": {}}, "x-simcore": {
        "duration": "5s", "host": {"cpu": {"preset": "linux-6.18"}},
        "workloads": [{"kind": "ping", "from": "a", "to": "host", "count": 2}]}}))
    world.run()
    summary = world.summary()
    assert all(rtt is not None for rtt in summary["workloads"][0]["rtt_s"])
    assert summary["conntrack_stats"]["invalid"] == 0
    assert len(summary["conntrack"]) == 1
    assert "[UNREPLIED]" not in summary["conntrack"][0]
