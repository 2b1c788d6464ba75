"""Traffic for a Compose file that says none: what its published ports and dependencies make likely."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import yaml

from simcore.docker.links import USUAL
from simcore.traffic.title import title

if TYPE_CHECKING:
    from simcore.docker.compose import Compose, Service

ADDRESS = "203.0.113.10"
"""Of the users on the internet: TEST-NET-3 (RFC 5737)."""
WELL_KNOWN = {
    "postgres": 5432, "timescale": 5432, "mysql": 3306, "mariadb": 3306, "redis": 6379, "valkey": 6379, "memcached": 11211, "mongo": 27017,
    "rabbitmq": 5672, "nats": 4222, "kafka": 9092, "redpanda": 9092, "zookeeper": 2181, "elasticsearch": 9200, "opensearch": 9200,
    "minio": 9000, "etcd": 2379, "consul": 8500, "vault": 8200, "grafana": 3000, "prometheus": 9090, "influxdb": 8086, "clickhouse": 8123,
    "keycloak": 8080,
}
"""Ports that images listen on, by a part of their name."""


def suggest(c: Compose) -> dict[str, Any]:
    """What `x-simcore` could say of a file without workloads.

    From the internet ten users to each published TCP port, and a stream of datagrams to each UDP one; from each service five users to
    each that it depends on; if there is neither, from each service to the internet.

    Returns
    -------
    dict
        Plain data, to merge under what the file has.
    """
    taken = c.services.keys() | c.x.servers.keys()
    internet = next(name for name in chain(("internet", "users"), (f"internet-{n}" for n in count(2))) if name not in taken)
    workloads = [*_published(c, internet), *_depending(c)]
    if not workloads:
        workloads = [{"kind": "load", "from": name, "to": internet, "port": 443, "users": 5, "think": {"exponential": "500ms"}}
                     for name, s in c.services.items() if c.instances(name) and not s.shares and c.reaches_out(name)]
    if not workloads:
        first, *others = [name for name in c.services if c.instances(name)] or ["host"]
        workloads = [{"kind": "ping", "from": first, "to": others[0] if others else "host", "count": 5}]
    return {"duration": "10s", "links": USUAL, "servers": {internet: {"address": ADDRESS}}, "workloads": workloads}


def as_text(file: str, suggestion: dict[str, Any]) -> str:
    """The same as a Compose file to merge over the other, a workload to a line."""
    head = yaml.safe_dump({k: v for k, v in suggestion.items() if k != "workloads"}, sort_keys=False, default_flow_style=None)
    rows = [yaml.safe_dump(w, sort_keys=False, default_flow_style=True, width=1000).strip() for w in suggestion["workloads"]]
    return (f"# Traffic for {file}, made up from its published ports and dependencies. Change it, then:\n"
            f"#   simcore run {file} --override THIS_FILE --report\n"
            "services: {}\nx-simcore:\n" + "".join(f"  {line}\n" for line in head.splitlines()) + "  workloads:\n"
            + "".join(f"    - {row}\n" for row in rows))


def in_words(suggestion: dict[str, Any]) -> str:
    """Its workloads, for one line."""
    return ", ".join(map(title, suggestion["workloads"]))


def _published(c: Compose, internet: str) -> Iterator[dict[str, Any]]:
    for name, instance, p, host_port in c.published():
        if host_port is None or p.address.startswith("127.") or not c.can_publish(name):
            continue
        if p.protocol == "udp":
            yield {"kind": "udp", "from": internet, "to": "host", "port": host_port, "rate": 100, "size": 300, "served-by": instance,
                   "server-port": p.port}
        elif (h := c.services[name].x.http) is not None and h.port == p.port:
            yield {"kind": "http", "from": internet, "to": "host", "port": host_port, "count": 20, "interval": "200ms"}
        else:
            yield {"kind": "load", "from": internet, "to": "host", "port": host_port, "users": 10, "think": {"exponential": "500ms"},
                   "response-size": {"exponential": "20k"}, "served-by": instance, "server-port": p.port}


def _depending(c: Compose) -> Iterator[dict[str, Any]]:
    for name, service in c.services.items():
        for other in dict.fromkeys([*service.depends_on, *(link.split(":")[0] for link in service.links)]):
            if other not in c.services or not c.instances(name) or not c.instances(other) or not _meet(c, name, other):
                continue
            port = _port(c.services[other])
            if (h := c.services[other].x.http) is not None and h.port == port:
                yield {"kind": "http", "from": name, "to": other, "port": port, "count": 50, "interval": "100ms"}
            else:
                yield {"kind": "load", "from": name, "to": other, "port": port, "users": 5, "think": {"exponential": "100ms"},
                       "response-size": {"exponential": "4k"}}


def _meet(c: Compose, one: str, other: str) -> bool:
    """Whether they share a network; what is in the host's namespace reaches all."""
    nets = [c.networks_of(owner) if owner in c.services else None for owner in (_owner(c, one), _owner(c, other))]
    return nets[0] is None or nets[1] is None or bool(nets[0].keys() & nets[1].keys())


def _owner(c: Compose, name: str) -> str:
    return c.services[name].shares or name


def probable_ports(s: Service) -> list[tuple[int, str]]:
    """Where a service probably listens, the likeliest first: what it says, what its image's name tells, what it publishes and exposes."""
    said = [(what.port, "tcp") for what in (s.x.http, s.x.app) if what is not None]
    known = [(port, "tcp") for part, port in WELL_KNOWN.items() if part in str(s.image)][:1]
    published = [(p.port, p.protocol) for item in s.ports for p in item]
    exposed = [(int(port), protocol or "tcp") for port, _, protocol in (str(e).partition("/") for e in s.expose)
               if port.isdecimal() and 0 < int(port) < 65536 and protocol in ("", "tcp", "udp")]
    return list(dict.fromkeys([*said, *known, *published, *exposed])) or [(80, "tcp")]


def _port(s: Service) -> int:
    """The likeliest for TCP."""
    return next((port for port, protocol in probable_ports(s) if protocol == "tcp"), 80)
