"""Traffic for a Compose file that says none: what its published ports and dependencies make likely."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import yaml

from simcore.docker.links import USUAL
from simcore.traffic.title import title

if TYPE_CHECKING:
    from simcore.docker.compose import Compose, Service
    from simcore.docker.ports import PublishedPort

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
    """What a file without workloads could say.

    From the internet ten users to each published TCP port, and a stream of datagrams to each UDP one. A service that is so asked asks
    those that it depends on, once for each request, and they theirs; from each other service there are five users to each that it
    depends on. If there is neither, from each service to the internet.

    Returns
    -------
    dict
        Plain data, to merge under what the file has.
    """
    taken = c.services.keys() | c.x.servers.keys()
    internet = next(name for name in chain(("internet", "users"), (f"internet-{n}" for n in count(2))) if name not in taken)
    workloads, apps = [*_published(c, internet)], _apps(c)
    workloads += _depending(c, apps)
    if not workloads:
        workloads = [{"kind": "load", "from": name, "to": internet, "port": 443, "users": 5, "think": {"exponential": "500ms"}}
                     for name, s in c.services.items() if c.instances(name) and not s.shares and c.reaches_out(name)]
    if not workloads:
        first, *others = [name for name in c.services if c.instances(name)] or ["host"]
        workloads = [{"kind": "ping", "from": first, "to": others[0] if others else "host", "count": 5}]
    return {"services": {name: {"x-simcore": {"app": app}} for name, app in apps.items()},
            "x-simcore": {"duration": "10s", "links": USUAL, "servers": {internet: {"address": ADDRESS}}, "workloads": workloads}}


def as_text(file: str, suggestion: Mapping[str, Any]) -> str:
    """The same as a Compose file to merge over the other, a service and a workload to a line."""
    services, x = suggestion["services"], dict(suggestion["x-simcore"])
    workloads = x.pop("workloads")
    head = yaml.safe_dump(x, sort_keys=False, default_flow_style=None)
    return (f"# Traffic for {file}, made up from its published ports and dependencies. Change it, then:\n"
            f"#   simcore run {file} --override THIS_FILE --report\n"
            + ("services:\n" + "".join(f"  {name}: {_flow(s)}\n" for name, s in services.items()) if services else "services: {}\n")
            + "x-simcore:\n" + "".join(f"  {line}\n" for line in head.splitlines()) + "  workloads:\n"
            + "".join(f"    - {_flow(w)}\n" for w in workloads))


def _flow(data: Any) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=True, width=1000)).strip()


def in_words(suggestion: Mapping[str, Any]) -> str:
    """Its workloads, and who asks whom then, for one line."""
    asks = [f"{name} → {call['to']}:{call['port']}" for name, s in suggestion["services"].items()
            for call in s["x-simcore"]["app"]["calls"]]
    return ", ".join(map(title, suggestion["x-simcore"]["workloads"])) + (f"; for each request {', '.join(asks)}" if asks else "")


def _open_ports(c: Compose) -> Iterator[tuple[str, str, PublishedPort, int]]:
    """(service, instance, port, host port) of what others than the host itself reach."""
    for name, instance, p, host_port in c.published():
        if host_port is not None and not p.address.startswith("127.") and c.can_publish(name):
            yield name, instance, p, host_port


def _published(c: Compose, internet: str) -> Iterator[dict[str, Any]]:
    for name, instance, p, host_port in _open_ports(c):
        if p.protocol == "udp":
            yield {"kind": "udp", "from": internet, "to": "host", "port": host_port, "rate": 100, "size": 300, "served-by": instance,
                   "server-port": p.port}
        elif _is_http(c.services[name], p.port):
            yield {"kind": "http", "from": internet, "to": "host", "port": host_port, "count": 20, "interval": "200ms"}
        else:
            yield {"kind": "load", "from": internet, "to": "host", "port": host_port, "users": 10, "think": {"exponential": "500ms"},
                   "response-size": {"exponential": "20k"}, "served-by": instance, "server-port": p.port}


def _apps(c: Compose) -> dict[str, dict[str, Any]]:
    """What those who are asked from outside ask of others, and what these ask: by what each depends on."""
    apps: dict[str, dict[str, Any]] = {}

    def visit(name: str, port: int, way: Sequence[str]) -> None:
        service = c.services[name]
        if name in apps or service.x.app is not None or service.shares or _is_http(service, port):
            return
        calls = []
        for other, its_port in _dependencies(c, name):
            if other not in (*way, name) and not _is_http(c.services[other], its_port):
                calls.append({"to": other, "port": its_port, "response-size": {"exponential": "4k"}})
                visit(other, its_port, [*way, name])
        if calls:
            apps[name] = {"port": port, "calls": calls}

    for name, _, p, _ in _open_ports(c):
        if p.protocol == "tcp":
            visit(name, p.port, [])
    return apps


def _depending(c: Compose, apps: Collection[str]) -> Iterator[dict[str, Any]]:
    """The users of what those depend on that do not ask when they are asked."""
    for name, service in c.services.items():
        for other, port in _dependencies(c, name):
            if _is_http(c.services[other], port):
                yield {"kind": "http", "from": name, "to": other, "port": port, "count": 50, "interval": "100ms"}
            elif name not in apps and service.x.app is None:
                yield {"kind": "load", "from": name, "to": other, "port": port, "users": 5, "think": {"exponential": "100ms"},
                       "response-size": {"exponential": "4k"}}


def _dependencies(c: Compose, name: str) -> Iterator[tuple[str, int]]:
    """(service, port) of what a service depends on and reaches."""
    service = c.services[name]
    for other in dict.fromkeys([*service.depends_on, *(link.split(":")[0] for link in service.links)]):
        if other in c.services and c.instances(name) and c.instances(other) and _meet(c, name, other):
            yield other, _port(c.services[other])


def _is_http(s: Service, port: int) -> bool:
    """Whether the file says that it answers HTTP there."""
    return s.x.http is not None and s.x.http.port == port


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
