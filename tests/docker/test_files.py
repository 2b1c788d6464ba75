"""Compose files as text: YAML 1.2, and one file over another."""
from __future__ import annotations

from pathlib import Path

import pytest

from simcore.docker import yaml12
from simcore.docker.compose import load
from simcore.errors import ScenarioError
from simcore.study.scenario import World


@pytest.mark.parametrize(("text", "value"), [
    ("8080:22", "8080:22"), ("22:22", "22:22"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("true", True), ("False", False),
    ("null", None), ("~", None), ("", None), ("017", 17), ("0o17", 15), ("0x1F", 31), ("1e3", 1000.0), (".5", 0.5),
    ("-.inf", float("-inf")),
    ("1_000", "1_000"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"), ("=", "="), ("'1'", "1"), ("!!str 1", "1")])
def test_scalars_of_the_core_schema(text: str, value: object) -> None:
    assert yaml12.load(text) == value


def test_keys_named_on_and_off_and_unquoted_ports(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("""
x-common: &common {image: nginx, expose: [80]}
services:
  web: {<<: *common, ports: [2222:22, 8080:80]}
  app:
x-simcore:
  duration: 20s
  workloads: [{kind: udp, from: app, to: web, port: 9, rate: 100, on: 100ms, off: 100ms, pattern: constant}]
""")
    compose = load(path)
    assert sorted(host for _, _, _, host in compose.published() if host) == [2222, 8080]
    world = World(compose)
    world.run()
    assert 900 < world.summary()["workloads"][0]["sent"] < 1100


def test_one_file_over_another(tmp_path: Path) -> None:
    base, over = tmp_path / "compose.yaml", tmp_path / "over.yaml"
    base.write_text("""
services:
  a: {ports: ["80:80", "81:80"], sysctls: {net.ipv4.tcp_ecn: 1}, networks: [n]}
  b: {ports: ["90:90"]}
  c: {ports: ["70:70"]}
  d:
networks: {n: {internal: yes}}
""")
    over.write_text("""
services:
  a: {ports: ["80:80", "82:80"], sysctls: {net.ipv4.tcp_ecn: 0}, networks: !override [m]}
  b: {ports: !override ["91:90"]}
  c: {ports: !reset []}
  d: !reset null
networks: {m: {}}
""")
    assert load(base).networks["n"].internal
    compose = load(base, [over])
    assert [(name, host) for name, _, _, host in compose.published()] == [("a", 80), ("a", 81), ("a", 82), ("b", 91)]
    assert compose.services["a"].sysctls == {"net.ipv4.tcp_ecn": 0}
    assert list(compose.services["a"].networks) == ["m"]
    assert "d" not in compose.services
    over.write_text("services: {a: {ports: !append [1]}}")
    with pytest.raises(ScenarioError, match=r"over.yaml: line 1: not YAML: could not determine a constructor for the tag '!append'"):
        load(base, [over])
