"""The reference topology: containers on bridges of one Docker host, a router, servers beyond it."""
from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from natfast import Rules
from simcore.docker import proxy
from simcore.docker.ipam import DOCKER0, Pool, mac_of
from simcore.docker.iptables import EMPTY, Bridge, Published, docker_rules, with_lines
from simcore.docker.options import BridgeOptions
from simcore.docker.ports import EVERYWHERE
from simcore.engine import Environment, Streams
from simcore.net.cable import LinkParameters, connect
from simcore.net.device import Device
from simcore.net.link import Link
from simcore.net.macvlan import Macvlan
from simcore.net.namespace import Namespace
from simcore.net.neighbours import ArpCache
from simcore.net.sysctl import MACHINE


@dataclass
class Network:
    """A network: its interface on the host and its pool of addresses; an internal one has no way out.

    It is a bridge, or macvlan: then its containers are on the host's own network, each with a MAC of its own on the host's card.
    """

    name: str
    interface: str
    pool: Pool
    internal: bool = False
    options: BridgeOptions = BridgeOptions()
    macvlan: bool = False


@dataclass
class Container:
    """A container: its namespace, its address on each network (and its MAC, if it asked for one), and the links to each, the way
    out of it and the way back.
    """

    name: str
    namespace: Namespace
    addresses: dict[str, str] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The address on its first network."""
        return next(iter(self.addresses.values()))


class DockerHost:
    """A Linux host that runs Docker.

    Networks, containers and ports are declared first; `start` then writes the rules and builds the host.

    Parameters
    ----------
    env : Environment
    address : str
        CIDR of the outside interface.
    gateway : str
        The router's address.
    userland_proxy : bool
        Docker's setting: off means hairpin NAT and route_localnet.
    iptables : sequence of str
        Rules besides Docker's, as on iptables' command line.
    engine : {27, 28}
        Docker's release, as of which its rules are.
    """

    def __init__(self, env: Environment, streams: Streams, address: str = "192.168.1.100/24", gateway: str = "192.168.1.1",
                 interface: str = "eth0", userland_proxy: bool = True, sysctl: dict[str, float | str] | None = None,
                 conntrack: bool = True, iptables: Sequence[str] = (), engine: int = 27) -> None:
        self.env, self.streams = env, streams
        self.address, self.gateway, self.interface = address, gateway, interface
        self.userland_proxy = userland_proxy
        self.networks: dict[str, Network] = {}
        self.containers: dict[str, Container] = {}
        self.published: list[Published] = []
        self.links: dict[str, Link] = {}
        settings: dict[str, float | str] = {"net.ipv4.ip_forward": 1}
        if not userland_proxy:
            settings["net.ipv4.conf.all.route_localnet"] = 1
        settings.update(sysctl or {})
        self.arp_cache = ArpCache(settings)         # the containers' namespaces are of the same machine
        self.sysctl = {k: v for k, v in settings.items() if k not in MACHINE}
        self.conntrack = conntrack
        self.iptables = iptables
        self.engine = engine
        self.namespace: Namespace
        self._on_the_card: list[tuple[Container, Network, str, LinkParameters]] = []

    def add_network(self, name: str, pool: Pool | str, internal: bool = False, options: BridgeOptions | None = None) -> Network:
        """Declare a bridge network with a pool of addresses, or a subnet that is one; the one called `bridge` is docker0."""
        options = options or BridgeOptions()
        interface = options.interface or ("docker0" if name == "bridge" else f"br-{name}"[:15])
        network = Network(name, interface, pool if isinstance(pool, Pool) else Pool(pool), internal, options)
        self.networks[name] = network
        return network

    def add_macvlan(self, name: str, pool: Pool) -> Network:
        """Declare a macvlan network on the outside interface; the pool's addresses are the host's network's, its gateway the router."""
        self.networks[name] = Network(name, self.interface, pool, macvlan=True)
        return self.networks[name]

    @property
    def bridges(self) -> list[Network]:
        """The networks that are bridges."""
        return [n for n in self.networks.values() if not n.macvlan]

    @property
    def idle_docker0(self) -> ipaddress.IPv4Network | None:
        """The subnet of docker0, which is there though no network here is it; None if one is, or takes its addresses."""
        own = ipaddress.IPv4Network(DOCKER0)
        taken = any(n.interface == "docker0" or n.pool.network.overlaps(own) for n in self.networks.values())
        return None if taken else own

    @property
    def host_gateway(self) -> str | None:
        """The host's address that Docker calls `host-gateway`: docker0's; None if another network takes that."""
        if self.idle_docker0 is not None:
            return str(self.idle_docker0[1])
        return next((n.pool.gateway for n in self.bridges if n.interface == "docker0"), None)

    def way_out(self, container: Container) -> str | None:
        """The network that a container reaches the world by: its first that is not internal."""
        return next((name for name in container.addresses if not self.networks[name].internal), None)

    def published_on(self, container: Container) -> str | None:
        """The network that a container's published ports lead to: its first bridge that is not internal."""
        on = (self.networks[name] for name in container.addresses)
        return next((n.name for n in on if not (n.internal or n.macvlan)), None)

    def on_the_card_only(self, name: str) -> bool:
        """Whether that is a container that is on no bridge, but by macvlan on the host's own network."""
        on = self.containers[name].addresses if name in self.containers else {}
        return bool(on) and all(self.networks[network].macvlan for network in on)

    def _reached_by(self, container: Container) -> str:
        if (name := self.published_on(container)) is None:
            raise ValueError(f"{container.name} has no bridge with a way out: its ports cannot be published")
        return name

    def publish(self, container: Container, host_port: int, port: int, protocol: str = "tcp", host_address: str = "",
                network: str | None = None) -> None:
        """Publish a container's port; before `start`.

        Raises
        ------
        ValueError
            If it has no bridge that is not internal.
        """
        name = network or self._reached_by(container)
        on = self.networks[name]
        at = host_address or on.options.host_address
        self.published.append(Published(on.interface, container.addresses[name], port, host_port, protocol,
                                        "" if at == EVERYWHERE else at))

    def move_port(self, host_port: int, protocol: str, container: Container) -> None:
        """Let a published port lead to another container from now on: what the engine does when one is replaced.

        Connections that conntrack knows go on to the old one.

        Raises
        ------
        ValueError
            If nothing publishes the port, or the container cannot be reached.
        """
        i = next((i for i, p in enumerate(self.published) if (p.host_port, p.protocol) == (host_port, protocol)), None)
        if i is None:
            raise ValueError(f"port {host_port}/{protocol} is not published")
        name = self._reached_by(container)
        self.published[i] = replace(self.published[i], bridge=self.networks[name].interface, address=container.addresses[name])
        self.write_rules()

    def serve_published(self) -> None:
        """Start docker-proxy for every published port, if it is switched on; after `start`.

        Raises
        ------
        ValueError
            If the host listens at a published port itself.
        """
        if not self.userland_proxy:
            return
        for i, p in enumerate(self.published):
            try:
                self._serve(i, p)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise ValueError(f"port {p.host_port}/{p.protocol} of the host is published, but something listens there already") from None

    def _serve(self, i: int, p: Published) -> None:
        def backend() -> tuple[str, int]:
            return self.published[i].address, self.published[i].port
        if p.protocol == "tcp":
            proxy.serve_tcp(self.namespace, p.host_port, backend, p.host_address)
        else:
            # up to 27 it answers from whichever address is nearest to who asked: not to be taken for one, if another was asked
            own = [""] if self.engine < 28 else [
                "127.0.0.1", *(a.split("/")[0] for dev in self.namespace.interfaces for a in dev.addresses)]
            proxy.serve_udp(self.namespace, p.host_port, backend, [p.host_address] if p.host_address else own)

    def add_rules(self, lines: Sequence[str]) -> None:
        """Add rules to those in force, as on iptables' command line.

        Raises
        ------
        ValueError, natfast.errors.RulesError
            As `simcore.docker.iptables.with_lines`.
        """
        self.iptables = [*self.iptables, *lines]
        self.write_rules()

    def rules(self) -> Rules:
        """Docker's for what is declared, and those that were added."""
        bridges = [Bridge(n.interface, str(n.pool.network), n.internal, n.options.masquerade, n.options.icc)
                   for n in self.bridges]
        if self.idle_docker0 is not None:
            bridges.insert(0, Bridge("docker0", str(self.idle_docker0)))
        outward = {n.name: n.interface for n in self.bridges if not n.internal}
        endpoints = [(address, outward[name]) for c in self.containers.values() for name, address in c.addresses.items() if name in outward]
        return with_lines(docker_rules(bridges, self.published, self.userland_proxy, self.engine, endpoints), self.iptables)

    def write_rules(self) -> None:
        """Put the present rules in force."""
        if self.namespace.netfilter is None:
            raise ValueError("this host has no rules: it was made with conntrack=False")
        self.namespace.netfilter.replace_rules(self.rules())

    def add_container(self, name: str, networks: dict[str, str | None], sysctl: dict[str, float | str] | None = None,
                      macs: Mapping[str, str] | None = None) -> Container:
        """Declare a container on networks, each with a wanted address or None; `sysctl` is its namespace's, `macs` are by networks."""
        container = Container(name, Namespace(self.env, name, sysctl, arp_cache=self.arp_cache), macs=macs or {})
        for network, wanted in networks.items():
            container.addresses[network] = self.networks[network].pool.allocate(name, wanted)
        self.containers[name] = container
        return container

    def start(self, link: LinkParameters, links: Mapping[str, LinkParameters] | None = None) -> Namespace:
        """Write the rules, make the bridges, plug the containers in: each by `links[its name]`, else by `link`."""
        rules = self.rules() if self.conntrack else None
        host = Namespace(self.env, "host", self.sysctl, rules, self.streams.integer("host/nat"), self.arp_cache)
        self.namespace = host
        outside = ipaddress.IPv4Interface(self.address)
        host.add_interface(self.interface, "02:00:" + outside.ip.packed.hex(":"))
        host.add_address(self.interface, self.address)
        for network in self.bridges:
            host.add_bridge(network.interface, mac_of(network.pool.gateway), network.options.mtu)
            host.add_address(network.interface, f"{network.pool.gateway}/{network.pool.prefix}")
        if self.idle_docker0 is not None:
            host.add_bridge("docker0", mac_of(str(self.idle_docker0[1])))
            host.add_address("docker0", f"{self.idle_docker0[1]}/{self.idle_docker0.prefixlen}")
        host.add_route("default", self.interface, self.gateway)
        for container in self.containers.values():
            for i, name in enumerate(container.addresses):
                network = self.networks[name]
                inside = self._interface(container, i, network)
                wish = (links or {}).get(container.name, link)
                if network.macvlan:
                    self._on_the_card.append((container, network, inside, wish))
                else:
                    self._plug(container, i, network, inside, wish)
        return host

    def _interface(self, container: Container, number: int, network: Network) -> str:
        """A container's end of its link to a network."""
        inside, ns, address = f"{network.options.container_prefix}{number}", container.namespace, container.addresses[network.name]
        ns.add_interface(inside, container.macs.get(network.name) or mac_of(address), network.options.mtu)
        ns.add_address(inside, f"{address}/{network.pool.prefix}")
        if network.name == self.way_out(container):
            ns.add_route("default", inside, network.pool.gateway)
        return inside

    def _plug(self, container: Container, number: int, network: Network, inside: str, link: LinkParameters) -> None:
        """A veth pair: one end in the container, the other a port of the bridge."""
        outside = f"veth-{container.name}" + (f"-{number}" if number else "")
        host, address = self.namespace, ipaddress.IPv4Address(container.addresses[network.name])
        port = host.add_interface(outside, "02:fe:" + address.packed.hex(":"), network.options.mtu)
        port.hairpin = not self.userland_proxy
        host.enslave(outside, network.interface)
        self._connect(container, network, inside, host, port.port, f"host/{outside}", link)

    def _connect(self, container: Container, network: Network, inside: str, far: Device, port: int, back: str,
                 link: LinkParameters) -> None:
        there = f"{container.name}/{inside}"
        container.links[network.name] = there, back
        self.links |= connect(self.env, self.streams, container.namespace, container.namespace.interface(inside).port, there,
                              far, port, back, link)

    def share_card(self, out: Link, back: Link) -> None:
        """Put the macvlan containers on the outside interface, whose links there are now."""
        if not self._on_the_card:
            return
        card = Macvlan(self.env, f"host/{self.interface}", self.namespace, self.interface, out)
        back.reconnect(card, 0)
        for container, network, inside, link in self._on_the_card:
            port = card.add(container.namespace.interface(inside))
            self._connect(container, network, inside, card, port, f"host/macvlan-{container.name}", link)


