"""IPAM, the rules Docker writes, Compose."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scapy.all import rdpcap

from simcore import units
from simcore.docker.compose import load
from simcore.docker.interpolation import substitute
from simcore.docker.ipam import IpamError, Pool, mac_of
from simcore.docker.iptables import Bridge, Published, docker_rules
from simcore.docker.ports import parse_port
from simcore.errors import ScenarioError
from simcore.study.scenario import World
from simcore.transport import PingSocket


def test_rules_are_those_of_the_recorded_host(data: Path) -> None:
    ours = docker_rules([Bridge("docker0", "172.17.0.0/16")], [Published("docker0", "172.17.0.2", 80, 8080)])
    assert ours.to_iptables_save() == (data / "oracle" / "docker.v4").read_text()


def test_pool() -> None:
    pool = Pool("10.0.0.0/29")
    assert pool.gateway == "10.0.0.1"
    assert [pool.allocate("x") for _ in range(5)] == [f"10.0.0.{i}" for i in range(2, 7)]
    with pytest.raises(IpamError, match=r"no address is left in 10.0.0.0/29"):
        pool.allocate("x")
    pool.release("10.0.0.4")
    assert pool.allocate("y") == "10.0.0.4"
    with pytest.raises(IpamError, match=r"address 10.0.0.1 is taken by gateway"):
        pool.allocate("z", "10.0.0.1")
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_a_pool_gives_addresses_of_its_range() -> None:
    pool = Pool("172.28.0.0/16", None, "172.28.5.0/30", ["172.28.5.1"])
    assert [pool.gateway, pool.allocate("a"), pool.allocate("b")] == ["172.28.5.0", "172.28.5.2", "172.28.5.3"]
    assert pool.allocate("c", "172.28.0.9") == "172.28.0.9"
    with pytest.raises(IpamError, match="no address is left"):
        pool.allocate("d")
    with pytest.raises(IpamError, match=r"range 10.0.0.0/24 is no part of 172.28.0.0/16"):
        Pool("172.28.0.0/16", None, "10.0.0.0/24")


def test_subnets(tmp_path: Path) -> None:
    """Networks without one get the next that nobody has; of IPv6 nothing is kept."""
    path = tmp_path / "f.yaml"
    path.write_text("""
services: {a: {networks: [x, y]}}
networks:
  x:
  y:
    enable_ipv6: true
    ipam: {config: [{subnet: "2001:db8::/64", gateway: "2001:db8::1"}, {subnet: 172.18.0.0/16, ip_range: 172.18.9.0/24}]}
  z:
x-simcore: {host: {address: 172.20.1.1/24}, router: {address: 172.20.1.2/24}}
""")
    world = World(load(path))
    assert [str(n.pool.network) for n in world.host.networks.values()] == ["172.19.0.0/16", "172.18.0.0/16", "172.21.0.0/16"]
    assert world.host.containers["a"].addresses == {"x": "172.19.0.2", "y": "172.18.9.1"}
    assert world.notes[0] == "networks.y.enable_ipv6: there is IPv4 only"
    # a Docker host at 192.168.1.100/24 has these 29 for them
    path.write_text("services: {a: }\nnetworks: {" + ", ".join(f"n{i}: " for i in range(29)) + "}\n")
    assert [str(n.pool.network) for n in World(load(path)).host.networks.values()][1:] == [
        *(f"172.{i}.0.0/16" for i in range(18, 32)), *(f"192.168.{i}.0/20" for i in range(16, 256, 16))]
    path.write_text(path.read_text().replace("n28", "n28: , n29"))
    with pytest.raises(ScenarioError, match=r"networks.n29: Docker has no subnet left for it; expected one in its ipam.config"):
        load(path)


def test_who_names_no_network_is_on_the_default_one(tmp_path: Path) -> None:
    """A project's `default` network, if the file speaks of it; else docker0, and with network_mode bridge in any case."""
    path = tmp_path / "f.yaml"
    path.write_text("services: {a: , b: {network_mode: bridge}, c: {networks: [default, x]}}\nnetworks: {x: }\n")
    assert {name: list(c.addresses) for name, c in World(load(path)).host.containers.items()} == {
        "a": ["default"], "b": ["bridge"], "c": ["default", "x"]}
    path.write_text("services: {a: , b: {networks: [x], x-mine: {y: 1}, use_api_socket: true}}\nnetworks: {x: }\n")
    assert [list(c.addresses) for c in World(load(path)).host.containers.values()] == [["bridge"], ["x"]]
    path.write_text("services: {a: {deploy: {replicas: many}}}\n")
    with pytest.raises(ScenarioError, match=r"services.a.deploy.replicas: .* expected a whole number"):
        load(path)
    path.write_text("services: {a: }\nnetworks: {default: {internal: true}}\n")
    assert World(load(path)).host.networks["default"].internal


