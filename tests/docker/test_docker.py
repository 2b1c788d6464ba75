"""IPAM, the rules Docker writes, Compose."""
from __future__ import annotations

from pathlib import Path

import pytest

from simcore import units
from simcore.docker.compose import load
from simcore.docker.ipam import IpamError, Pool, mac_of
from simcore.docker.iptables import Published, docker_rules
from simcore.study.scenario import World


def test_rules_are_those_of_the_recorded_host(data: Path) -> None:
    ours = docker_rules([("docker0", "172.17.0.0/16")], [Published("docker0", "172.17.0.2", 80, 8080)])
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
        "proxy": {"front": "172.18.0.2", "back": "10.5.0.2"}, "app": {"back": "10.5.0.77"}, "db": {"back": "10.5.0.3"}}
    assert [d.name for d in world.host.namespace.interfaces] == [
        "lo", "eth0", "br-front", "br-back", "veth-proxy", "veth-proxy-1", "veth-app", "veth-db"]
    world.run(0.1)
