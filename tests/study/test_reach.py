"""Who reaches whom, by which way, as whom; and what stops the others."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simcore.cli import main
from simcore.docker.compose import load
from simcore.study.reach import Reached, alike, reach

FILE: dict[str, Any] = {
    "services": {"web": {"image": "nginx", "ports": ["8080:80", "127.0.0.1:9000:9000", "5353:53/udp"], "networks": ["front", "back"]},
                 "db": {"image": "postgres:16", "networks": ["back"]}, "job": {"networks": ["front"]}, "alone": {"image": "redis"}},
    "networks": {"front": {}, "back": {"internal": True}}}
NO_PROXY = {"x-simcore": {"host": {"userland-proxy": False}}}


def ask(tmp_path: Path, data: dict[str, Any], engine: str = "compiled") -> dict[tuple[str, str], Reached]:
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps(data))
    return {(a.client, f"{a.address}:{a.target.port}/{a.target.protocol}"): a for a in reach(load(path), engine=engine)}


def told(a: Reached) -> tuple[str, str, str, str]:
    return a.outcome, a.by, "own" if a.own else a.seen_as, ", ".join(a.way) or a.why


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_networks_and_ports(tmp_path: Path, engine: str) -> None:
    answers = ask(tmp_path, FILE, engine)
    got = {key: told(a) for key, a in answers.items()}
    front, isolated = "172.18.0.2:80/tcp", "-A DOCKER-ISOLATION-STAGE-2 -o br-front -j DROP"
    assert got["job", front] == got["host", front] == ("reached", "web", "own", "direct")
    assert got["alone", front] == ("no answer", "host", "own", isolated)
    assert got["internet", front] == ("ENETUNREACH", "router", "own", "router: no route")
    assert got["db", "172.19.0.2:80/tcp"] == ("reached", "web", "own", "direct")             # by the network that they share
    assert ("db", front) not in got
    assert got["job", "172.19.0.3:5432/tcp"] == (
        "no answer", "host", "own", "-A DOCKER-ISOLATION-STAGE-1 ! -s 172.19.0.0/16 -o br-back -j DROP")
    assert got["job", "203.0.113.10:80/tcp"] == ("reached", "internet", "192.168.1.100", "masqueraded, routed")
    assert got["db", "203.0.113.10:80/tcp"] == ("ENETUNREACH", "db", "own", "db: no route")
    for port in ("8080/tcp", "5353/udp"):
        at = f"192.168.1.100:{port}"
        assert got["internet", at] == ("reached", "web", "own", "DNAT, routed")
        proxied = (("reached", "web", "172.18.0.1", "docker-proxy") if port == "8080/tcp" else
                   ("no answer", "web", "172.18.0.1", "the answer comes from 172.18.0.1:5353, which was not asked"))
        assert got["job", at] == got["web", at] == proxied
        assert got["alone", at] == proxied[:3] + (proxied[3].replace("from 172.18.0.1", "from 172.17.0.1"),)
        assert got["host", at] == ("reached", "web", "own", "DNAT")
        assert got["host", f"127.0.0.1:{port}"] == ("reached", "web", "own", "docker-proxy")
    assert [key for key in got if "9000" in key[1] and "172" not in key[1]] == [("host", "127.0.0.1:9000/tcp")]
    together = {(a.target.name, a.address, a.outcome): clients for a, clients in alike(list(answers.values())) if a.target.port == 80}
    assert together["web", "172.18.0.2", "reached"] == ["job", "host"]


def test_applications_and_replicas(tmp_path: Path) -> None:
    """An application's port is asked for like any other, and so is that of whom it asks; of several replicas it is the first."""
    app = {"port": 8000, "calls": [{"to": "db", "port": 5433}]}
    got = {key: told(a) for key, a in ask(tmp_path, {
        "services": {"web": {"networks": ["inner"], "deploy": {"replicas": 2}, "x-simcore": {"app": app}}, "db": {"networks": ["inner"]}},
        "networks": {"inner": {"internal": True}}}).items()}
    assert got["db", "172.18.0.2:8000/tcp"] == ("reached", "web-1", "own", "direct")
    assert got["web", "172.18.0.4:5433/tcp"] == ("reached", "db", "own", "direct")
    assert got["web", "203.0.113.10:80/tcp"] == ("ENETUNREACH", "web-1", "own", "web-1: no route")


