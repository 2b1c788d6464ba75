"""A scenario: a Compose file made into a world, run, and summed up."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from natfast.capture import PcapngWriter
from simcore import units
from simcore.docker import compose as compose_file
from simcore.docker import proxy
from simcore.docker.compose import Compose, Event, Workload
from simcore.docker.host import DockerHost, Internet
from simcore.engine import Environment, Streams
from simcore.engine.frame import reset_ids
from simcore.engine.histogram import Histogram
from simcore.errors import ScenarioError
from simcore.files import write_csv
from simcore.measure.capture import CaptureBuffer, CaptureTap, TraceTap
from simcore.measure.expression import compile_filter
from simcore.measure.flows import FlowTable
from simcore.measure.series import Sampler
from simcore.measure.trace import Tracer
from simcore.net.cable import change
from simcore.net.cpu import Cpu
from simcore.net.link import Link
from simcore.net.namespace import Namespace, known_sysctl
from simcore.study.findings import conclusion, findings
from simcore.study.garbage import frozen
from simcore.study.progress import Progress, stop_between_events
from simcore.traffic import dns, http, trace
from simcore.traffic.distributions import Distribution
from simcore.traffic.load import LoadClients, LoadServer
from simcore.traffic.udp import TraceSource, UdpSink, UdpSource
from simcore.transport import PingSocket, TcpListener, TcpSocket

Process = Generator[Any, Any, None]
PATIENCE = 1.0
"""Seconds that a request has no answer, and ten times longer than others took, for it to be called stalled."""


@dataclass
class Outcome:
    """What one workload came to."""

    kind: str
    source: str
    to: str
    values: dict[str, Any] = field(default_factory=dict)


class World:
    """Everything that one run simulates.

    Parameters
    ----------
    compose : Compose
    seed : int, optional
        Instead of the file's.
    engine : {"compiled", "simpy"}
    """

    def __init__(self, compose: Compose, seed: int | None = None, engine: str = "compiled") -> None:
        reset_ids()
        self.compose = compose
        x = compose.x
        self.seed = x.seed if seed is None else seed
        self.env = Environment(engine=engine)
        self.streams = Streams(self.seed)
        sysctl: dict[str, float | str] = {"net.bridge.bridge-nf-call-iptables": int(x.host.bridge_nf_call_iptables), **x.host.sysctls}
        self.host = DockerHost(self.env, self.streams, x.host.address, x.router.address.split("/")[0], x.host.interface,
                               x.host.userland_proxy, sysctl, iptables=x.host.iptables)
        for name, config, _ in compose_file.network_configs(compose):
            network = compose.networks.get(name)
            self.host.add_network(name, config.pool(), network is not None and network.internal)
        # what of the file has no effect though the author may think so, and what was chosen in its stead
        self.notes: list[str] = []
        for name, declared in compose.networks.items():
            if declared.external and declared.ipam.first() is None:
                self.notes.append(f"networks.{name}: external, so its subnet is not in this file: {self.host.networks[name].pool.network}")
            if declared.enable_ipv6:
                self.notes.append(f"networks.{name}.enable_ipv6: there is IPv4 only")
        self._add_services()
        self.host.start(x.links.container.parameters(),
                        {name: s.x.link.parameters() for name, s in compose.services.items() if s.x.link is not None})
        for name, service in compose.services.items():
            if h := service.x.http:
                owner = self._owner(name)
                http.serve(self.host.namespace if owner == "host" else self.host.containers[owner].namespace, h.port,
                           _body(h.body, name), h.size, h.think)
        if x.host.userland_proxy:
            for p in self.host.published:
                if p.protocol == "tcp":
                    proxy.serve(self.host.namespace, p.host_port, p.address, p.port, p.host_address)
        cpu = x.host.cpu
        self.cpu = Cpu(self.host.namespace, cpu.build(), cpu.cores, cpu.backlog, cpu.steering) if cpu else None
        self.internet = Internet(self.env, self.streams, x.router.address, x.router.mtu, x.router.iptables)
        self.internet.connect(self.host, x.links.host.parameters())
        for name, server in x.servers.items():
            ns = self.internet.add_server(name, server.address, server.prefix, (server.link or x.links.server).parameters())
            if server.http:
                http.serve(ns, server.http.port, _body(server.http.body, name), server.http.size, server.http.think)
        self.sinks: list[tuple[Namespace, int, UdpSink]] = []
        self.bulk_sinks: list[tuple[Namespace, int]] = []
        self.load_servers: dict[tuple[Namespace, int], LoadServer] = {}
        self.dns_servers: set[tuple[Namespace, int]] = set()
        self.outcomes: list[Outcome] = []
        self.response_times: dict[int, Histogram] = {}
        self.finished: list[Callable[[], None]] = []
        self.tracer: Tracer | None = None
        self.writer: PcapngWriter | None = None
        self.flows: FlowTable | None = None
        self.sampler: Sampler | None = None
        self.partial = False
        for i, event in enumerate(x.events):
            self.env.process(self._event(i, event, self.link(event.link, f"x-simcore.events.{i}.link") if event.link else None))
        for i, workload in enumerate(x.workloads):
            self._start(i, workload)
        if not x.workloads:
            first, *others = compose.services
            self.notes.append("x-simcore.workloads: there are none, so nothing is sent; as a beginning: "
                              f"[{{kind: ping, from: {first}, to: {others[0] if others else 'host'}}}]")

    @property
    def links(self) -> dict[str, Link]:
        """Every link by the interface that sends into it, as `host/eth0`."""
        return {**self.host.links, **self.internet.links}

    def link(self, name: str, key: str = "link") -> Link:
        """A link by name; ScenarioError naming `key` if there is none."""
        if name not in self.links:
            raise ScenarioError(f"{key}: there is no link {name!r}, expected one of {', '.join(sorted(self.links))}")
        return self.links[name]

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
            self.host.move_port(event.move.port, event.move.protocol, self.host.containers[event.move.to])
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
        for name, service in services.items():
            if service.shares:
                if service.ports:
                    self.notes.append(f"services.{name}.ports: not published: {name} is in the network namespace of {service.shares}")
                continue
            networks: dict[str, str | None] = {net: wanted.get((name, net)) for net in self.compose.networks_of(name)}
            for net, asked in networks.items():
                if asked is None:
                    networks[net] = self._free(net, reserved[net])
            known = {k: _number(v) for k, v in service.sysctls.items() if known_sysctl(k)}
            self.notes += [f"services.{name}.sysctls: {k} has no effect here" for k in service.sysctls if k not in known]
            self.notes += [f"services.{name}.networks.{net}.mac_address has no effect here" for net, use in service.networks.items()
                           if use and use.mac_address]
            if service.scale > 1 or (service.deploy and (service.deploy.replicas or 1) > 1):
                self.notes.append(f"services.{name}: one container, however many replicas")
            container = self.host.add_container(name, networks, known)
        for name, p, host_port in self.compose.published():
            container = self.host.containers[name]
            if self.host.way_out(container) is None:
                self.notes.append(f"services.{name}.ports: {p.port} is not published: {name} has internal networks only")
                continue
            if p.address and not p.address.startswith("127.") and p.address != self.host.address.split("/")[0]:
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

    def _owner(self, name: str) -> str:
        """Whose namespace a service is in: often its own."""
        service = self.compose.services.get(name)
        return service.shares or name if service else name

    def namespace(self, name: str) -> Namespace:
        """By name: a service, a server, `host` or `router`."""
        name = self._owner(name)
        for ns in self.namespaces():
            if ns.name == name:
                return ns
        raise ScenarioError(f"there is no namespace {name!r}")

    def address_of(self, name: str, source: str = "") -> str:
        """The address that `source` reaches it by: of a container, that on the first network that they share, else its first."""
        name, source = self._owner(name), self._owner(source)
        if name in self.host.containers:
            addresses = self.host.containers[name].addresses
            near = self.host.containers[source].addresses if source in self.host.containers else {}
            return next((a for network, a in addresses.items() if network in near), self.host.containers[name].address)
        if name in self.internet.addresses:
            return self.internet.addresses[name]
        if name == "host":
            return self.host.address.split("/")[0]
        return name

    def machine(self, address: str) -> Namespace | None:
        """Whose address that is, as others reach it; None for one that is nobody's here."""
        for container in self.host.containers.values():
            if address in container.addresses.values():
                return container.namespace
        return next((ns for ns in self.namespaces() if self.address_of(ns.name) == address), None)

    def served_by(self, number: int, w: Workload, to: str) -> list[Namespace]:
        """Who answers a workload: those it names, else the machine that has the address.

        Raises
        ------
        ScenarioError
            If nobody does.
        """
        if w.served_by:
            return [self.namespace(name) for name in w.served_by]
        if (target := self.machine(to)) is None:
            raise ScenarioError(f"x-simcore.workloads.{number}.to: {to} is no machine of this scenario, so nobody answers; "
                                "name who does with 'served-by'")
        return [target]

    def capture(self, path: Path, expression: str | None = None, snaplen: int = 0, interfaces: Sequence[str] = ()) -> None:
        """Write frames to a pcapng file: of every interface, or of those named `namespace/interface`.

        Raises
        ------
        ScenarioError
            For a filter expression that is none (`simcore.measure.expression`), or an interface that does not exist.
        """
        test = None if expression is None else compile_filter(expression)
        places = {dev.place: dev for ns in self.namespaces() for dev in ns.interfaces if dev.name != "lo"}
        for name in interfaces:
            if name not in places:
                raise ScenarioError(f"interface {name!r} does not exist, expected one of {', '.join(places)}")
        self.writer = PcapngWriter(path)
        buffer = CaptureBuffer(self.writer)
        for place in interfaces or places:
            places[place].tap = CaptureTap(self.writer, buffer, place, test, snaplen, places[place].tap)

    def record_flows(self) -> FlowTable:
        """Keep a record of every flow; returns the table."""
        self.flows = FlowTable()
        for ns in self.namespaces():
            ns.flows = self.flows
        return self.flows

    def sample(self, interval: float) -> Sampler:
        """Look at links and conntrack every `interval` seconds; returns the series."""
        self.sampler = Sampler(self.env, interval, self.links, self.host.namespace.netfilter)
        return self.sampler

    def measure_waits(self) -> None:
        """Keep the distribution of waiting times at every link."""
        for link in self.links.values():
            link.delays = Histogram()

    def trace(self) -> Tracer:
        """Follow every packet; returns the tracer."""
        tracer = self.tracer = Tracer()
        for ns in self.namespaces():
            ns.tracer = tracer
            for dev in ns.interfaces:
                if dev.name != "lo":
                    dev.tap = TraceTap(tracer, dev.tap)
        return tracer

    # --- workloads ---------------------------------------------------------------------------------

    def _start(self, number: int, w: Workload) -> None:
        outcome = Outcome(w.kind, w.source, w.to)
        self.outcomes.append(outcome)
        ns, to = self.namespace(w.source), self.address_of(w.to, w.source)
        if not ns.has_route(to):                    # as from an internal network
            outcome.values["error"] = "ENETUNREACH"
            return
        if w.kind == "http":
            self.env.process(self._http(w, ns, to, outcome))
        elif w.kind == "ping":
            self.env.process(self._ping(number, w, ns, to, outcome))
        elif w.kind == "dns":
            self.env.process(self._dns(number, w, ns, to, outcome))
        elif w.kind == "bulk":
            self._bulk(w, ns, to, outcome)
        elif w.kind == "load":
            self._load(number, w, ns, to, outcome)
        else:
            self._datagrams(number, w, ns, to, outcome)

    def _repeat(self, w: Workload, once: Callable[[int], Process], rest: bool = False) -> Process:
        """Do it `w.count` times, `w.interval` from start to start, or from end to start if there is to be `rest` between."""
        yield self.env.timeout(w.start)
        for i in range(w.count):
            began = self.env.now
            yield from once(i)
            if i + 1 < w.count:
                yield self.env.timeout(w.interval if rest else max(0.0, w.interval - (self.env.now - began)))

    def _http(self, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> Process:
        results: list[http.HttpResult] = []
        outcome.values["requests"] = results

        def get(i: int) -> Process:
            results.append((yield from http.get(ns, to, w.port or 80, w.to, w.path, w.source_port or 0 if i == 0 else 0)))
        return self._repeat(w, get, rest=True)

    def _ping(self, number: int, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> Process:
        rtts: list[float | None] = []
        outcome.values["rtt_s"] = rtts
        ping = PingSocket(ns, number + 1)

        def echo(i: int) -> Process:
            rtts.append((yield ping.echo(to, w.size or 56)))
        return self._repeat(w, echo)

    def _dns(self, number: int, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> Process:
        port = w.server_port or w.port or 53
        for target in self.served_by(number, w, to):
            if (target, port) not in self.dns_servers:
                self.dns_servers.add((target, port))
                dns.serve(target, {n.name.lower(): self.address_of(n.name) for n in self.namespaces()}, port, w.service)
        lookups: list[dns.Lookup] = []
        outcome.values["lookups"] = lookups

        def ask(i: int) -> Process:
            lookups.append((yield from dns.resolve(
                ns, to, w.name or w.to, w.port or 53, w.timeout, w.attempts, bool(w.options), "single-request-reopen" in w.options,
                w.source_port or 0)))
        return self._repeat(w, ask)

    def _load(self, number: int, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> None:
        assert w.port is not None
        port = w.server_port or w.port
        for target in self.served_by(number, w, to):
            if (target, port) not in self.load_servers:
                self.load_servers[target, port] = LoadServer(target, port, w.service)
        per = (0 if w.keep_alive else 1) if isinstance(w.keep_alive, bool) else w.keep_alive
        clients = LoadClients(ns, to, w.port, w.users, Distribution(w.think, units.duration), Distribution(w.request_size, units.size),
                              Distribution(w.response_size, units.size), self.streams[f"workload/{number}"], per, w.start,
                              self._end(w), w.requests or 0,
                              keepalive=(w.tcp_keepalive, w.tcp_keepalive, 9) if w.tcp_keepalive else None)

        def result() -> None:
            span = max(min(self.env.now, self._end(w)) - w.start, 1e-12)
            times, under_way = clients.times.summary(), clients.waiting()
            patience = max(PATIENCE, 10 * times.get("mean", 0.0))
            outcome.values.update(requests_done=clients.finished, failed=clients.failed, errors=clients.errors,
                                  unanswered=len(under_way), stalled=len([t for t in under_way if t > patience]),
                                  connections=clients.connections, requests_per_s=clients.finished / span,
                                  goodput_bps=clients.response_bytes * 8 / span, response_s=times)
        self.finished.append(result)
        self.response_times[number] = clients.times

    def _end(self, w: Workload) -> float:
        """When a workload stops: its own time, or the run's."""
        if w.stop is not None:
            return w.stop
        return self.compose.x.duration if self.compose.x.duration is not None else w.start + 1.0

    def _datagrams(self, number: int, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> None:
        assert w.port is not None
        sinks = [self._sink(target, w.server_port or w.port) for target in self.served_by(number, w, to)]
        source: UdpSource | TraceSource
        stream = self.streams[f"workload/{number}"]
        if w.kind == "trace":
            assert w.file is not None
            source = TraceSource(ns, to, w.port, w.source_port or 40000 + number, *trace.load(w.file), start=w.start)
        else:
            assert w.rate is not None
            on, off = (None if d is None else Distribution(d, units.duration) for d in (w.on, w.off))
            source = UdpSource(ns, to, w.port, w.source_port or 40000 + number, w.rate, w.size or 1000,
                               stream if w.pattern == "poisson" else None, w.start, self._end(w), on, off,
                               self.streams[f"workload/{number}/pauses"] if on else None)

        def result() -> None:
            received = sum(s.packets for s in sinks)
            delay = sum((s.mean_delay or 0.0) * s.packets for s in sinks)
            outcome.values.update(sent=source.sent, received=received, mean_delay_s=delay / received if received else None,
                                  loss=1 - received / source.sent if source.sent else None)
            if len(sinks) > 1:
                outcome.values["received_by"] = {name: s.packets for name, s in zip(w.served_by, sinks, strict=True)}
        self.finished.append(result)

    def _sink(self, target: Namespace, port: int) -> UdpSink:
        """What counts the datagrams to a port; one for all workloads."""
        for ns, at, sink in self.sinks:
            if ns is target and at == port:
                return sink
        self.sinks.append((target, port, UdpSink(target, port)))
        return self.sinks[-1][2]

    def _bulk(self, w: Workload, ns: Namespace, to: str, outcome: Outcome) -> None:
        assert w.port is not None
        target = self.machine(to)
        if target is not None and all(t is not target or p != w.port for t, p in self.bulk_sinks):
            self.bulk_sinks.append((target, w.port))
            self.env.process(_discard(target, w.port))
        parts: list[dict[str, Any]] = [{} for _ in range(w.flows)]
        outcome.values["flows"] = parts
        for part in parts:
            self.env.process(_upload(self.env, ns, to, w, part))

        def result() -> None:
            for part in parts:
                if (sock := part.pop("socket", None)) is not None:
                    part.setdefault("bytes", sock.bytes_out)
                    part.update(retransmits=sock.retransmits, srtt_s=sock.srtt, cwnd_bytes=sock.cwnd)
            span = max((part.get("total_time_s", self.env.now - w.start) for part in parts), default=0.0)
            outcome.values["goodput_bps"] = sum(part.get("bytes", 0) for part in parts) * 8 / span if span > 0 else None
            if w.flows == 1 and "flows" in outcome.values:
                outcome.values.update(outcome.values.pop("flows")[0])
        self.finished.append(result)

    # --- running -----------------------------------------------------------------------------------

    def run(self, duration: float | None = None, progress: bool = False) -> None:
        """Run for `duration` seconds, the file's, or until nothing happens any more.

        Ctrl-C ends the run where it is: what was measured so far stays, and `partial` is true.
        """
        limit = duration if duration is not None else self.compose.x.duration
        if limit is None and self.sampler is not None:
            raise ScenarioError("sampling never ends by itself: expected a duration, in the file or by --duration")
        try:
            with frozen(), stop_between_events(self.env), Progress(self.env, limit) if progress else nullcontext():
                self.env.run(until=limit)
        except KeyboardInterrupt:
            self.partial = True
        finally:
            for f in self.finished:
                f()
            if self.writer is not None:
                self.writer.close()

    def _cpu(self) -> dict[str, Any] | None:
        if self.cpu is None:
            return None
        cores = self.cpu.stats
        return {"cores": cores, "utilisation": [c["busy_s"] / self.env.now if self.env.now else 0.0 for c in cores]}

    def summary(self) -> dict[str, Any]:
        """What happened, as JSON has it."""
        host = self.host.namespace
        links = {name: {"rate_bps": link.rate, "packets": link.packets, "bytes": link.bytes, "dropped": link.dropped,
                        "lost": link.lost, "drop_share": link.dropped / max(link.packets + link.dropped, 1),
                        "mean_wait_us": link.waited / link.packets * 1e6 if link.packets else 0.0,
                        "mean_queue": link.queue_seconds / self.env.now if self.env.now else 0.0,
                        "utilisation": link.busy_seconds / self.env.now if self.env.now else 0.0,
                        **({"marked": link.qdisc.marked} if link.qdisc is not None else {}),
                        **({"wait_s": link.delays.summary()} if link.delays is not None else {})}
                 for name, link in self.links.items()}
        interfaces = {dev.place: {"rx_packets": dev.rx_packets, "rx_bytes": dev.rx_bytes, "tx_packets": dev.tx_packets,
                                  "tx_bytes": dev.tx_bytes}
                      for ns in self.namespaces() for dev in ns.interfaces if dev.name != "lo"}
        summary: dict[str, Any] = {
            "engine": self.env.engine, "seed": self.seed, "simulated_s": self.env.now, "partial": self.partial,
            "packets": sum(v["packets"] for v in links.values()), "dropped": sum(v["dropped"] for v in links.values()),
            "workloads": [_outcome(o) for o in self.outcomes],
            "throughput_bps": _throughput(self.outcomes), "latency_s": _latency(self.outcomes),
            "conntrack": host.netfilter.conntrack(self.env.now) if host.netfilter else [],
            "conntrack_stats": {**host.netfilter.stats, "max": host.netfilter.sysctl("net.netfilter.nf_conntrack_max")}
            if host.netfilter else {},
            "cpu": self._cpu(), "links": links, "interfaces": interfaces,
            "drops": {ns.name: ns.drops for ns in self.namespaces() if ns.drops},
            **({"flows": self.flows.records()} if self.flows is not None else {}),
        }
        found = findings(summary)
        summary.update(findings=[asdict(f) for f in found], conclusion=conclusion(summary, found))
        return summary


def _number(value: float | str) -> float | str:
    """A setting as a number, if it is one: `key=1` in a list comes as text."""
    try:
        return int(value) if float(value) == int(float(value)) else float(value)
    except ValueError:
        return value


def _body(text: str, name: str) -> bytes:
    return (text or f"hello from {name}\n").encode()


def _discard(ns: Namespace, port: int) -> Process:
    listener = TcpListener(ns, port, discard=True)

    def drain(sock: TcpSocket) -> Process:
        try:
            yield sock.recv()
            yield sock.close()
        except OSError:
            return                          # the sender's result says what became of it

    while True:
        sock = yield listener.accept()
        ns.env.process(drain(sock))


def _upload(env: Environment, ns: Namespace, to: str, w: Workload, part: dict[str, Any]) -> Process:
    assert w.port is not None
    yield env.timeout(w.start)
    sock = part["socket"] = TcpSocket(ns, congestion=w.congestion)
    began = env.now
    try:
        yield sock.connect(to, w.port)
        if w.size is not None:
            yield sock.send(w.size)
        else:
            assert w.stop is not None
            while env.now < w.stop:
                yield sock.send(1 << 18) | env.timeout(max(w.stop - env.now, 0))
        yield sock.close()
        part.update(bytes=sock.bytes_out if w.size is None else w.size, total_time_s=env.now - began)
    except OSError as error:
        part.update(error=str(error))


def _outcome(o: Outcome) -> dict[str, Any]:
    values = dict(o.values)
    if "requests" in values:
        values["requests"] = [{**asdict(r), "body": r.body.decode(errors="replace")} for r in values["requests"]]
    if "lookups" in values:
        values["lookups"] = [asdict(r) for r in values["lookups"]]
    return {"kind": o.kind, "from": o.source, "to": o.to, **values}


def _throughput(outcomes: list[Outcome]) -> float | None:
    """Payload bits per second of the transfers that completed."""
    total = time = 0.0
    for o in outcomes:
        for r in o.values.get("requests", ()):
            if not r.error:
                total, time = total + r.body_bytes, time + r.total_time
        for part in (o.values, *o.values.get("flows", ())):
            if "total_time_s" in part:
                total, time = total + part["bytes"], time + part["total_time_s"]
    return total * 8 / time if time else None


def _latency(outcomes: list[Outcome]) -> dict[str, float] | None:
    """Round-trip times of all pings: least, mean, most."""
    rtts = [r for o in outcomes for r in o.values.get("rtt_s", ()) if r is not None]
    return {"min": min(rtts), "mean": sum(rtts) / len(rtts), "max": max(rtts), "count": len(rtts)} if rtts else None


def write_flows(path: Path, records: list[dict[str, Any]]) -> None:
    """Flow records as CSV, one line a flow."""
    rows = []
    for r in records:
        row = {k: v for k, v in r.items() if k != "delay_s"}
        rows.append({**row, **{f"delay_{k}_s": v for k, v in r.get("delay_s", {}).items()}})
    write_csv(path, rows)
