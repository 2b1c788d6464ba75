"""A file that says no traffic is given some: by its published ports, by who depends on whom."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simcore.docker.compose import Compose, load
from simcore.docker.suggest import as_text, suggest
from simcore.study.scenario import World

VOTING = """
services:
  vote:
    depends_on: {redis: {condition: service_healthy}}
    ports: ["8080:80", "127.0.0.1:9229:9229", "5000:53/udp"]
    networks: [front, back]
  worker:
    depends_on: {redis: {}, db: {}, vote: {condition: service_started}, gone: {required: false}}
    networks: [back]
    deploy: {replicas: 2}
  redis: {image: redis:alpine, networks: [back]}
  db: {image: "registry.example/postgres:${TAG:?no tag}", networks: [back], expose: ["9999"]}
  apart: {depends_on: [db], networks: [other]}
networks: {front: , back: {internal: true}, other: }
"""


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(w["kind"], w["from"], w["to"], w.get("port")) for w in found["x-simcore"]["workloads"]]


def test_ports_and_dependencies_make_traffic(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(VOTING)
    found = suggest(load(path))
    assert rows(found) == [
        ("load", "internet", "host", 8080), ("udp", "internet", "host", 5000),      # not what is published on loopback
        ("load", "worker", "redis", 6379), ("load", "worker", "db", 5432), ("load", "worker", "vote", 80)]   # apart cannot reach db
    assert found["services"] == {"vote": {"x-simcore": {"app": {
        "port": 80, "calls": [{"to": "redis", "port": 6379, "response-size": {"exponential": "4k"}}]}}}}
    override = tmp_path / "traffic.yaml"
    override.write_text(as_text("compose.yaml", found))
    world = World(load(path, [override]))
    assert not [note for note in world.notes if "workloads" in note]
    world.run()
    summary = world.summary()
    for w in summary["workloads"]:
        assert w.get("requests_done", w.get("received")) > 50
        assert not w.get("failed")
        assert w.get("loss", 0.0) < 1e-3
    vote = summary["apps"]["vote:80"]
    assert vote["answered"] == vote["calls"]["redis:6379"]["answered"] > 150
    again = World(load(path, suggesting=True))               # made up on the way, it is the same traffic
    assert [n for n in again.notes if "workloads" in n][0].startswith(
        "x-simcore.workloads: there are none, so some were made up: load internet → host:8080, udp internet → host:5000,")
    assert "; for each request vote → redis:6379; `simcore init" in [n for n in again.notes if "workloads" in n][0]
    again.run()
    assert again.summary()["workloads"] == summary["workloads"]
    assert [c.name for c in again.host.containers.values()] == ["redis", "db", "vote", "apart", "worker-1", "worker-2"]


def test_what_the_file_says_counts(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(VOTING + "x-simcore: {duration: 3s, links: {host: {rate: 5Mbit}}, servers: {internet: {address: 198.51.100.1}}}\n")
    made = load(path, suggesting=True, settings={"workloads.0.users": 3})
    assert made.x.duration == 3.0
    assert made.x.links.host.rate == 5e6
    assert made.x.links.server.latency == 0.01
    assert sorted(made.x.servers) == ["internet", "users"]
    assert [w.source for w in made.x.workloads][:2] == ["users", "users"]
    assert made.x.workloads[0].users == 3
    path.write_text(VOTING + "x-simcore: {workloads: [{kind: ping, from: vote, to: host}]}\n")
    assert len(load(path, suggesting=True).x.workloads) == 1


@pytest.mark.parametrize(("services", "expected"), [
    ({"a": {}}, [("load", "a", "internet", 443)]),
    ({"a": {"network_mode": "host"}}, [("ping", "a", "host", None)]),
    ({"a": {"scale": 0}, "b": {"networks": ["shut"]}, "c": {"networks": ["shut"]}}, [("ping", "b", "c", None)]),
    ({"a": {"ports": ["80"], "x-simcore": {"http": {}}}, "b": {"depends_on": ["a"]}},
     [("http", "internet", "host", 32768), ("http", "b", "a", 80)]),
    ({"db": {}, "b": {}, "c": {"links": ["b"]},
      "a": {"ports": ["80", "81"], "links": ["b", "db"], "x-simcore": {"link": {}}}},
     [("load", "internet", "host", 32768), ("load", "internet", "host", 32769), ("load", "c", "b", 80)]),
    ({"a": {"ports": ["80"], "depends_on": ["b"], "x-simcore": {"app": {}}}, "b": {}}, [("load", "internet", "host", 32768)]),
    ({"internet": {"expose": ["${PORT:-7}", "3000-3005"]}, "users": {"depends_on": ["internet"]}}, [("load", "users", "internet", 7)])])
def test_whatever_the_file_there_is_something(services: dict[str, Any], expected: list[tuple[Any, ...]], tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(yaml.safe_dump({"services": services, "networks": {"shut": {"internal": True}}}))
    assert rows(suggest(load(path))) == expected
    world = World(load(path, suggesting=True))
    world.run(3.0)
    assert not [f for f in world.summary()["findings"] if f["what"] == "failed"]
    assert isinstance(world.compose, Compose)
