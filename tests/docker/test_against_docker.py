"""What Docker 27.5 and 28.5 made of some Compose files (record.py), what Compose 2.40 understood of others (record_config.py), and
what is made of them here.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scapy.all import IP, TCP, Ether

from natfast import ACCEPT, DROP, Netfilter, Rules
from simcore.docker.compose import Compose, load
from simcore.docker.ports import EPHEMERAL
from simcore.errors import ScenarioError
from simcore.study.reach import reach
from simcore.study.scenario import World

DATA = Path(__file__).parent.parent / "data" / "docker"


def by_chain(text: list[str]) -> dict[tuple[str, str], list[str]]:
    """(table, chain) -> its policy, then its rules."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in text:
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[table, line.split()[0][1:]] = [line.split()[1]]
        elif line.startswith("-A"):
            found[table, line.split()[1]].append(line)
    return found


@pytest.mark.parametrize("record", sorted(DATA.glob("*.json")), ids=lambda path: path.stem)
def test_against_docker(record: Path, tmp_path: Path) -> None:
    docker: dict[str, Any] = json.loads(record.read_text())
    release = int(docker["engine"].split(".")[0])
    file = yaml.safe_load((DATA / docker["file"]).read_text())
    file["networks"] = {n: file["networks"][n] for n in docker["networks"] if n in file["networks"]}     # Compose makes them in any order
    file["x-simcore"] = {"host": {"docker": release, "userland-proxy": "--userland-proxy=false" not in docker["dockerd"]}}
    path = tmp_path / "compose.yaml"
    path.write_text(yaml.safe_dump(file, sort_keys=False))
    host = World(load(path)).host

    ours, theirs = by_chain(host.rules().to_iptables_save().splitlines()), by_chain(docker["rules"])
    on_several = any(len(c["networks"]) > 1 for c in docker["containers"].values())
    if release >= 28 and on_several:                # which of a container's networks comes first is left to chance
        for rules in (ours, theirs):
            rules["raw", "PREROUTING"].sort()
    assert ours == theirs
    assert Rules.from_iptables_save("\n".join(docker["rules"])).to_iptables_save()

    def container(networks: dict[str, str], interfaces: dict[str, str], gateway: str | None,
                  macs: dict[str, str] | None = None) -> tuple[Any, ...]:
        # 28 makes up MACs, as 02:42 followed by the address no more, and numbers a container's interfaces by chance
        macs = {net: mac for net, mac in (macs or {}).items() if release < 28 or mac.startswith("02:42:ac:99:")}
        return networks, sorted(interfaces.values()) if release >= 28 else interfaces, gateway, macs if with_macs else {}

    with_macs = any("macs" in c for c in docker["containers"].values())
    here = {}
    for name, c in host.containers.items():
        way = host.way_out(c)
        interfaces = dict(zip((dev.name for dev in c.namespace.interfaces[1:]), c.addresses.values(), strict=True))
        here[name] = container(c.addresses, interfaces, host.networks[way].pool.gateway if way else None,
                               {net: dev.mac_address for net, dev in zip(c.addresses, c.namespace.interfaces[1:], strict=True)})
    there = {name if name in here else name.removesuffix("-1"): container(**c) for name, c in docker["containers"].items()}
    assert set(here) == set(there)
    if any(name.endswith("-2") for name in here):   # replicas are started side by side
        assert sorted(map(repr, here.values())) == sorted(map(repr, there.values()))
    else:
        assert here == there


def test_a_container_is_reached_past_its_published_port_up_to_27(tmp_path: Path) -> None:
    """By whoever routes its subnet to the host; since 28 the raw table drops that, and what comes the right way goes through it."""
    path = tmp_path / "compose.yaml"
    for release, past in ((27, ACCEPT), (28, DROP)):
        path.write_text(f"services: {{web: {{ports: ['8080:80']}}}}\nx-simcore: {{host: {{docker: {release}}}}}\n")
        nat = Netfilter(World(load(path)).host.rules(), {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]})
        for address, port, verdict in (("172.17.0.2", 80, past), ("192.168.1.100", 8080, ACCEPT)):
            frame = bytes(Ether() / IP(src="93.184.216.34", dst=address) / TCP(sport=40000, dport=port, flags="S"))
            frames = np.frombuffer(frame, np.uint8).reshape(1, -1).copy()
            assert nat.forward(frames, np.array([len(frame)], np.uint32), "eth0", "docker0", 1.0)[0] == verdict


def understood(compose: Compose) -> dict[str, Any]:
    """As `summary_of` of record_config."""
    services, networks = {}, {}
    for name, s in compose.services.items():
        on = {n: use.ipv4_address if use else None for n, use in s.networks.items()}
        ports = [[p.address, "" if (p.low, p.high) == EPHEMERAL else "-".join(map(str, sorted({p.low, p.high}))), p.port, p.protocol]
                 for item in s.ports for p in item]
        services[name] = {"networks": {} if s.network_mode else on or {"default": None}, "network_mode": s.network_mode,
                          "ports": sorted(ports), "depends_on": sorted(s.needs()),
                          "sysctls": {k: float(v) for k, v in s.sysctls.items()}, "replicas": s.replicas}
    for name, n in compose.networks.items():
        networks[name] = {"internal": n.internal, "external": n.external, "subnets": [part.subnet for part in n.ipam.config]}
    return {"services": services, "networks": networks}


CASES = [json.loads(line) for line in (DATA / "config.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_compose_files_are_understood_as_compose_does(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in case["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("PORT", "EMPTY", "TAG", "N", "NET", "UNSET", "UNSET2", "COMPOSE_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in case["environment"].items():
        monkeypatch.setenv(name, value)
    expected = case["expected"]
    ours, problem = None, ""
    try:
        ours = understood(load(tmp_path / "compose.yaml", [tmp_path / "over.yaml"] if "over.yaml" in case["files"] else []))
    except ScenarioError as error:
        problem = str(error)
    if any(words in problem for words in ("already published", "expected at least one service")):   # Compose finds it when it starts them
        return
    assert (ours is None) == (expected is None), problem
    if ours is None:
        return
    assert ours["services"] == expected["services"]
    for name, network in expected["networks"].items():              # those that somebody uses
        assert ours["networks"].get(name, network) == network


@pytest.mark.parametrize("record", sorted(DATA.glob("*.answers")), ids=lambda path: path.stem)
def test_who_reaches_what_as_whom(record: Path) -> None:
    docker: dict[str, Any] = json.loads(record.read_text())
    compose = load(DATA / docker["file"], settings={"x-simcore.host.docker": int(docker["engine"].split(".")[0]),
                                                    "x-simcore.host.userland-proxy": "--userland-proxy=false" not in docker["dockerd"]})
    ours = [answer.as_json() for answer in reach(compose)]
    assert len(ours) > 50
    assert [{key: a[key] if key != "seen_as" or a["outcome"] == "reached" else "" for key in docker["answers"][0]} for a in ours
            ] == docker["answers"]