def test_units() -> None:
    assert [units.rate(t) for t in ("1Gbit", "200 Mb/s", "10mbit", "1e6", "unlimited", 5)] == [1e9, 2e8, 1e7, 1e6, 0.0, 5.0]
    assert [units.duration(t) for t in ("5us", "10ms", 2, "1min")] == pytest.approx([5e-6, 1e-2, 2.0, 60.0])
    assert [units.size(t) for t in ("1500", "64k", "1MB")] == [1500, 65536, 1 << 20]
    for f in (units.rate, units.duration, units.size):
        with pytest.raises(ValueError, match="is not a"):
            f("many")


def test_a_real_compose_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text("""
version: "3.9"
x-logging: &logging {driver: json-file}
services:
  proxy:
    image: nginx:1.27
    restart: unless-stopped
    logging: *logging
    ports: ["80:80", {target: 443, published: 443, protocol: tcp}]
    depends_on: [app]
    networks: [front, back]
  app:
    build: .
    environment: {DEBUG: "1"}
    networks: {back: {ipv4_address: 10.5.0.77, aliases: [api]}}
  db:
    image: postgres
    volumes: [data:/var/lib/postgresql/data]
    networks: [back]
networks:
  front: {}
  back: {driver: bridge, ipam: {config: [{subnet: 10.5.0.0/24}]}}
volumes: {data: {}}
""")
    world = World(load(file))
    assert {n: c.addresses for n, c in world.host.containers.items()} == {
        "app": {"back": "10.5.0.77"}, "db": {"back": "10.5.0.2"}, "proxy": {"back": "10.5.0.3", "front": "172.18.0.2"}}
    assert [d.name for d in world.host.namespace.interfaces] == [
        "lo", "eth0", "br-front", "br-back", "docker0", "veth-app", "veth-db", "veth-proxy", "veth-proxy-1"]
    world.run(0.1)


def test_forms_of_ports() -> None:
    def short(text: str) -> list[tuple[str, int, int, int, str]]:
        return [tuple(p) for p in parse_port(text)]             # type: ignore[misc]
    assert short("8080:80") == [("", 8080, 8080, 80, "tcp")]
    assert short("0.0.0.0:53:5353/udp") == [("0.0.0.0", 53, 53, 5353, "udp")]
    assert short("127.0.0.1:9000-9001:90-91") == [("127.0.0.1", 9000, 9000, 90, "tcp"), ("127.0.0.1", 9001, 9001, 91, "tcp")]
    assert short("8000-9000:80") == [("", 8000, 9000, 80, "tcp")]
    assert short("80") == [("", 32768, 60999, 80, "tcp")]
    assert short("127.0.0.1::80") == [("127.0.0.1", 32768, 60999, 80, "tcp")]
    assert short("80-81/udp") == [("", 32768, 60999, 80, "udp"), ("", 32768, 60999, 81, "udp")]
    assert parse_port({"target": 80, "published": "80", "host_ip": "192.168.1.100", "mode": "host"}) == parse_port("192.168.1.100:80:80")
    assert short("[::1]:81:80") == [("::1", 81, 81, 80, "tcp")]
    assert parse_port({"target": 80, "published": 81, "host_ip": "::1"}) == parse_port("[::1]:81:80")
    for text, message in {"a:80": "is not a published port", "1-2-3:80": "is not a published port", "70000": "out of range 1-65535",
                          "8000-8002:80-81": "8000-8002 and 80-81 are not of one length", "9-8:80": "9-8 is no range",
                          "[::1:80:80": "is not a published port", "[::z]:80:80": "'::z' is not an IP address"}.items():
        with pytest.raises(ValueError, match=message):
            parse_port(text)


