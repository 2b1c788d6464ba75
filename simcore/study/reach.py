"""Who reaches whom on a Docker host, by which way, and as whom: every port asked for from everywhere, one question at a time.

Each answer comes from packets that went through the whole simulated host, its rules and routes; nothing is concluded from the file.
"""
from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simcore.docker.compose import Compose, apps
from simcore.docker.extension import ServerSpec
from simcore.docker.links import IDEAL
from simcore.docker.suggest import ADDRESS, probable_ports
from simcore.measure.trace import Hop, Tracer
from simcore.net.namespace import Namespace
from simcore.study.garbage import frozen
from simcore.study.progress import stop_between_events, told
from simcore.study.scenario import World
from simcore.study.source import make_world
from simcore.study.workloads import Process
from simcore.transport import TcpListener, TcpSocket, UdpSocket

PATIENCE = 4.0
"""Seconds for an answer: longer than a neighbour takes to be given up (three questions, a second apart)."""
GIVEN_UP = 1000.0
"""Seconds after which TCP tries no more (tcp_retries2: 924 s), and nothing of one question is taken for the next one's."""
QUESTION = b"GET / HTTP/1.1\r\nHost: reach\r\nUser-Agent: simcore\r\nAccept: */*\r\nX-Padding: " + b"." * 4000 + b"\r\n\r\n"
"""Longer than two segments, and so is what comes back, but of an HTTP server: a black hole swallows only full ones."""
HARMLESS = ("for another host", "TCP: no socket", "UDP: no socket", "ICMP: nobody asked")
"""Reasons of dropped packets that explain no missing answer: a flooded frame's other receivers, and what is answered all the same."""


@dataclass(frozen=True)
class Target:
    """A port to ask for: a service's or server's own, or one that the host publishes at an address of its own."""

    name: str
    port: int
    protocol: str
    published_at: str = ""


@dataclass
class Reached:
    """What came of asking for a port.

    Attributes
    ----------
    client : str
    target : Target
    address : str
        That was asked for.
    outcome : str
        `reached`, `no answer`, `stalled` (it connects, but what is longer does not arrive), or the error's name, as ECONNREFUSED.
    by : str
        Who answered, or was asked last: a namespace.
    seen_as : str
        The address that the question came from there.
    own : bool
        Whether that is the client's own.
    way : list of str
        What happened to the question on its way: `direct` (nothing), `DNAT`, `masqueraded`, `routed`, `docker-proxy`.
    why : str
        What stopped it: a rule as `iptables-save` has it, or a namespace's reason for dropping it.
    """

    client: str
    target: Target
    address: str
    outcome: str = "no answer"
    by: str = ""
    seen_as: str = ""
    own: bool = True
    way: list[str] = field(default_factory=list)
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        t = self.target
        return {"from": self.client, "to": t.name, "address": self.address, "port": t.port, "protocol": t.protocol,
                "published": bool(t.published_at), "outcome": self.outcome, "by": self.by, "seen_as": self.seen_as,
                "own_address": self.own, "way": self.way, "why": self.why}


def reach(compose: Compose, seed: int | None = None, engine: str = "compiled", progress: bool = False) -> list[Reached]:
    """Ask for every port of every service, server, and of those published, from every service, the host and the servers.

    Links have no delay and lose nothing, and nothing else is sent. A service listens at the ports that it publishes or exposes, that
    its image's name tells, and that workloads ask for.

    Raises
    ------
    ScenarioError
        As `World`.
    """
    world = make_world(_quiet(compose), seed, engine)
    ports = _ports(compose, world)
    clients = _clients(world)
    targets = [Target(name, *port) for name, of in ports.items() for port in of] + _published(world)
    questions = [(client, t) for t in targets for client in clients if _sensible(world, client, t)]
    for name, of in ports.items():
        for port, protocol in of:
            _listen(world.namespace(name), port, protocol)
    survey, answers = _Survey(world), list[Reached]()
    with frozen(), stop_between_events(world.env), told(
            progress, lambda wall: f"{len(answers)} of {len(questions)} questions asked") as tell:
        for client, target in questions:
            answers.append(survey.ask(client, clients[client], target))
            tell()
    return answers


def alike(answers: Sequence[Reached]) -> list[tuple[Reached, list[str]]]:
    """The clients of a target to whom the same happened, together: one of their answers, and their names."""
    groups: dict[tuple[Any, ...], tuple[Reached, list[str]]] = {}
    for a in answers:
        key = a.target, a.address, a.outcome, a.by, a.own or a.seen_as, tuple(a.way), a.why
        groups.setdefault(key, (a, []))[1].append(a.client)
    return list(groups.values())


