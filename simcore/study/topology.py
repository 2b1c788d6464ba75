"""Namespaces and the links between them, and what watches them: a network made by hand, or the base of one made from a file."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from natfast.blocks import BlockBuffer
from natfast.capture import PcapngWriter
from natfast.rules import Rules
from simcore.docker.links import LinkSpec
from simcore.docker.model import first_error
from simcore.engine import Environment, Streams
from simcore.engine.frame import reset_ids
from simcore.engine.histogram import Histogram
from simcore.errors import ScenarioError
from simcore.measure.capture import CaptureTap, TraceTap
from simcore.measure.expression import compile_filter
from simcore.measure.flows import FlowTable
from simcore.measure.series import Sampler
from simcore.measure.trace import Tracer
from simcore.net.cable import connect
from simcore.net.device import Device
from simcore.net.link import Link
from simcore.net.namespace import Namespace
from simcore.study.garbage import frozen
from simcore.study.progress import Progress, stop_between_events

End = str | tuple[Device, int]
"""An end of a link: an interface, as `web/eth0`, or a port of a device."""


class Topology:
    """A network.

    Parameters
    ----------
    seed : int
        Of all that is random in it.
    engine : {"compiled", "simpy"}

    Attributes
    ----------
    env : Environment
        The clock; a `simpy.Environment`.
    streams : Streams
        Random streams by name.
    partial : bool
        Whether Ctrl-C ended the run.

    Examples
    --------
    >>> net = Topology(seed=1)
    >>> a = net.add_host("a", {"eth0": "10.0.0.1/24"})
    >>> b = net.add_host("b", {"eth0": "10.0.0.2/24"})
    >>> there, back = net.add_link("a/eth0", "b/eth0", rate="10Mbit", latency="5ms")
    >>> from simcore.transport import PingSocket
    >>> rtt = net.env.run(PingSocket(a).echo("10.0.0.2"))
    >>> round(rtt, 6)
    0.020224
    """

    def __init__(self, seed: int = 0, engine: str = "compiled") -> None:
        reset_ids()
        self.seed = seed
        self.env = Environment(engine=engine)
        self.streams = Streams(seed)
        self._namespaces: dict[str, Namespace] = {}
        self._links: dict[str, Link] = {}
        self.tracer: Tracer | None = None
        self.writer: PcapngWriter | None = None
        self.flows: FlowTable | None = None
        self.sampler: Sampler | None = None
        self.partial = False

    # --- what there is -----------------------------------------------------------------------------

    def namespaces(self) -> list[Namespace]:
        """All of them."""
        return list(self._namespaces.values())

    def namespace(self, name: str) -> Namespace:
        """One of them; ScenarioError if there is none of that name."""
        for ns in self.namespaces():
            if ns.name == name:
                return ns
        raise ScenarioError(f"there is no namespace {name!r}")

    @property
    def links(self) -> dict[str, Link]:
        """Every link by the interface that sends into it, as `host/eth0`."""
        return self._links

    def link(self, name: str, key: str = "link") -> Link:
        """A link by name; ScenarioError naming `key` if there is none."""
        if name not in self.links:
            raise ScenarioError(f"{key}: there is no link {name!r}, expected one of {', '.join(sorted(self.links))}")
        return self.links[name]

    # --- making it ---------------------------------------------------------------------------------

    def add_host(self, name: str, interfaces: Mapping[str, str | None], *, gateway: str | None = None,
                 bridges: Mapping[str, Sequence[str]] | None = None, rules: Rules | str | None = None,
                 sysctl: Mapping[str, Any] | None = None, mtu: int = 1500) -> Namespace:
        """Add a host, a router or a container: they differ by what they are told.

        Parameters
        ----------
        name : str
        interfaces : mapping
            Its interfaces with their addresses, as 10.0.0.1/24, or None.
        gateway : str, optional
            The default route's; on one of the interfaces' subnets.
        bridges : mapping, optional
            Which of the interfaces are bridges, and their ports, as {"docker0": ["veth0", "veth1"]}.
        rules : Rules or str, optional
            Netfilter's, also as `iptables-save` prints them; without any its packets are neither tracked nor filtered.
        sysctl : mapping, optional
            Settings by their full names; a router needs net.ipv4.ip_forward.
        mtu : int
            Of its interfaces.

        Raises
        ------
        ScenarioError
            If there is one of that name, or an address, gateway or port does not fit.
        RulesError
            For rules that are not understood.
        """
        if name in self._namespaces:
            raise ScenarioError(f"there is a namespace {name!r} already")
        if isinstance(rules, str):
            rules = Rules.from_iptables_save(rules, name)
        bridges = bridges or {}
        ports = [port for members in bridges.values() for port in members]
        for inner in (*bridges, *ports):
            if inner not in interfaces:
                raise ScenarioError(f"{name}: {inner!r} is none of its interfaces: {', '.join(interfaces)}")
        try:
            ns = Namespace(self.env, name, sysctl, rules, self.streams.integer(f"{name}/nat"))
            for interface, address in interfaces.items():
                (ns.add_bridge if interface in bridges else ns.add_interface)(interface, mtu=mtu)
                if address is not None:
                    ns.add_address(interface, address)
            for bridge, members in bridges.items():
                for port in members:
                    ns.enslave(port, bridge)
            if gateway is not None:
                ns.add_route("default", self._towards(name, interfaces, gateway), gateway)
        except ValueError as error:
            raise ScenarioError(f"{name}: {error}") from None
        self._namespaces[name] = ns
        return ns

    @staticmethod
    def _towards(name: str, interfaces: Mapping[str, str | None], gateway: str) -> str:
        for interface, address in interfaces.items():
            if address is not None and ipaddress.IPv4Address(gateway) in ipaddress.IPv4Interface(address).network:
                return interface
        raise ScenarioError(f"{name}: gateway {gateway} is on no interface's subnet")

    def add_link(self, a: End, b: End, **what: Any) -> tuple[Link, Link]:
        """Connect two ends both ways.

        Parameters
        ----------
        a, b : str or (Device, int)
        **what
            What the link is like, with the keys and units of a scenario file's links (docs/scenario.md), `_` for `-`:
            rate="100Mbit", latency="5ms", queue=100, qdisc="fq_codel", loss="1%", reverse={"rate": "10Mbit"}, …

        Returns
        -------
        tuple of Link
            From `a` to `b`, and back.

        Raises
        ------
        ScenarioError
            If an end is none, or connected already, or a key or value is not understood.
        """
        (near, near_port, near_name), (far, far_port, far_name) = self._end(a), self._end(b)
        try:
            parameters = LinkSpec.model_validate(what).parameters()
        except ValidationError as error:
            raise ScenarioError(f"link {near_name} to {far_name}: {first_error(error)}") from None
        for device, port, name in ((near, near_port, near_name), (far, far_port, far_name)):
            if device.ports[port] is not None:
                raise ScenarioError(f"link {near_name} to {far_name}: there is one at {name} already")
        made = connect(self.env, self.streams, near, near_port, near_name, far, far_port, far_name, parameters)
        self._links |= made
        return made[near_name], made[far_name]

    def _end(self, end: End) -> tuple[Device, int, str]:
        if not isinstance(end, str):
            device, port = end
            return device, port, f"{device.name}/{port}"
        name, _, interface = end.partition("/")
        ns = self.namespace(name)
        if interface not in ns.by_name or ns.interface(interface).port < 0:
            raise ScenarioError(f"{end!r} is no interface for a wire, expected one of "
                                + ", ".join(dev.place for dev in ns.interfaces if dev.port >= 0))
        return ns, ns.interface(interface).port, end

    # --- watching it -------------------------------------------------------------------------------

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
        buffer = BlockBuffer(self.writer)
        for place in interfaces or places:
            places[place].tap = CaptureTap(self.writer, buffer, place, test, snaplen, places[place].tap)

    def record_flows(self) -> FlowTable:
        """Keep a record of every flow; returns the table."""
        self.flows = FlowTable()
        for ns in self.namespaces():
            ns.flows = self.flows
        return self.flows

    def _watched(self) -> Namespace | None:
        """Whose conntrack the samples have: the first that has one."""
        return next((ns for ns in self.namespaces() if ns.netfilter is not None), None)

    def sample(self, interval: float) -> Sampler:
        """Look at links and conntrack every `interval` seconds; returns the series."""
        watched = self._watched()
        self.sampler = Sampler(self.env, interval, self.links, watched.netfilter if watched else None)
        return self.sampler

    def measure_waits(self) -> None:
        """Keep the distribution of waiting times at every link, as its `delays`."""
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

    # --- running it --------------------------------------------------------------------------------

    def run(self, duration: float | None = None, progress: bool = False, drive: Callable[[float | None], None] | None = None) -> None:
        """Run for `duration` seconds, or until nothing happens any more; by `drive(limit)`, if time is not to fly.

        Ctrl-C ends the run where it is: what was measured so far stays, and `partial` is true.
        """
        if duration is None and self.sampler is not None:
            raise ScenarioError("sampling never ends by itself: expected a duration, in the file or by --duration")
        try:
            with frozen(), stop_between_events(self.env), Progress(self.env, duration) if progress else nullcontext():
                (drive or self.env.run)(duration)
        except KeyboardInterrupt:
            self.partial = True
        finally:
            self.finish()

    def finish(self) -> None:
        """The run is over: nothing more is captured."""
        if self.writer is not None:
            self.writer.close()
