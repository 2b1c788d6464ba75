"""A scenario's applications: servers in the namespaces that the file says, each with its connections to those it asks."""
from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simcore.docker import compose
from simcore.docker.apps import AppSpec, CallSpec, per_connection
from simcore.errors import ScenarioError
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution
from simcore.traffic.server import Server
from simcore.traffic.upstream import Retries, Upstream

if TYPE_CHECKING:
    from simcore.study.scenario import World

Place = tuple[Namespace, int]
"""A namespace and a port."""


@contextmanager
def listening(key: str, ns: Namespace, port: int) -> Iterator[None]:
    """Who fails to listen at a port because somebody else does is told so, by the file's key."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ScenarioError(f"{key}: something else listens at port {port} of {ns.name} already, expected another port") from None


@dataclass
class Called:
    """One whom an application asks.

    Attributes
    ----------
    stage : int
        Of the application's calls; those of one are made side by side.
    answering : list of (Namespace, int)
        Who does.
    """

    upstream: Upstream
    stage: int
    answering: list[Place]


@dataclass
class App:
    """One that the file describes, in one namespace.

    Attributes
    ----------
    name : str
        As `web:80`.
    key : str
        Of the file.
    calls : dict of str to Called
        By whom it asks.
    """

    name: str
    key: str
    server: Server
    calls: dict[str, Called]


class Apps:
    """Those of one world, and servers of no special kind where something has to answer.

    Raises
    ------
    ScenarioError
        If one's port is taken, nobody answers one's calls, or they go round in a circle.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._servers: dict[Place, Server] = {}
        self._described: dict[Place, App] = {}
        self._before: dict[str, dict[str, Any]] = {}
        for key, name, spec in compose.apps(world.compose):
            for i, instance in enumerate(world.instances(name)):
                self._add(key, instance, i, spec)
        for app in self._described.values():
            for called in app.calls.values():
                for place in called.answering:
                    self.serve(app.key + ".calls", *place)
        self._refuse_circles()

    def _add(self, key: str, instance: str, number: int, spec: AppSpec) -> None:
        ns, stream = self.world.namespace(instance), f"app/{instance}:{spec.port}"
        streams, calls, stages = self.world.streams, dict[str, Called](), list[list[Upstream]]()
        for stage in spec.stages():
            stages.append([])
            for at, call in stage:
                to = self.world.reached_by(instance, number, call.to)
                retries = Retries(call.retries, call.backoff, streams[f"{stream}/call/{at}/backoff"] if call.backoff else None)
                upstream = Upstream(ns, to, call.port, call.request_size, call.response_size, streams[f"{stream}/call/{at}"], call.count,
                                    call.pool or 0, per_connection(call.keep_alive), call.timeout or 0.0, retries)
                stages[-1].append(upstream)
                calls[_title(call, calls)] = Called(upstream, len(stages), [
                    (target, call.server_port or call.port)
                    for target in self.world.answering(f"{key}.calls.{at}", call.served_by, to)])
        with listening(f"{key}.port", ns, spec.port):
            server = self._servers[ns, spec.port] = Server(
                ns, spec.port, spec.service, streams[stream], spec.workers or 0, spec.asynchronous, stages, spec.connections or 0,
                backlog=spec.backlog)
        self._described[ns, spec.port] = App(f"{instance}:{spec.port}", key, server, calls)

    def serve(self, key: str, ns: Namespace, port: int, service: float = 0.0) -> None:
        """See to it that somebody answers at a port; by `key` it was asked for.

        Raises
        ------
        ScenarioError
            If something of another kind listens there, or an application whose own time it is.
        """
        if (app := self._described.get((ns, port))) is not None and service:
            raise ScenarioError(f"{key}.service: how long {app.name} works on a request its application says ({app.key}.service)")
        if (ns, port) not in self._servers:
            with listening(key, ns, port):
                self._servers[ns, port] = Server(ns, port, Distribution(service) if service else None)

    def _refuse_circles(self) -> None:
        """A request that led to itself would never be answered."""
        over = set[Place]()

        def visit(place: Place, way: list[Place]) -> None:
            if place in way:
                circle = " → ".join(self._described[p].name for p in [*way[way.index(place):], place])
                raise ScenarioError(f"{self._described[place].key}.calls: they go round in a circle: {circle}")
            if place in over or place not in self._described:
                return
            for called in self._described[place].calls.values():
                for asked in called.answering:
                    visit(asked, [*way, place])
            over.add(place)

        for place in self._described:
            visit(place, [])

    def begin(self) -> None:
        """Measure from now on: what is over already does not count."""
        for app in self._described.values():
            app.server.forget_times()
            self._before[app.name] = app.server.counts()
            for to, called in app.calls.items():
                called.upstream.forget_times()
                self._before[f"{app.name} {to}"] = called.upstream.counts()

    def results(self, seconds: float) -> dict[str, dict[str, Any]]:
        """What each came to in the `seconds` that were measured, as JSON has it."""
        return {app.name: self._result(app, max(seconds, 1e-12)) for app in self._described.values()}

    def _since(self, name: str, counts: dict[str, Any]) -> dict[str, Any]:
        before = self._before.get(name, {})
        return {k: v - before.get(k, 0) for k, v in counts.items()}

    def _result(self, app: App, seconds: float) -> dict[str, Any]:
        s = app.server
        n = self._since(app.name, s.counts())
        busy, most = n["busy_s"] / seconds, s.listener.most or None
        return {"key": app.key, "requests": n["requests"], "answered": n["answered"], "failed": n["failed"],
                "requests_per_s": n["answered"] / seconds, "open": n["open_s"] / seconds, "connections": most,
                "open_share": n["open_s"] / seconds / most if most else None, "overflows": n["overflows"], "workers": s.workers or None,
                "async": s.asynchronous, "busy": busy,
                "utilisation": busy / s.workers if s.workers else None, "mean_queue": n["queue_s"] / seconds,
                "wait_s": s.waits.summary(), "response_s": s.times.summary(),
                "calls": {to: self._called(f"{app.name} {to}", called, seconds) for to, called in app.calls.items()}}

    def _called(self, name: str, called: Called, seconds: float) -> dict[str, Any]:
        upstream = called.upstream
        n = self._since(name, upstream.counts())
        used = n["used_s"] / seconds
        return {"stage": called.stage, "answered": n["answered"], "failed": n["failed"], "retried": n["retried"],
                "timeout_s": upstream.timeout or None, "pool": upstream.most or None, "used": used,
                "errors": {k.removeprefix("error "): v for k, v in n.items() if k.startswith("error ") and v},
                "utilisation": used / upstream.most if upstream.most else None, "connections": n["opened"],
                "mean_waiting": n["waiting_s"] / seconds, "wait_s": upstream.waits.summary(), "response_s": upstream.times.summary()}


def _title(call: CallSpec, others: Collection[str]) -> str:
    """Whom it asks; a second one of the same name is told apart by a number."""
    title = plain = f"{call.to}:{call.port}"
    number = 1
    while title in others:
        number += 1
        title = f"{plain} ({number})"
    return title
