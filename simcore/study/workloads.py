"""A scenario's workloads: started in the namespaces that they come from, and what they came to."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from simcore.docker.apps import per_connection
from simcore.docker.workloads import (
    BulkWorkload,
    DnsWorkload,
    HttpWorkload,
    LoadWorkload,
    PingWorkload,
    Repeated,
    Served,
    TraceWorkload,
    UdpWorkload,
    Workload,
)
from simcore.engine import Environment
from simcore.engine.histogram import Histogram
from simcore.errors import ScenarioError
from simcore.net.namespace import Namespace
from simcore.study.apps import listening
from simcore.traffic import dns, http, trace
from simcore.traffic.load import Arrivals, Clients, LoadClients
from simcore.traffic.udp import TraceSource, UdpSink, UdpSource
from simcore.traffic.upstream import Retries, Upstream
from simcore.transport import PingSocket, TcpListener, TcpSocket

if TYPE_CHECKING:
    from simcore.study.scenario import World

Process = Generator[Any, Any, None]
PATIENCE = 1.0
"""Seconds that a request has no answer, and ten times longer than others took, for it to be called stalled."""


@dataclass
class Outcome:
    """What one workload came to."""

    kind: str
    source: str
    to: str
    port: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class End:
    """One who sends: a namespace, and the addresses that it sends to in turn."""

    ns: Namespace
    to: list[str]


@dataclass
class Upload:
    """One flow of a `bulk` workload."""

    socket: TcpSocket | None = None
    time: float | None = None       # s, once it is over
    error: str = ""
    before: int = 0                 # bytes that had arrived when the measuring began

    @property
    def bytes(self) -> int:
        """Those that have arrived and been acknowledged, so far."""
        return 0 if self.socket is None else self.socket.bytes_acked

    def as_json(self) -> dict[str, Any]:
        """What is known of it."""
        if self.socket is None:
            return {}
        return {"bytes": self.bytes, **({"total_time_s": self.time} if self.time is not None else {}),
                **({"error": self.error} if self.error else {}), "retransmits": self.socket.retransmits, "srtt_s": self.socket.srtt,
                "cwnd_bytes": self.socket.cwnd, "limited_s": self.socket.limited}


class Workloads:
    """Those of one world.

    A service of several replicas sends from each of them, and is sent to in turn: each user, flow or request takes the next one, as
    Docker's name server answers.

    Attributes
    ----------
    outcomes : list of Outcome
        One for each of the file's workloads.
    response_times : dict
        Of each `load` workload, by its number.
    """

    def __init__(self, world: World) -> None:
        self.world, self.env = world, world.env
        self.outcomes: list[Outcome] = []
        self.response_times: dict[int, Histogram] = {}
        self._sinks: dict[tuple[Namespace, int], UdpSink] = {}
        self._discarding: set[tuple[Namespace, int]] = set()
        self._dns_servers: set[tuple[Namespace, int]] = set()
        self._at_the_end: list[Callable[[], None]] = []
        self._at_the_beginning: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Measure from now on: what is over already does not count."""
        for outcome in self.outcomes:
            for key in ("requests", "rtt_s", "lookups"):
                outcome.values.get(key, []).clear()
        for f in self._at_the_beginning:
            f()

    def finish(self) -> None:
        """The run is over: sum up."""
        for f in self._at_the_end:
            f()

    def start(self, number: int, w: Workload) -> None:
        """Set one of the file's workloads going.

        Raises
        ------
        ScenarioError
            If nobody has the address that it is for.
        """
        outcome = Outcome(w.kind, w.source, w.to, w.asked_port)
        self.outcomes.append(outcome)
        ends = [End(self.world.namespace(name), self.world.reached_by(name, i, w.to))
                for i, name in enumerate(self.world.instances(w.source))]
        if not all(e.ns.has_route(to) for e in ends for to in e.to):        # as from an internal network
            outcome.values["error"] = "ENETUNREACH"
            return
        match w:
            case HttpWorkload():
                self._http(w, ends, outcome)
            case PingWorkload():
                self._ping(number, w, ends, outcome)
            case DnsWorkload():
                self._dns(number, w, ends, outcome)
            case BulkWorkload():
                self._bulk(number, w, ends, outcome)
            case LoadWorkload():
                self._load(number, w, ends, outcome)
            case UdpWorkload() | TraceWorkload():
                self._datagrams(number, w, ends, outcome)
            case _:
                raise ScenarioError(f"x-simcore.workloads.{number}: nothing sends a workload of kind {w.kind!r}")

    def _served_by(self, number: int, w: Served, ends: Sequence[End]) -> list[Namespace]:
        return self.world.answering(f"x-simcore.workloads.{number}", w.served_by, [to for e in ends for to in e.to])

    def _stream(self, number: int, which: int, what: str = "") -> np.random.Generator:
        return self.world.streams["/".join(["workload", str(number), *([str(which)] if which else []), *([what] if what else [])])]

    def _end(self, w: Workload) -> float:
        """When a workload stops: its own time, or the run's."""
        if w.stop is not None:
            return w.stop
        duration = self.world.compose.x.duration
        return duration if duration is not None else w.start + 1.0

    def _last(self, w: Workload) -> float:
        """When a workload sent last, or now if it still sends; a trace's own end is not known."""
        return self.env.now if isinstance(w, TraceWorkload) else min(self.env.now, self._end(w))

    def _span(self, w: Workload) -> float:
        """Seconds of a workload that are measured."""
        return max(self._last(w) - max(w.start, self.world.measured_from), 1e-12)

    def _repeat(self, w: Repeated, once: Callable[[int], Process], rest: bool = False) -> Process:
        """Do it `w.count` times, or until `w.stop`, `w.interval` from start to start; from end to start if there is to be `rest`."""
        most = w.count or (1 if w.stop is None else math.inf)
        stop = math.inf if w.stop is None else w.stop
        yield self.env.timeout(w.start)
        done = 0
        while done < most and self.env.now < stop:
            began = self.env.now
            yield from once(done)
            done += 1
            if done < most:
                yield self.env.timeout(w.interval if rest else max(0.0, w.interval - (self.env.now - began)))

    def _http(self, w: HttpWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        results: list[http.HttpResult] = []
        outcome.values["requests"] = results

        def client(e: End) -> Process:
            def get(i: int) -> Process:
                to = e.to[i % len(e.to)]
                results.append((yield from http.get(e.ns, to, w.port or 80, w.to, w.path, w.source_port or 0 if i == 0 else 0)))
            return self._repeat(w, get, rest=True)
        for e in ends:
            self.env.process(client(e))

    def _ping(self, number: int, w: PingWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        rtts: list[float | None] = []
        outcome.values["rtt_s"] = rtts

        def client(e: End) -> Process:
            ping = PingSocket(e.ns, number + 1)

            def echo(i: int) -> Process:
                rtts.append((yield ping.echo(e.to[0], w.size)))
            return self._repeat(w, echo)
        for e in ends:
            self.env.process(client(e))

    def _dns(self, number: int, w: DnsWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        port = w.server_port or w.port or 53
        names = {**{n.name: self.world.address_of(n.name) for n in self.world.namespaces()},
                 **{name: self.world.address_of(name) for name in self.world.compose.services if self.world.instances(name)}}
        for target in self._served_by(number, w, ends):
            if (target, port) not in self._dns_servers:
                self._dns_servers.add((target, port))
                with listening(f"x-simcore.workloads.{number}", target, port):
                    dns.serve(target, {name.lower(): address for name, address in names.items()}, port, w.service)
        lookups: list[dns.Lookup] = []
        outcome.values["lookups"] = lookups

        def client(e: End) -> Process:
            def ask(i: int) -> Process:
                lookups.append((yield from dns.resolve(
                    e.ns, e.to[0], w.name or w.to, w.port or 53, w.timeout, w.attempts, bool(w.options),
                    "single-request-reopen" in w.options, w.source_port or 0)))
            return self._repeat(w, ask)
        for e in ends:
            self.env.process(client(e))

    def _load(self, number: int, w: LoadWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        port = w.server_port or w.port
        for target in self._served_by(number, w, ends):
            self.world.apps.serve(f"x-simcore.workloads.{number}", target, port, w.service)
        clients = [self._clients(number, i, e, w) for i, e in enumerate(ends)]

        def counted() -> Counter[str]:
            return Counter(finished=sum(c.finished for c in clients), failed=sum(c.failed for c in clients),
                           retried=sum(c.retried for c in clients),
                           connections=sum(c.connections for c in clients), bytes=sum(c.response_bytes for c in clients),
                           **{f"error {name}": n for c in clients for name, n in c.errors.items()})
        before: Counter[str] = Counter()

        def begin() -> None:
            before.update(counted())
            for c in clients:
                c.forget_times()
        self._at_the_beginning.append(begin)

        def result() -> None:
            span = self._span(w)
            n = counted()
            n.subtract(before)
            histogram = self.response_times[number] = Histogram()
            for c in clients:
                histogram.merge(c.times)
            times, under_way = histogram.summary(), [t for c in clients for t in c.waiting()]
            patience = max(PATIENCE, 10 * times.get("mean", 0.0))
            outcome.values.update(requests_done=n["finished"], failed=n["failed"], retried=n["retried"], timeout_s=w.timeout,
                                  errors={name.removeprefix("error "): k for name, k in n.items() if name.startswith("error ") and k},
                                  unanswered=len(under_way), stalled=len([t for t in under_way if t > patience]),
                                  connections=n["connections"], requests_per_s=n["finished"] / span, goodput_bps=n["bytes"] * 8 / span,
                                  response_s=times)
        self._at_the_end.append(result)

    def _clients(self, number: int, i: int, e: End, w: LoadWorkload) -> Clients:
        """Those of one namespace."""
        keepalive = (w.tcp_keepalive, w.tcp_keepalive, 9) if w.tcp_keepalive else None
        stream, per, most = self._stream(number, i), per_connection(w.keep_alive), w.requests or 0
        retries = Retries(w.retries, w.backoff, self._stream(number, i, "backoff") if w.backoff else None)
        if w.rate is None:
            return LoadClients(e.ns, e.to, w.port, w.users, w.think, w.request_size, w.response_size, stream, per, w.start,
                               self._end(w), most, w.timeout or 0.0, retries, keepalive=keepalive)
        upstream = Upstream(e.ns, e.to, w.port, w.request_size, w.response_size, stream, 1, w.pool or 0, per, w.timeout or 0.0,
                            retries, keepalive=keepalive)
        return Arrivals(e.ns, upstream, w.rate, self._stream(number, i, "arrivals") if w.pattern == "poisson" else None,
                        w.start, self._end(w), most)

    def _datagrams(self, number: int, w: UdpWorkload | TraceWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        sinks = {ns: self._sink(number, ns, w.server_port or w.port) for ns in self._served_by(number, w, ends)}
        sources: list[UdpSource | TraceSource] = []
        for i, e in enumerate(ends):
            if isinstance(w, TraceWorkload):
                sources.append(TraceSource(e.ns, e.to[0], w.port, w.source_port or 40000 + number, *trace.load(w.file), start=w.start))
                continue
            stream = self._stream(number, i)
            sources.append(UdpSource(e.ns, e.to[0], w.port, w.source_port or 40000 + number, w.rate, w.size,
                                     stream if w.pattern == "poisson" else None, w.start, self._end(w), w.on, w.off,
                                     self._stream(number, i, "pauses") if w.on else None))

        before = {"sent": 0, "delays": 0.0, **{ns.name: 0 for ns in sinks}}

        def counted() -> dict[str, float]:
            return {"sent": sum(s.sent for s in sources), "delays": sum(s.delay_sum for s in sinks.values()),
                    **{ns.name: s.packets for ns, s in sinks.items()}}
        self._at_the_beginning.append(lambda: before.update(counted()))

        def result() -> None:
            n = {k: v - before[k] for k, v in counted().items()}
            sent, received = n["sent"], sum(n[ns.name] for ns in sinks)
            delay = n["delays"] / received if received else None
            # those still on their way are not lost: as many as arrive in the time that one takes (Little), less what has passed since
            under_way = received / self._span(w) * max(0.0, (delay or 0.0) - (self.env.now - self._last(w)))
            outcome.values.update(sent=sent, received=received, mean_delay_s=delay,
                                  loss=max(0.0, 1 - (received + under_way) / sent) if sent else None)
            if len(sinks) > 1:
                outcome.values["received_by"] = {ns.name: n[ns.name] for ns in sinks}
        self._at_the_end.append(result)

    def _sink(self, number: int, target: Namespace, port: int) -> UdpSink:
        """What counts the datagrams to a port; one for all workloads."""
        if (target, port) not in self._sinks:
            with listening(f"x-simcore.workloads.{number}", target, port):
                self._sinks[target, port] = UdpSink(target, port)
        return self._sinks[target, port]

    def _bulk(self, number: int, w: BulkWorkload, ends: Sequence[End], outcome: Outcome) -> None:
        for to in dict.fromkeys(to for e in ends for to in e.to):
            target = self.world.machine(to)
            if target is not None and (target, w.port) not in self._discarding:
                self._discarding.add((target, w.port))
                with listening(f"x-simcore.workloads.{number}", target, w.port):
                    self.env.process(_discard(self.env, TcpListener(target, w.port, discard=True)))
        uploads = [Upload() for _ in ends for _ in range(w.flows)]
        for i, upload in enumerate(uploads):
            e, k = ends[i // w.flows], i % w.flows
            self.env.process(_upload(self.env, e.ns, e.to[k % len(e.to)], w, self._end(w), upload))

        def begin() -> None:
            for u in uploads:
                u.before = u.bytes
        self._at_the_beginning.append(begin)

        def result() -> None:
            done = [w.start + u.time if u.time is not None else self.env.now for u in uploads]
            span = max(done, default=0.0) - max(w.start, self.world.measured_from)
            outcome.values["goodput_bps"] = sum(u.bytes - u.before for u in uploads) * 8 / span if span > 0 else None
            parts = [u.as_json() for u in uploads]
            outcome.values.update(parts[0] if len(parts) == 1 else {"flows": parts})
        self._at_the_end.append(result)

    def results(self) -> list[dict[str, Any]]:
        """What each came to, as JSON has it."""
        return [_as_json(o) for o in self.outcomes]

    def throughput(self) -> float | None:
        """Payload bits per second of the transfers that completed."""
        total = time = 0.0
        for o in self.outcomes:
            for r in o.values.get("requests", ()):
                if not r.error:
                    total, time = total + r.body_bytes, time + r.total_time
            for part in (o.values, *o.values.get("flows", ())):
                if "total_time_s" in part:
                    total, time = total + part["bytes"], time + part["total_time_s"]
        return total * 8 / time if time else None

    def latency(self) -> dict[str, float] | None:
        """Round-trip times of all pings: least, mean, most."""
        rtts = [r for o in self.outcomes for r in o.values.get("rtt_s", ()) if r is not None]
        return {"min": min(rtts), "mean": sum(rtts) / len(rtts), "max": max(rtts), "count": len(rtts)} if rtts else None


def _discard(env: Environment, listener: TcpListener) -> Process:
    def drain(sock: TcpSocket) -> Process:
        try:
            yield sock.recv()
            yield sock.close()
        except OSError:
            return                          # the sender's result says what became of it

    while True:
        sock = yield listener.accept()
        env.process(drain(sock))


def _upload(env: Environment, ns: Namespace, to: str, w: BulkWorkload, end: float, upload: Upload) -> Process:
    yield env.timeout(w.start)
    sock = upload.socket = TcpSocket(ns, congestion=w.congestion)
    began = env.now
    try:
        yield sock.connect(to, w.port)
        if w.size is not None:
            yield sock.send(w.size)
        else:
            while env.now < end:
                yield sock.send(1 << 18) | env.timeout(max(end - env.now, 0))
        yield sock.close()
        upload.time = env.now - began
    except OSError as error:
        upload.error = str(error)


def _as_json(o: Outcome) -> dict[str, Any]:
    values = dict(o.values)
    if "requests" in values:
        values["requests"] = [{**asdict(r), "body": r.body.decode(errors="replace")} for r in values["requests"]]
    if "lookups" in values:
        values["lookups"] = [asdict(r) for r in values["lookups"]]
    return {"kind": o.kind, "from": o.source, "to": o.to, **({"port": o.port} if o.port is not None else {}), **values}