def test_without_the_proxy_it_is_hairpin_nat(tmp_path: Path) -> None:
    got = {key: told(a) for key, a in ask(tmp_path, {**FILE, **NO_PROXY}).items()}
    assert got["web", "192.168.1.100:8080/tcp"] == ("reached", "web", "172.18.0.1", "DNAT, masqueraded")
    assert got["job", "192.168.1.100:8080/tcp"] == ("reached", "web", "own", "DNAT")
    assert got["host", "127.0.0.1:8080/tcp"] == ("reached", "web", "own", "DNAT")
    assert got["internet", "192.168.1.100:5353/udp"] == ("reached", "web", "own", "DNAT, routed")


def test_the_rule_that_stops_it_is_named(tmp_path: Path) -> None:
    data = {**FILE, "networks": {"front": {"driver_opts": {"com.docker.network.bridge.enable_icc": "false"}}, "back": {"internal": True}},
            "x-simcore": {"host": {"iptables": ["-I DOCKER-USER -s 203.0.113.0/24 -j REJECT --reject-with icmp-port-unreachable",
                                                "-t mangle -A PREROUTING -p udp -j DROP"]}}}
    got = {key: told(a) for key, a in ask(tmp_path, data).items()}
    assert got["job", "172.18.0.2:80/tcp"] == ("no answer", "host", "own", "-A FORWARD -i br-front -o br-front -j DROP")
    assert got["internet", "192.168.1.100:8080/tcp"] == (
        "ECONNREFUSED", "host", "own", "-A DOCKER-USER -s 203.0.113.0/24 -j REJECT --reject-with icmp-port-unreachable")
    assert got["internet", "192.168.1.100:5353/udp"] == ("no answer", "host", "own", "-t mangle -A PREROUTING -p udp -j DROP")


def test_a_black_hole_takes_what_is_longer(tmp_path: Path) -> None:
    narrow: dict[str, Any] = {"services": {"c": {}}, "x-simcore": {"router": {"mtu": 1400}}}
    assert told(ask(tmp_path, narrow)["c", "203.0.113.10:80/tcp"])[0] == "reached"
    narrow["x-simcore"]["host"] = {"iptables": ["-t mangle -A PREROUTING -p icmp -m icmp --icmp-type 3/4 -j DROP"]}
    assert told(ask(tmp_path, narrow)["c", "203.0.113.10:80/tcp"]) == (
        "stalled", "internet", "192.168.1.100", "-t mangle -A PREROUTING -p icmp -m icmp --icmp-type 3/4 -j DROP")


def test_the_hosts_namespace_and_none(tmp_path: Path) -> None:
    data = {"services": {"a": {"network_mode": "host", "image": "redis"}, "b": {"network_mode": "none"}, "c": {}}}
    got = {key: told(a) for key, a in ask(tmp_path, data).items()}
    assert got["c", "192.168.1.100:6379/tcp"] == ("reached", "host", "own", "direct")
    assert not any("b" in key for key in got)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps(FILE))
    with pytest.raises(SystemExit):
        main(["reach", str(path), "--json"])
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert {"from": "host", "to": "db", "address": "172.19.0.3", "port": 5432, "protocol": "tcp", "published": False,
            "outcome": "reached", "by": "db", "seen_as": "172.19.0.1", "own_address": True, "way": ["direct"], "why": ""} in answers
    with pytest.raises(SystemExit):
        main(["reach", str(path)])
    out = capsys.readouterr().out
    assert "published by web" in out
    assert f"of {len(answers)} questions answered" in out
