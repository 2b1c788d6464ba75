"""The two engines give the same capture, byte for byte and nanosecond for nanosecond."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simcore.docker.compose import Compose, check, load
from simcore.study.scenario import World

pytestmark = pytest.mark.usefixtures("no_frame_is_lost")


def capture(compose: Compose, engine: str, path: Path, until: float | None = None) -> tuple[bytes, dict[str, Any]]:
    world = World(compose, engine=engine)
    world.capture(path)
    world.run(until)
    summary = world.summary()
    assert summary.pop("engine") == engine
    return path.read_bytes(), summary


def test_journey(root: Path, tmp_path: Path) -> None:
    compose = load(root / "examples" / "journey.yaml")
    fast, a = capture(compose, "compiled", tmp_path / "a.pcapng")
    slow, b = capture(compose, "simpy", tmp_path / "b.pcapng")
    assert fast == slow
    assert a == b
    assert len(fast) > 10_000


def test_tracing_changes_nothing(root: Path, tmp_path: Path) -> None:
    compose = load(root / "examples" / "journey.yaml")
    plain, _ = capture(compose, "compiled", tmp_path / "a.pcapng")
    world = World(compose)
    world.capture(tmp_path / "b.pcapng")
    world.trace()
    world.run()
    assert (tmp_path / "b.pcapng").read_bytes() == plain


WORKLOADS = st.lists(st.one_of(
    st.fixed_dictionaries({"kind": st.just("ping"), "from": st.sampled_from(["c0", "c1", "web", "host"]),
                           "to": st.sampled_from(["c0", "web", "172.17.0.1", "10.99.0.1"]), "count": st.integers(1, 3),
                           "interval": st.just("100ms"), "size": st.sampled_from([0, 56, 3000])}),
    st.fixed_dictionaries({"kind": st.just("http"), "from": st.sampled_from(["c0", "c1", "web", "db"]),
                           "to": st.sampled_from(["web", "192.168.1.100", "c1"]), "port": st.sampled_from([80, 8080, 81]),
                           "start": st.sampled_from(["0s", "20ms", "1s"])}),
    st.fixed_dictionaries({"kind": st.just("bulk"), "from": st.sampled_from(["c0", "c1"]), "to": st.just("db"), "port": st.just(9000),
                           "size": st.sampled_from([1, 20_000, 300_000])}),
    st.fixed_dictionaries({"kind": st.just("udp"), "from": st.sampled_from(["c0", "c1", "web"]), "to": st.sampled_from(["db", "c1"]),
                           "port": st.just(7), "rate": st.sampled_from([50, 400]), "size": st.sampled_from([60, 1400])})),
    min_size=1, max_size=6)


QDISCS: list[Any] = [
    "pfifo", {"kind": "bfifo", "limit": "20k"}, {"kind": "tbf", "rate": "500kbit", "burst": "3k", "latency": "100ms"},
    {"kind": "tbf", "rate": "2Mbit", "burst": "5k", "peakrate": "8Mbit", "child": "codel", "limit": "1M"},
    {"kind": "red", "limit": "40k", "min": "3k", "max": "9k", "avpkt": 500, "probability": 0.2, "ecn": True},
    {"kind": "codel", "target": "1ms", "interval": "10ms"}, {"kind": "fq_codel", "flows": 4, "limit": 20}, {"kind": "pie", "target": "2ms"},
    "prio", {"kind": "sfq", "limit": 8, "perturb": "200ms"},
    {"kind": "htb", "classes": {"root": {"rate": "1Mbit"}, "a": {"rate": "200kbit", "ceil": "1Mbit", "parent": "root", "qdisc": "sfq"},
                                "b": {"rate": "300kbit", "ceil": "800kbit", "parent": "root", "prio": 1}},
     "filters": [{"class": "a", "protocol": "udp"}], "default": "b"},
    {"kind": "drr", "classes": {"a": {"quantum": 500}, "b": {"qdisc": "fq_codel"}}, "filters": [{"class": "a", "protocol": "tcp"}],
     "default": "b"},
]
LINKS = st.fixed_dictionaries({}, optional={
    "rate": st.sampled_from(["unlimited", "1Mbit", "10Mbit"]), "queue": st.integers(1, 30),
    "latency": st.sampled_from(["0s", "5us", "2ms"]), "qdisc": st.sampled_from(QDISCS), "jitter": st.sampled_from(["1ms", "20us"]),
    "distribution": st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
    "loss": st.one_of(st.sampled_from(["1%", 0.1]), st.just({"p": 0.1, "r": 0.5})), "duplicate": st.just("5%"), "corrupt": st.just("5%"),
    "reorder": st.just("20%"), "gap": st.integers(1, 3)})
EVENTS = st.lists(st.fixed_dictionaries(
    {"at": st.sampled_from(["10ms", "500ms", "1s"]), "link": st.sampled_from(["host/eth0", "router/eth0", "router/eth1", "c1/eth0"])},
    optional={"state": st.sampled_from(["up", "down"]), "set": LINKS}).filter(lambda e: ("state" in e) != ("set" in e)), max_size=3)


RULES = st.sampled_from([
    [], ["-I DOCKER-USER -p udp -m udp --dport 7 -j DROP"], ["-I FORWARD -m conntrack --ctstate INVALID -j DROP"],
    ["-I FORWARD -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-t mangle -A INPUT -j ACCEPT"],
    ["-t mangle -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"],
    ["-t nat -I POSTROUTING -p udp -j SNAT --to-source 192.168.1.100:7000-7001"]])
SYSCTLS = st.sampled_from([{}, {"net.netfilter.nf_conntrack_udp_timeout": 1}, {"net.netfilter.nf_conntrack_max": 3},
                           {"net.ipv4.conf.all.rp_filter": 1}])


@st.composite
def random_worlds(draw: st.DrawFn) -> Compose:
    services: dict[str, Any] = {f"c{i}": {} for i in range(draw(st.integers(2, 4)))}
    services["c1"] = {"ports": ["8080:80"], "x-simcore": {"http": {"port": 80, "size": 5000}}}
    cpu = draw(st.sampled_from([None, {"cores": 2}, {"costs": {"route": 1e6, "local": 1e5}, "backlog": 3},
                                {"cores": 3, "steering": "shared"}]))
    compose = Compose.model_validate({"services": services, "x-simcore": {
        "seed": draw(st.integers(0, 1000)), "duration": "2s",
        "host": {"userland-proxy": draw(st.booleans()), "bridge-nf-call-iptables": draw(st.booleans()), "iptables": draw(RULES),
                 "sysctls": draw(SYSCTLS), **({"cpu": cpu} if cpu else {})},
        "links": {"container": draw(LINKS), "host": draw(LINKS), "server": draw(LINKS)}, "events": draw(EVENTS),
        "servers": {"web": {"address": "93.184.216.34", "http": {"port": 80}}, "db": {"address": "198.51.100.7"}},
        "workloads": [w for w in draw(WORKLOADS) if w["from"] != w["to"]]}})
    check(Path("random"), compose)
    return compose


@given(compose=random_worlds())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_worlds(tmp_path_factory: Any, compose: Compose) -> None:
    directory = tmp_path_factory.mktemp("engines")
    fast, a = capture(compose, "compiled", directory / "a.pcapng")
    slow, b = capture(compose, "simpy", directory / "b.pcapng")
    assert fast == slow
    assert a == b


@given(compose=random_worlds())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_watched_or_not(tmp_path_factory: Any, compose: Compose) -> None:
    """A traced host takes every packet through hook by hook; one that nobody watches translates what it can at once."""
    directory = tmp_path_factory.mktemp("watched")
    files, ends = [], []
    for watched in (True, False):
        world = World(compose)
        if watched:
            world.trace()
        files.append(directory / f"{watched}.pcapng")
        places = [dev.place for ns in world.namespaces() for dev in ns.interfaces if dev.name not in ("lo", "docker0")]
        world.capture(files[-1], interfaces=places)
        world.run()
        netfilter = world.host.namespace.netfilter
        ends.append((world.summary(), netfilter.rule_counters(), netfilter.log(), world.env.calendar.executed))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert ends[0] == ends[1]
