"""A scenario: a Compose file made into a world, run, and summed up."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from simcore.docker import compose as compose_file
from simcore.docker.compose import Compose
from simcore.docker.extension import Event
from simcore.docker.host import DockerHost, Internet
from simcore.docker.ports import EVERYWHERE
from simcore.engine.histogram import Histogram
from simcore.errors import ScenarioError
from simcore.files import write_csv
from simcore.net import sysctl as settings
from simcore.net.cable import change
from simcore.net.cpu import Cpu
from simcore.net.link import Link
from simcore.net.namespace import Namespace
from simcore.study.apps import Apps, listening
from simcore.study.summary import counters, summary
from simcore.study.topology import Topology
from simcore.study.workloads import Process, Workloads
from simcore.traffic import http


class World(Topology):
    """Everything that one run simulates.

    Parameters
    ----------
    compose : Compose
    seed : int, optional
        Instead of the file's.
    engine : {"compiled", "simpy"}
    """

    def __init__(self, compose: Compose, seed: int | None = None, engine: str = "compiled") -> None:
        x = compose.x
        super().__init__(x.seed if seed is None else seed, engine)
        self.compose = compose
        sysctl: dict[str, float | str] = {"net.bridge.bridge-nf-call-iptables": int(x.host.bridge_nf_call_iptables), **x.host.sysctls}
        self.host = DockerHost(self.env, self.streams, x.host.address, x.router.address.split("/")[0], x.host.interface,
                               x.host.userland_proxy, sysctl, iptables=x.host.iptables, engine=x.host.docker)
        for name, config, _ in compose_file.network_configs(compose):
            network = compose.network(name)
            if network.macvlan:
                self.host.add_macvlan(name, config.pool())
            else:
                self.host.add_network(name, config.pool(), network.internal, network.options)
        # what of the file has no effect though the author may think so, and what was chosen in its stead
        self.notes = list(compose.notes)
        for name, declared in compose.networks.items():
            if declared.external and declared.ipam.first() is None:
                self.notes.append(f"networks.{name}: external, so its subnet is not in this file: {self.host.networks[name].pool.network}")
            self.notes += [f"networks.{name}.{words}" for words in declared.without_effect()]
        self._add_services()
        self.host.start(x.links.container.parameters(), {instance: s.x.link.parameters() for name, s in compose.services.items()
                                                         if s.x.link is not None for instance in compose.instances(name)})
        for name, service in compose.services.items():
            if (h := service.x.http) is None:
                continue
            for instance in self.instances(name):
                ns = self.host.namespace if instance == "host" else self.host.containers[instance].namespace
                with listening(f"services.{name}.x-simcore.http.port", ns, h.port):
                    http.serve(ns, h.port, _body(h.body, instance), h.size, h.think)
        try:
            self.host.serve_published()
        except ValueError as error:
            raise ScenarioError(f"services: {error}") from None
        cpu = x.host.cpu
        self.cpu = Cpu(self.host.namespace, cpu.build(), cpu.cores, cpu.backlog, cpu.steering) if cpu else None
        self.internet = Internet(self.env, self.streams, x.router.address, x.router.mtu, x.router.iptables)
        self.internet.connect(self.host, x.links.host.parameters())
        for name, server in x.servers.items():
            ns = self.internet.add_server(name, server.address, server.prefix, (server.link or x.links.server).parameters(), server.sysctls)
            if server.http:
                http.serve(ns, server.http.port, _body(server.http.body, name), server.http.size, server.http.think)
        self.apps = Apps(self)
        self.workloads = Workloads(self)
        self.measured_from, self.before = 0.0, dict[str, Any]()
        if x.warmup:
            self.env.process(self._warm_up(x.warmup))
        for i, event in enumerate(x.events):
            self.env.process(self._event(i, event, self.link(event.link, f"x-simcore.events.{i}.link") if event.link else None))
        for i, workload in enumerate(x.workloads):
            self.workloads.start(i, workload)
            ends = [end for name in (workload.source, workload.to) for end in self.instances(name)]
            if hidden := [name for name in ends if "host" in ends and self.host.on_the_card_only(name)]:
                self.notes.append(f"x-simcore.workloads.{i}: the host and {hidden[0]} do not reach each other: "
                                  f"{hidden[0]} is on the host's card by macvlan")

    @property
    def links(self) -> dict[str, Link]:
        """Every link by the interface that sends into it, as `host/eth0`."""
        return {**self.host.links, **self.internet.links}

    def _event(self, number: int, event: Event, link: Link | None) -> Process:
        yield self.env.timeout(event.at)
        if link is not None:
            if event.set is not None:
                change(link, self.streams, event.set.changes(), number)
            elif event.state == "down":
                link.down()
            else:
                link.up_again()
        elif event.move is not None:
            self.host.move_port(event.move.port, event.move.protocol, self.host.containers[self.instances(event.move.to)[0]])
        elif event.iptables:
            self.host.add_rules(event.iptables)
        else:
            assert event.conntrack_delete is not None
            wanted = event.conntrack_delete.model_dump()
            wanted["protocol"] = {None: None, "icmp": 1, "tcp": 6, "udp": 17}[wanted["protocol"]]
            self.host.namespace.netfilter.delete_conntrack(**wanted)

    def _add_services(self) -> None:
        # Docker gives addresses in the order of starting; wanted ones are taken first
        services = self.compose.services
        wanted = {(n, net): o.ipv4_address for n, s in services.items() for net, o in s.networks.items() if o and o.ipv4_address}
        for (name, net), address in wanted.items():
            self.host.networks[net].pool.allocate(name, address)
        for (_, net), address in wanted.items():
            self.host.networks[net].pool.release(str(address))
        reserved = {net: [a for (_, n), a in wanted.items() if n == net] for net in self.host.networks}
        for name, service in self.compose.started():
            if service.shares:
                if service.ports:
                    self.notes.append(f"services.{name}.ports: not published: {name} is in the network namespace of {service.shares}")
                continue
            networks: dict[str, str | None] = {net: wanted.get((name, net)) for net in self.compose.networks_of(name)}
            for net, asked in networks.items():
                if asked is None:
                    networks[net] = self._free(net, reserved[net])
            known = {k: number(v) for k, v in service.sysctls.items() if settings.known(k) and k not in settings.MACHINE}
            self.notes += [f"services.{name}.sysctls: {k} " + ("is the whole host's: x-simcore.host.sysctls" if k in settings.MACHINE
                                                               else "has no effect here") for k in service.sysctls if k not in known]
            self.notes += [f"services.{name}.networks.{net}.{key} has no effect here" for net, use in service.networks.items() if use
                           for key in ("interface_name", "link_local_ips") if getattr(use, key)]
            for i, instance in enumerate(self.compose.instances(name)):
                self.host.add_container(instance, networks if i == 0 else {net: self._free(net, reserved[net]) for net in networks}, known,
                                        self.compose.macs_of(name))
        for name, instance, p, host_port in self.compose.published():
            if p.is_ipv6:
                self.notes.append(f"services.{name}.ports: {p.port} is not published on [{p.address}]: there is IPv4 only")
                continue
            if host_port is None:
                self.notes.append(f"services.{name}.ports: {p.low} is published for the first replica only: a host port has one owner; "
                                  "expected a range, or no host port")
                continue
            container = self.host.containers[instance]
            if self.host.published_on(container) is None:
                self.notes.append(f"services.{name}.ports: {p.port} is not published: {name} has no bridge with a way out")
                continue
            if p.address not in ("", EVERYWHERE, self.host.address.split("/")[0]) and not p.address.startswith("127."):
                self.notes.append(f"services.{name}.ports: {p.address} is no address of the host, so nobody reaches {p.port} there: "
                                  f"it is {self.host.address} (x-simcore.host.address)")
            self.host.publish(container, host_port, p.port, p.protocol, p.address)
            if p.low != p.high:
                self.notes.append(f"services.{name}.ports: {p.port}/{p.protocol} is published as {host_port}")

    def _free(self, network: str, reserved: Sequence[str | None]) -> str:
        pool = self.host.networks[network].pool
        skipped = []
        while (address := pool.allocate("probe")) in reserved:
            skipped.append(address)
        for a in [*skipped, address]:
            pool.release(a)
        return address

    def namespaces(self) -> list[Namespace]:
        """Containers, host, router, servers."""
        return [*(c.namespace for c in self.host.containers.values()), self.host.namespace, self.internet.router,
                *self.internet.servers.values()]

    def instances(self, name: str) -> list[str]:
        """The namespaces behind a name: a service's containers (often one, of its own name), else the name itself."""
        return self.compose.instances(name) if name in self.compose.services else [name]

    def namespace(self, name: str) -> Namespace:
        """By name: a service (its first replica), a container, a server, `host` or `router`."""
        return super().namespace(next(iter(self.instances(name)), name))

    def address_of(self, name: str, source: str = "") -> str:
        """The address that `source` reaches it by: of a container, that on the first network that they share, else its first."""
        name, source = (next(iter(self.instances(n)), n) for n in (name, source))
        if name in self.host.containers:
            addresses = self.host.containers[name].addresses
            near = self.host.containers[source].addresses if source in self.host.containers else {}
            return next((a for network, a in addresses.items() if network in near), self.host.containers[name].address)
        if name in self.internet.addresses:
            return self.internet.addresses[name]
        if name == "host":
            return self.host.address.split("/")[0]
        return name

    def reached_by(self, instance: str, number: int, to: str) -> list[str]:
        """The addresses of all that are behind a name, as one of several replicas takes them: another begins with another."""
        found = [self.address_of(target, instance) for target in self.instances(to)]
        first = number % len(found)
        return found[first:] + found[:first]

    def answering(self, key: str, named: Sequence[str], addresses: Sequence[str]) -> list[Namespace]:
        """Who answers at addresses: those that are named, else the machines that have them.

        Raises
        ------
        ScenarioError
            By the `key` of what is sent there, if nobody is named and nobody has one.
        """
        if named:
            return [self.namespace(instance) for name in named for instance in self.instances(name)]
        found = {address: self.machine(address) for address in addresses}
        for address, ns in found.items():
            if ns is None:
                raise ScenarioError(f"{key}.to: {address} is no machine of this scenario, so nobody answers; "
                                    "name who does with 'served-by'")
        return list(dict.fromkeys(ns for ns in found.values() if ns is not None))

    def machine(self, address: str) -> Namespace | None:
        """Whose address that is, as others reach it; None for one that is nobody's here."""
        for container in self.host.containers.values():
            if address in container.addresses.values():
                return container.namespace
        return next((ns for ns in self.namespaces() if self.address_of(ns.name) == address), None)

    def _warm_up(self, seconds: float) -> Process:
        """From then on is measured; what the capture, the flow records and the samples have is all of the run."""
        yield self.env.timeout(seconds)
        self.measured_from, self.before = self.env.now, counters(self)
        for link in self.links.values():
            if link.delays is not None:
                link.delays = Histogram()
        self.apps.begin()
        self.workloads.begin()

    # --- running -----------------------------------------------------------------------------------

    def run(self, duration: float | None = None, progress: bool = False, drive: Callable[[float | None], None] | None = None) -> None:
        """As `Topology.run`; for the file's duration, if it has one and no other is given."""
        limit = duration if duration is not None else self.compose.x.duration
        if limit is not None and 0 < limit <= self.compose.x.warmup:
            raise ScenarioError(f"x-simcore.warmup: {self.compose.x.warmup:g} s leave nothing of {limit:g} s to measure")
        super().run(limit, progress, drive)

    def finish(self) -> None:
        """The run is over: sum up, and capture nothing more."""
        self.workloads.finish()
        super().finish()

    def summary(self) -> dict[str, Any]:
        """What happened since the measuring began, as JSON has it (`simcore.study.summary`)."""
        return summary(self)


def number(value: float | str) -> float | str:
    """A setting as a number, if it is one: `key=1` in a list comes as text."""
    try:
        return int(value) if float(value) == int(float(value)) else float(value)
    except ValueError:
        return value


def _body(text: str, name: str) -> bytes:
    return (text or f"hello from {name}\n").encode()


def write_flows(path: Path, records: list[dict[str, Any]]) -> None:
    """Flow records as CSV, one line a flow."""
    rows = []
    for r in records:
        row = {k: v for k, v in r.items() if k != "delay_s"}
        rows.append({**row, **{f"delay_{k}_s": v for k, v in r.get("delay_s", {}).items()}})
    write_csv(path, rows)