def test_ports_find_their_places(tmp_path: Path) -> None:
    """Who wants a certain host port has it; the others take the first that is free where they want to be."""
    path = tmp_path / "f.yaml"
    path.write_text("services:\n  a: {ports: ['7000-7010:70', '80', '127.0.0.1:90:90']}\n"
                    "  b: {ports: ['7000:71', '80', '192.168.1.100:90:90']}\n")
    assert [(name, p.address, host, p.port) for name, _, p, host in load(path).published()] == [
        ("a", "", 7001, 70), ("a", "", 32768, 80), ("a", "127.0.0.1", 90, 90),
        ("b", "", 7000, 71), ("b", "", 32769, 80), ("b", "192.168.1.100", 90, 90)]
    assert World(load(path)).notes[0] == "services.a.ports: 70/tcp is published as 7001"
    path.write_text("services: {a: {ports: ['10.9.9.9:53:53/udp']}}\n")
    assert "10.9.9.9 is no address of the host" in World(load(path)).notes[0]
    for ports, message in {"90:91": r"services.b.ports.0: port 90/tcp is already published by a",
                           "127.0.0.1:90:91": r"services.b.ports.0: port 90/tcp is already published by a",
                           "1-2:1-2', '7000-7001:70": r"services.b.ports.1: ports 7000-7001/tcp are already published by a"}.items():
        path.write_text(f"services:\n  a: {{ports: ['127.0.0.1:90:90', '7000-7001:70-71']}}\n  b: {{ports: ['{ports}']}}\n")
        with pytest.raises(ScenarioError, match=message):
            load(path)


def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"A": "1", "E": ""}
    for text, value in {"$A:${A}": "1:1", "$$A": "$A", "${X:-80}": "80", "${E:-80}": "80", "${E-80}": "", "${A:+b}${X:+c}": "b",
                        "${X:-${A}2}": "12", "${X}": "", "${A:?no}": "1"}.items():
        assert substitute(text, known) == value
    for text, message in {"${X:?say which}": "X is not set: say which", "${E:?}": "E is not set", "${A": "begins no variable"}.items():
        with pytest.raises(ValueError, match=message):
            substitute(text, known)
    (tmp_path / ".env").write_text("# where\nWEB=8081\nexport NET='172.30.0.0/16' # quoted\nOTHER=1\n")
    monkeypatch.setenv("OTHER", "9090")
    path = tmp_path / "f.yaml"
    path.write_text("services:\n  a:\n    ports: ['${WEB}:80', '${OTHER:-1}:90']\n    command: ${MUST:?be set} $\n"
                    "networks: {default: {ipam: {config: [{subnet: $NET}]}}}\n")
    c = load(path)
    assert [host for *_, host in c.published()] == [8081, 9090]
    assert c.networks["default"].ipam.config[0].subnet == "172.30.0.0/16"
    path.write_text("services: {a: {ports: ['${MUST:?be set}:80']}}\n")
    with pytest.raises(ScenarioError, match=r"services.a.ports.0: '\$\{MUST:\?be set\}:80': MUST is not set: be set"):
        load(path)


def test_files_that_include_and_services_that_extend(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.yaml").write_text(
        "services: {base: {networks: [x], ports: ['1:1']}, web: {extends: base, ports: ['2:2'], x-simcore: {http: {port: 81}}}}\n")
    (tmp_path / "db.yaml").write_text("services: {db: {}, old: {}}\nnetworks: {x: {}}\n")
    path = tmp_path / "f.yaml"
    path.write_text("include: ['${DB:-db}.yaml']\n"
                    "services: {front: {extends: {file: '${MORE:-more}/base.yaml', service: web}, ports: ['3:3']}, old: {networks: [x]}}\n")
    c = load(path)
    assert {name: list(c.networks_of(name)) for name in c.services} == {"db": ["bridge"], "old": ["x"], "front": ["x"]}
    assert [(name, host) for name, *_, host in c.published()] == [("front", 1), ("front", 2), ("front", 3)]
    assert c.services["front"].x.http is not None
    for text, message in {
            "services: {a: {extends: b}, b: {extends: {service: a}}}": "extends itself",
            "services: {a: {extends: a}}": "a extends itself",
            "services: {a: {extends: x}}": "services.a.extends: there is no service 'x' in",
            "include: [f.yaml]": "include.0: f.yaml includes itself",
            "services: {a: {extends: [x]}}": "services.a.extends: expected a service's name",
            "include: [1]": "include.0: expected a file's name",
            "include: ['${DB:?which}']": r"include.0: '\$\{DB:\?which\}': DB is not set: which",
            "include: [no.yaml]": "no.yaml: No such file", "include: db.yaml": "include: expected a list of files"}.items():
        path.write_text(text + "\n")
        with pytest.raises(ScenarioError, match=message):
            load(path)