def _quiet(compose: Compose) -> Compose:
    """The same network without traffic, events, impairments and costs; with somebody outside."""
    x = compose.x.model_copy(update={
        "workloads": [], "events": [], "warmup": 0.0, "links": IDEAL, "host": compose.x.host.model_copy(update={"cpu": None}),
        "servers": {name: s.model_copy(update={"link": None, "app": None}) for name, s in compose.x.servers.items()}
        or {"internet": ServerSpec(address=ADDRESS)}})
    services = {name: s.model_copy(update={"x": s.x.model_copy(update={"link": None, "app": None})})
                for name, s in compose.services.items()}
    return compose.model_copy(update={"x": x, "services": services})


def _ports(compose: Compose, world: World) -> dict[str, list[tuple[int, str]]]:
    """Who can be asked, and for which ports."""
    asked: dict[str, list[tuple[int, str]]] = {}
    for _, name, app in apps(compose):
        asked.setdefault(name, []).append((app.port, "tcp"))
        for _, call in app.all_calls():
            asked.setdefault(call.to, []).append((call.port, "tcp"))
    for w in compose.x.workloads:
        if w.asked_port is not None and w.to != "host":
            asked.setdefault(w.to, []).append((w.asked_port, "udp" if w.kind in ("udp", "dns", "trace") else "tcp"))
    out = {name: [*probable_ports(s), *asked.get(name, [])] for name, s in compose.services.items() if _has_network(world, name)}
    for name, server in world.compose.x.servers.items():
        said = [] if server.http is None else [(server.http.port, "tcp")]
        out[name] = [*said, *asked.get(name, [])] or [(80, "tcp")]
    return {name: list(dict.fromkeys(ports)) for name, ports in out.items()}


def _has_network(world: World, name: str) -> bool:
    instances = world.instances(name)
    return bool(instances) and (instances[0] == "host" or bool(world.host.containers[instances[0]].addresses))


def _clients(world: World) -> dict[str, Namespace]:
    """Who asks: a container of each service that has a namespace and a network of its own, the host, the servers."""
    own = {name: world.namespace(name) for name, s in world.compose.services.items() if not s.shares and _has_network(world, name)}
    return {**own, "host": world.host.namespace, **world.internet.servers}


def _published(world: World) -> list[Target]:
    behind = {a: c.name for c in world.host.containers.values() for a in c.addresses.values()}
    everywhere = [world.address_of("host"), "127.0.0.1"]
    if world.host.host_gateway and any(s.knows_host_gateway for s in world.compose.services.values()):
        everywhere.append(world.host.host_gateway)
    return [Target(behind[p.address], p.host_port, p.protocol, at) for p in world.host.published
            for at in ([p.host_address] if p.host_address else everywhere)]


def _sensible(world: World, client: str, target: Target) -> bool:
    """Nobody asks himself for his own port, only the host for what is on its loopback, and who knows it for what is at host-gateway."""
    if not target.published_at:
        return target.name != client
    if target.published_at.startswith("127."):
        return client == "host"
    return target.published_at != world.host.host_gateway or (
        client in world.compose.services and world.compose.services[client].knows_host_gateway)


