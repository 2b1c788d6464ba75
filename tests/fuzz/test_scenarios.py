"""Scenario files with anything in them: each runs, or is refused in one line that names the file."""
from __future__ import annotations

import random
from pathlib import Path

import mutation
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simcore.docker import yaml12
from simcore.errors import ScenarioError
from simcore.study.source import make_world, source

SCENARIO = """
services:
  web: {image: nginx, ports: ["8080:80", "5353:53/udp", {target: 90, published: 9000-9003}], depends_on: [db],
        networks: {front: {ipv4_address: 172.20.0.9}}}
  db: {image: postgres, networks: [front, back], deploy: {replicas: 3}, sysctls: {net.ipv4.tcp_ecn: 1},
       x-simcore: {app: {port: 5432, workers: 2, service: {exponential: 1ms}, async: true, connections: 3, backlog: 2,
                         calls: [{to: api, port: 83, count: 2, pool: 1, timeout: 20ms, retries: 1, keep-alive: 4, served-by: api},
                                 [{to: api, port: 83}, {to: api, port: 81, retries: 2, timeout: 1ms, backoff: {uniform: [1ms, 2ms]}}]]}}}
  lan: {networks: [mv]}
  beside: {network_mode: "service:web"}
  local: {network_mode: host, x-simcore: {http: {port: 81}}}
networks:
  front: {ipam: {config: [{subnet: 172.20.0.0/24, gateway: 172.20.0.1, ip_range: 172.20.0.0/28}]},
          driver_opts: {com.docker.network.bridge.name: brf, com.docker.network.driver.mtu: "1400"}}
  back: {internal: true}
  mv: {driver: macvlan}
x-simcore:
  duration: 400ms
  seed: 1
  warmup: 100ms
  host:
    sysctls: {net.netfilter.nf_conntrack_max: 100}
    iptables: [-I DOCKER-USER -s 10.0.0.0/8 -j DROP]
    cpu: {preset: linux-6.18, cores: 2, backlog: 100, steering: rss, costs: {rule: 12}}
  router: {mtu: 1400}
  links:
    container: {rate: 1Gbit, latency: 5us}
    host:
      rate: 100Mbit
      qdisc: {kind: htb, default: x, filters: [{class: web, dport: 80, mark: 1/0xff, dscp: ef, src: 172.20.0.0/24, protocol: tcp}],
              classes: {root: {rate: 10Mbit}, web: {parent: root, rate: 5Mbit, qdisc: fq_codel}, x: {parent: root, rate: 1Mbit, prio: 1}}}
    server: {rate: 10Mbit, latency: 1ms, jitter: 1ms, distribution: normal, loss: {p: 1%, r: 10%}, duplicate: 1%, corrupt: 1%,
             reorder: 1%, gap: 2, reverse: {rate: 1Mbit}}
  servers: {api: {address: 93.184.216.34, http: {port: 80, size: 64k, think: 2ms}, sysctls: {net.ipv4.tcp_rmem: 4096 131072 6291456},
                  link: {rate: 1Gbit, qdisc: {kind: red, limit: 100k, ecn: true}}}}
  events:
    - {at: 100ms, link: host/eth0, set: {rate: 1Mbit, loss: 1%}}
    - {at: 200ms, link: host/eth0, state: down}
    - {at: 300ms, move: {port: 8080, protocol: tcp, to: db}}
    - {at: 300ms, conntrack-delete: {protocol: udp, dport: 53, src: 172.20.0.9}}
    - {at: 300ms, iptables: [-I DOCKER-USER -s 93.184.216.0/24 -j DROP]}
  workloads:
    - {kind: http, from: db, to: api, count: 2, interval: 50ms}
    - {kind: load, from: db, to: api, port: 81, users: 2, think: {exponential: 10ms}, response-size: {pareto: {mean: 10k, shape: 1.5}},
       keep-alive: 3, tcp-keepalive: 10s, requests: 10, timeout: 30ms, retries: 2, backoff: {exponential: 5ms}}
    - {kind: load, from: web, to: db, port: 5432, rate: 100, pattern: constant, pool: 2, timeout: 50ms}
    - {kind: udp, from: db, to: api, port: 9, rate: 100, size: 500, on: 10ms, off: {uniform: [1ms, 5ms]}}
    - {kind: bulk, from: db, to: api, port: 82, size: 10k, flows: 2, congestion: bbr}
    - {kind: ping, from: web, to: db, interval: 100ms, stop: 300ms, size: 100}
    - {kind: dns, from: db, to: api, name: x, options: [single-request], attempts: 1, timeout: 100ms}
    - {kind: udp, from: api, to: host, port: 5353, rate: 100, served-by: web, server-port: 53}
"""
KEYS = ("foo", "kind", "size", "port", "x-simcore", "stop", "start", "to", "from")
VALUES = [*mutation.VALUES, float("nan"), float("inf"), {None: 1}]
NEVER_ENDING = {"rate", "users", "replicas", "scale", "count"}
"""Where a large number is meant, and takes long."""


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_file_runs_or_is_refused_in_a_line(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(mutation.mutated(yaml12.load(SCENARIO), random.Random(seed), KEYS, VALUES, NEVER_ENDING)))
    refused = f"{file}: "
    try:
        world = make_world(source(file))
        world.run(0.4)
        world.summary()
    except ScenarioError as error:
        refused = str(error)
    assert refused.startswith(f"{file}: ")
    assert "\n" not in refused


def test_the_file_itself_runs(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(SCENARIO)
    world = make_world(source(tmp_path / "compose.yaml"))
    world.run()
    *_, bulk, ping, dns, datagrams = world.summary()["workloads"]
    assert any(f["bytes"] for f in bulk["flows"])
    assert len(ping["rtt_s"]) == 2
    assert dns["lookups"]
    assert 0 < datagrams["received"] < datagrams["sent"]