def test_services_that_share_a_namespace(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("""
services:
  vpn: {}
  client: {network_mode: "service:vpn", ports: ["80:80"], x-simcore: {http: {port: 8081}}}
  agent: {network_mode: host, x-simcore: {http: {port: 9100}}}
  other: {}
x-simcore:
  servers: {api: {address: 93.184.216.34, http: {port: 80}}}
  workloads:
    - {kind: http, from: client, to: api}
    - {kind: http, from: other, to: client, port: 8081}
    - {kind: http, from: other, to: vpn, port: 8081}
    - {kind: http, from: api, to: agent, port: 9100}
    - {kind: http, from: agent, to: vpn, port: 8081}
""")
    world = World(load(path))
    assert world.notes == ["services.client.ports: not published: client is in the network namespace of vpn"]
    assert world.namespace("client") is world.namespace("vpn")
    world.run(5.0)
    assert [w["requests"][0]["status"] for w in world.summary()["workloads"]] == [200] * 5
    for mode, message in {"container:c": "expected bridge, host, none or service:NAME",
                          "service:x": "'x' is no service with a network namespace",
                          "service:b": "'b' is no service with a network namespace"}.items():
        path.write_text(f"services: {{a: {{network_mode: '{mode}'}}, b: {{network_mode: host}}}}\n")
        with pytest.raises(ScenarioError, match=message):
            load(path)


def test_what_is_of_another_world_is_said_and_left_out(tmp_path: Path) -> None:
    """IPv6, other hosts, drivers' options that mean nothing here: the rest of the file is simulated all the same."""
    path = tmp_path / "f.yaml"
    path.write_text("""
services:
  web: {networks: [front, far], ports: ["[::1]:81:80", "80:80"], x-simcore: {http: {port: 80}}}
  job: {network_mode: none, ports: ["90:90"]}
networks:
  front: {enable_ipv6: true, driver_opts: {com.example.colour: red}, ipam: {config: [{subnet: "2001:db8::/64"}, {subnet: 10.9.0.0/24}]}}
  far: {driver: overlay}
x-simcore:
  servers: {api: {address: 93.184.216.34}}
  workloads: [{kind: http, from: api, to: host}]
""")
    world = World(load(path))
    assert world.notes == ["networks.front.driver_opts: com.example.colour has no effect here",
                           "networks.front.enable_ipv6: there is IPv4 only",
                           "networks.far.driver: overlay is a bridge here: there is one host",
                           "services.job.ports: 90 is not published: job has no bridge with a way out",
                           "services.web.ports: 80 is not published on [::1]: there is IPv4 only"]
    assert world.namespace("job").interfaces == world.namespace("job").interfaces[:1]           # lo
    assert {dev.name: dev.mtu for dev in world.namespace("web").interfaces} == {"lo": 65536, "eth0": 1450, "eth1": 1500}
    world.run(5.0)
    assert world.summary()["workloads"][0]["requests"][0]["status"] == 200
    path.write_text(path.read_text().replace("from: api, to: host", "from: api, to: job"))
    with pytest.raises(ScenarioError, match=r"workloads.0.to: job has no network \(network_mode: none\)"):
        load(path)


def test_options_of_a_bridge(tmp_path: Path) -> None:
    """MTU, masquerading, containers that may not talk to each other, where ports are published, names."""
    path = tmp_path / "f.yaml"
    path.write_text("""
services:
  a: {networks: [n], ports: ["8080:80"], x-simcore: {http: {port: 80}}}
  b: {networks: [n], x-simcore: {http: {port: 80}}}
networks:
  n:
    driver_opts:
      com.docker.network.driver.mtu: 1400
      com.docker.network.bridge.name: br0
      com.docker.network.bridge.enable_icc: "false"
      com.docker.network.bridge.enable_ip_masquerade: "false"
      com.docker.network.bridge.host_binding_ipv4: 127.0.0.1
      com.docker.network.container_iface_prefix: lan
x-simcore:
  servers: {api: {address: 93.184.216.34, http: {port: 80}}}
  workloads:
    - {kind: http, from: b, to: a}
    - {kind: http, from: api, to: host, port: 8080}
    - {kind: http, from: host, to: 127.0.0.1, port: 8080}
    - {kind: bulk, from: a, to: api, port: 9, size: 100kB}
""")
    world = World(load(path))
    assert world.notes == []
    assert [(dev.place, dev.mtu) for dev in world.namespace("a").interfaces] == [("a/lo", 65536), ("a/lan0", 1400)]
    assert {dev.name: dev.mtu for dev in world.host.namespace.interfaces} == {
        "lo": 65536, "eth0": 1500, "br0": 1400, "docker0": 1500, "veth-a": 1400, "veth-b": 1400}
    rules = world.host.rules().to_iptables_save().splitlines()
    assert "-A FORWARD -i br0 -o br0 -j DROP" in rules
    assert "-A DOCKER -d 127.0.0.1/32 ! -i br0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80" in rules
    assert [rule for rule in rules if "MASQUERADE" in rule] == [
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE"]
    world.run(10.0)
    s = world.summary()
    assert s["workloads"][0]["requests"] == []                          # still trying: dropped on the bridge, by FORWARD
    assert s["drops"]["host"]["bridged FORWARD"] > 0
    assert s["workloads"][1]["requests"][0]["error"]                    # published on 127.0.0.1 only
    assert s["workloads"][2]["requests"][0]["status"] == 200
    assert s["drops"]["router"]["no route"] > 0                         # towards 172.18.0.2, which went out as it was
    for name, value in {"driver.mtu": "9", "bridge.name": "a name", "bridge.enable_icc": "perhaps",
                        "bridge.host_binding_ipv4": "here"}.items():
        path.write_text(f"services: {{}}\nnetworks: {{n: {{driver_opts: {{com.docker.network.{name}: '{value}'}}}}}}\n")
        with pytest.raises(ScenarioError, match=f"networks.n.driver_opts: com.docker.network.{name}: '{value}'"):
            load(path)


def test_nothing_crosses_the_edge_of_an_internal_network(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("""
services:
  web: {networks: [front, back], ports: ["127.0.0.1:8443:80", "8080:80"], x-simcore: {http: {port: 80}}}
  db: {networks: [back], ports: ["5432:5432"], x-simcore: {http: {port: 80}}}
networks: {front: {}, back: {internal: true, ipam: {config: [{subnet: 172.28.0.0/16}]}}}
x-simcore:
  links: {container: {}, host: {}, server: {}}
  servers: {api: {address: 93.184.216.34, http: {port: 80}}}
  workloads:
    - {kind: http, from: api, to: 192.168.1.100, port: 8080}
    - {kind: http, from: api, to: 192.168.1.100, port: 8443}
    - {kind: http, from: host, to: 127.0.0.1, port: 8443}
    - {kind: http, from: web, to: api}
    - {kind: http, from: web, to: db}
    - {kind: ping, from: db, to: web}
    - {kind: http, from: db, to: api}
    - {kind: bulk, from: db, to: api, port: 9000, size: 1MB}
""")
    world = World(load(path))
    assert world.notes == ["services.db.ports: 5432 is not published: db has no bridge with a way out"]
    rules = world.host.rules().to_iptables_save()
    for line in ("-A DOCKER-ISOLATION-STAGE-1 ! -s 172.28.0.0/16 -o br-back -j DROP",
                 "-A DOCKER-ISOLATION-STAGE-1 ! -d 172.28.0.0/16 -i br-back -j DROP", "-A FORWARD -i br-back -o br-back -j ACCEPT"):
        assert line in rules
    assert "! -o br-back" not in rules
    world.run(5.0)
    results = world.summary()["workloads"]
    requests = [w["requests"][0]["error"] or w["requests"][0]["status"] for w in results if "requests" in w]
    assert "ECONNREFUSED" in requests.pop(1)
    assert requests == [200, 200, 200, 200]
    assert results[5]["rtt_s"] == [0.0]
    assert [w["error"] for w in results[6:]] == ["ENETUNREACH", "ENETUNREACH"]
    # with a route of its own it gets as far as the rules
    db, sent = world.namespace("db"), world.links["host/eth0"].packets
    db.add_route("default", "eth0", "172.28.0.1")
    assert world.env.run(until=PingSocket(db, 99).echo("93.184.216.34")) is None
    assert world.links["host/eth0"].packets == sent


def test_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of a profile is started with it only."""
    path = tmp_path / "f.yaml"
    path.write_text("services: {a: , b: {profiles: [debug, dev]}, c: {profiles: []}, d: {profiles: [ops]}}\n")
    c = load(path)
    assert list(c.services) == ["a", "c"]
    assert c.notes == ["services.b: not started: it is of profile debug or dev (COMPOSE_PROFILES)",
                       "services.d: not started: it is of profile ops (COMPOSE_PROFILES)"]
    (tmp_path / ".env").write_text("COMPOSE_PROFILES=dev, other\n")
    assert list(load(path).services) == ["a", "b", "c"]
    monkeypatch.setenv("COMPOSE_PROFILES", "*")
    assert list(load(path).services) == ["a", "b", "c", "d"]


def test_replicas_are_containers(tmp_path: Path) -> None:
    """Each has an address, serves, sends, and is sent to in its turn; a range of host ports is theirs, one port the first's."""
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({
        "services": {"web": {"deploy": {"replicas": 3}, "ports": ["8000-8002:80", "9000:90"], "x-simcore": {"http": {"port": 80}}},
                     "worker": {"scale": 2}, "tap": {"network_mode": "service:web"}},
        "x-simcore": {"duration": "5s", "servers": {"out": {"address": "93.184.216.34"}}, "workloads": [
            {"kind": "http", "from": "worker", "to": "web", "count": 3, "interval": "100ms"},
            {"kind": "http", "from": "out", "to": "host", "port": 8001},
            {"kind": "load", "from": "worker", "to": "web", "port": 81, "users": 6, "think": "100ms"},
            {"kind": "udp", "from": "worker", "to": "web", "port": 5, "rate": 100},
            {"kind": "ping", "from": "worker-2", "to": "web-3"},
            {"kind": "bulk", "from": "web", "to": "out", "port": 9, "size": "10k", "flows": 2}]}}))
    world = World(load(path))
    assert list(world.host.containers) == ["web-1", "web-2", "web-3", "worker-1", "worker-2"]
    assert [c.address for c in world.host.containers.values()] == [f"172.17.0.{i}" for i in range(2, 7)]
    assert world.namespace("tap") is world.namespace("web") is world.namespace("web-1")
    assert [(p.address, p.host_port) for p in world.host.published] == [
        ("172.17.0.2", 8000), ("172.17.0.2", 9000), ("172.17.0.3", 8001), ("172.17.0.4", 8002)]
    assert world.notes.count("services.web.ports: 9000 is published for the first replica only: a host port has one owner; "
                             "expected a range, or no host port") == 2
    world.run()
    http, published, load_, udp, ping, bulk = world.summary()["workloads"]
    assert sorted(r["body"] for r in http["requests"]) == [f"hello from web-{i}\n" for i in (1, 1, 2, 2, 3, 3)]
    assert published["requests"][0]["body"] == "hello from web-2\n"
    assert load_["connections"] == 12
    assert load_["requests_done"] == load_["response_s"]["count"] > 12 * 40
    assert udp["received_by"].keys() == {"web-1", "web-2", "web-3"}
    assert udp["received_by"]["web-3"] == 0                 # two senders: the first two
    assert min(udp["received_by"]["web-1"], udp["received_by"]["web-2"]) > 400
    assert len(ping["rtt_s"]) == 1
    assert len(bulk["flows"]) == 6
    assert all(f["bytes"] == 10240 for f in bulk["flows"])


@pytest.mark.parametrize(("services", "message"), [
    ({"a": {"scale": 2, "networks": {"default": {"ipv4_address": "172.18.0.9"}}}}, "one address for 2 replicas"),
    ({"a": {"scale": 2}, "a-1": {}}, "services.a: its replica a-1 has the name of another"),
    ({"a": {"scale": 3, "ports": ["8000-8001:80"]}}, "services.a.ports.0: ports 8000-8001/tcp are already published by a-"),
    ({"a": {"scale": 1000}, "b": {"scale": 24}}, "services.b: a bridge takes 1023 ports, and network bridge has more containers"),
    ({"a": {"scale": 6, "networks": ["small"]}}, "services.a: network small: no address is left in 10.9.0.0/29"),
    ({"a": {"scale": -1}}, "services.a.scale: -1: expected at least 0"),
    ({"a": {"scale": 0}, "b": {}}, "x-simcore.workloads.0.from: 'a' is neither a service nor a server; expected one of b, host")])
def test_replicas_that_cannot_be(tmp_path: Path, services: dict[str, Any], message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({"services": services, "networks": {"small": {"ipam": {"config": [{"subnet": "10.9.0.0/29"}]}}},
                                "x-simcore": {"workloads": [{"kind": "ping", "from": "a", "to": "host"}]}}))
    with pytest.raises(ScenarioError, match=re.escape(message)):
        load(path)


MACVLAN = """
services:
  a: {networks: [lan], x-simcore: {http: {port: 80}}}
  b: {networks: [inner, lan], ports: ["8080:80"], x-simcore: {http: {port: 80}}}
  c: {networks: {lan: {ipv4_address: 192.168.1.50}}, ports: ["90:90"]}
networks: {lan: {driver: macvlan, driver_opts: {parent: eth0}}, inner: {}}
x-simcore:
  host: {address: 192.168.1.3/24}
  servers: {api: {address: 93.184.216.34, http: {port: 80}}}
  workloads:
    - {kind: http, from: api, to: a}
    - {kind: http, from: a, to: api}
    - {kind: http, from: c, to: a}
    - {kind: http, from: host, to: a}
    - {kind: http, from: api, to: host, port: 8080}
    - {kind: http, from: host, to: api}
"""


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_macvlan_puts_containers_on_the_hosts_network(tmp_path: Path, engine: str) -> None:
    """They reach everybody there and beyond but the host, past its netfilter and in its card's queue."""
    path = tmp_path / "f.yaml"
    path.write_text(MACVLAN)
    world = World(load(path), engine=engine)
    assert world.notes == ["services.c.ports: 90 is not published: c has no bridge with a way out",
                           "x-simcore.workloads.3: the host and a do not reach each other: a is on the host's card by macvlan"]
    assert {n: c.addresses for n, c in world.host.containers.items()} == {
        "a": {"lan": "192.168.1.2"}, "b": {"inner": "172.18.0.2", "lan": "192.168.1.4"}, "c": {"lan": "192.168.1.50"}}
    world.capture(tmp_path / "card.pcapng", interfaces=["host/eth0"])
    world.run(5.0)
    world.writer.close()
    s = world.summary()
    assert [r[0]["status"] or r[0]["error"] for r in (w["requests"] for w in s["workloads"])] == [
        200, 200, 200, "[Errno 113] EHOSTUNREACH: No route to host", 200, 200]
    tracked = [line for line in s["conntrack"] if re.search(r"=192\.168\.1\.(2|50) ", line)]
    assert all("src=192.168.1.3 dst=192.168.1.2 " in line for line in tracked)                     # only what the host tried itself
    seen = [p for p in rdpcap(str(tmp_path / "card.pcapng")) if "IP" in p]
    ends = {frozenset((p["IP"].src, p["IP"].dst)) for p in seen}
    assert ends == {frozenset(("93.184.216.34", to)) for to in ("192.168.1.2", "192.168.1.3")}      # siblings need no wire
    card = world.host.namespace.interface("eth0")
    assert card.tx_packets == world.links["host/eth0"].packets
    assert card.rx_packets == world.links["router/eth0"].packets


def test_macvlan_needs_the_hosts_addresses(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    for ipam, message in {
            "subnet: 10.0.0.0/24": r"config.0.subnet: a macvlan network has the addresses of the host's, 192.168.1.0/24 \(x-simcore.host",
            "subnet: 192.168.1.0/24, gateway: 192.168.1.254": r"gateway 192.168.1.254 is not the router, 192.168.1.1/24"}.items():
        path.write_text(f"services: {{a: {{networks: [lan]}}}}\nnetworks: {{lan: {{driver: macvlan, ipam: {{config: [{{{ipam}}}]}}}}}}\n")
        with pytest.raises(ScenarioError, match=message):
            load(path)
    path.write_text("services: {a: {networks: {lan: {ipv4_address: 192.168.1.100}}}}\nnetworks: {lan: {driver: macvlan}}\n")
    with pytest.raises(ScenarioError, match=r"ipv4_address: address 192.168.1.100 is taken by"):
        load(path)
    path.write_text("services: {a: {networks: [lan, more]}}\nnetworks: {lan: {driver: macvlan}, more: {driver: macvlan}}\n")
    with pytest.raises(ScenarioError, match=r"networks.more: subnet 192.168.1.0/24 overlaps 192.168.1.0/24 of lan"):
        load(path)