class Internet:
    """The router in front of the host, and servers behind it."""

    def __init__(self, env: Environment, streams: Streams, address: str = "192.168.1.1/24", mtu: int = 1500,
                 iptables: Sequence[str] = ()) -> None:
        self.env, self.streams, self.mtu = env, streams, mtu
        rules = with_lines(Rules.from_iptables_save(EMPTY), iptables) if iptables else None
        self.router = Namespace(env, "router", {"net.ipv4.ip_forward": 1}, rules, streams.integer("router/nat") if rules else 0)
        inside = ipaddress.IPv4Interface(address)
        self.router.add_interface("eth0", "02:00:" + inside.ip.packed.hex(":"))
        self.router.add_address("eth0", address)
        self.servers: dict[str, Namespace] = {}
        self.addresses: dict[str, str] = {}
        self.links: dict[str, Link] = {}

    def connect(self, host: DockerHost, link: LinkParameters) -> None:
        """Wire the host to the router."""
        self.links |= connect(self.env, self.streams, host.namespace, host.namespace.interface(host.interface).port,
                              f"host/{host.interface}", self.router, self.router.interface("eth0").port, "router/eth0", link)
        host.share_card(self.links[f"host/{host.interface}"], self.links["router/eth0"])

    def add_server(self, name: str, address: str, prefix: int, link: LinkParameters,
                   sysctl: dict[str, float | str] | None = None) -> Namespace:
        """A server on an interface of the router of its own."""
        net = ipaddress.IPv4Interface(f"{address}/{prefix}").network
        first = ipaddress.IPv4Address(int(net.network_address) + 1)
        gateway = first if str(first) != address else ipaddress.IPv4Address(int(net.broadcast_address) - 1)
        server = Namespace(self.env, name, sysctl)
        near = f"eth{len(self.servers) + 1}"
        a = self.router.add_interface(near, f"02:01:{gateway.packed.hex(':')}", self.mtu)
        self.router.add_address(near, f"{gateway}/32")
        self.router.add_route(f"{address}/32", near)
        b = server.add_interface("eth0", "02:02:" + ipaddress.IPv4Address(address).packed.hex(":"))
        server.add_address("eth0", f"{address}/{prefix}")
        server.add_route("default", "eth0", str(gateway))
        self.links |= connect(self.env, self.streams, self.router, a.port, f"router/{near}", server, b.port, f"{name}/eth0", link)
        self.servers[name], self.addresses[name] = server, address
        return server


__all__ = ["Container", "DockerHost", "Internet", "LinkParameters", "Network", "Rules"]