def _listen(ns: Namespace, port: int, protocol: str) -> None:
    """Answer whoever asks at a port, unless somebody listens there already."""
    env = ns.env

    def answer(sock: TcpSocket) -> Process:
        try:
            while data := (yield sock.recv()):
                yield sock.send(data)
            yield sock.close()
        except OSError:
            return                  # who asked has gone: he knows what came of it

    def accept(listener: TcpListener) -> Process:
        while True:
            env.process(answer((yield listener.accept())))

    def echo(sock: UdpSocket) -> Process:
        while True:
            data, address, sender = yield sock.recvfrom()
            sock.sendto(data, address, sender)

    try:
        env.process(accept(TcpListener(ns, port)) if protocol == "tcp" else echo(UdpSocket(ns, port)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise


def _ask_tcp(sock: TcpSocket, answer: Reached) -> Process:
    """Connect, and wait for the question to come back: docker-proxy takes every connection, but has nothing to say by itself."""
    yield sock.connect(answer.address, answer.target.port)
    answer.outcome = "stalled"
    yield sock.send(QUESTION)
    heard = b""
    while len(heard) < len(QUESTION) and not heard.startswith(b"HTTP/1.1 200"):
        data = yield sock.recv()
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
        heard += data
    yield sock.close()


def _ask_udp(sock: UdpSocket, answer: Reached) -> Process:
    """As a socket that is connected: what comes from elsewhere is no answer."""
    sock.sendto(b"?", answer.address, answer.target.port)
    while True:
        _, address, port = yield sock.recvfrom()
        if (address, port) == (answer.address, answer.target.port):
            return
        answer.why = f"the answer comes from {address}:{port}, which was not asked"


class _Survey:
    """Asks one question at a time, and looks at what each does to the world."""

    def __init__(self, world: World) -> None:
        self.world, self.env = world, world.env
        self.tracer: Tracer = world.trace()
        self.macs = {dev.place: dev.mac_address for ns in world.namespaces() for dev in ns.interfaces}

    def ask(self, client: str, ns: Namespace, target: Target) -> Reached:
        """Ask, wait until all is over, and tell what happened."""
        address = target.published_at or self.world.address_of(target.name, client)
        answer = Reached(client, target, address)
        self.tracer.sights.clear()
        self.tracer.notes.clear()
        drops, stopped = self._drops(), self._stopped()
        self.env.run(until=self.env.process(self._question(answer, ns)))
        if answer.outcome != "reached":
            answer.why = answer.why or self._stopped_by(stopped, drops)
        if answer.outcome == "ENETUNREACH" and answer.by == ns.name:
            answer.why = f"{ns.name}: no route"
        return answer

    def _question(self, answer: Reached, ns: Namespace) -> Process:
        """Ask, wait until all is over, and follow what happened."""
        env = self.env
        tcp = answer.target.protocol == "tcp"
        sock: Any = TcpSocket(ns) if tcp else UdpSocket(ns)

        def attempt() -> Process:
            try:
                yield from (_ask_tcp if tcp else _ask_udp)(sock, answer)
                answer.outcome = "reached"
            except OSError as error:
                answer.outcome = errno.errorcode.get(error.errno or 0, str(error))

        asking = env.process(attempt())
        yield env.timeout(0)
        port: int = sock.local_port
        yield asking | env.timeout(PATIENCE)
        if asking.is_alive and tcp:
            so_far = answer.outcome
            sock.abort()
            yield asking
            answer.outcome = so_far
        elif not tcp:
            sock.close()
        # what is still under way arrives; where something is stopped, the other end may go on trying
        yield env.timeout(PATIENCE if answer.outcome == "reached" else GIVEN_UP)
        self._follow(answer, ns, port)

    def _follow(self, answer: Reached, ns: Namespace, port: int) -> None:
        """What the packets that carried the question from the client's `port` went through."""
        kinds = ("TCP S", "TCP SEC") if answer.target.protocol == "tcp" else ("UDP",)
        requests, sources = list[list[Hop]](), set[str]()
        for hops in self.tracer.packets():
            if hops[0].fields.protocol in kinds and hops[0].fields.destination not in sources:
                requests.append(hops)
                sources |= {hop.fields.source for hop in hops}
        if not requests:
            answer.by = ns.name                 # it has asked itself, or nothing has left it
            return
        last = requests[-1]
        # a bridge that has forgotten where a MAC is floods: copies end elsewhere, too
        end = next((hop for hop in reversed(last) if not hop.outgoing and self.macs[hop.place] == hop.fields.destination_mac), last[-1])
        answer.by = end.place.split("/")[0]
        answer.seen_as = end.fields.source.rsplit(":", 1)[0]
        answer.own = answer.seen_as in {a.split("/")[0] for dev in ns.interfaces for a in dev.addresses}
        if answer.outcome == "reached":
            relayed = last[0].place.split("/")[0] != ns.name or not last[0].fields.source.endswith(f":{port}")
            asked = f"{answer.address}:{answer.target.port}"
            answer.way = ["docker-proxy"] if relayed else _way(last, asked)

    def _drops(self) -> dict[tuple[str, str], int]:
        return {(ns.name, reason): n for ns in self.world.namespaces() for reason, n in ns.drops.items() if reason not in HARMLESS}

    def _stopped(self) -> dict[str, int]:
        netfilter = self.world.host.namespace.netfilter
        return netfilter.rules.stopped(netfilter.counts())

    def _stopped_by(self, stopped: Mapping[str, int], drops: Mapping[tuple[str, str], int]) -> str:
        """The host's rule that has dropped or rejected something, else who has dropped something and why."""
        for rule, n in self._stopped().items():
            if n != stopped.get(rule, 0):
                return rule
        return next((f"{place}: {reason}" for (place, reason), n in self._drops().items() if n > drops.get((place, reason), 0)), "")


def _way(hops: Sequence[Hop], asked: str) -> list[str]:
    """What happened to a packet that was for `asked`: on the host itself it is translated before it is first seen."""
    changes = [c for hop in hops for c in hop.changed]
    return [word for word, happened in (
        ("DNAT", hops[0].fields.destination != asked or any(c.startswith("destination ") for c in changes)),
        ("masqueraded", any(c.startswith("source ") for c in changes)),
        ("routed", any(c.startswith("TTL ") for c in changes))) if happened] or ["direct"]
