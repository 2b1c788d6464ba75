"""Compose files, with `x-simcore` for what a Compose file does not say: links, servers, workloads.

Keys of the Compose specification that do not touch the network (image, environment, ...) are taken and
ignored; a key that nobody knows is an error.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator, model_validator

from simcore.docker.apps import AppSpec
from simcore.docker.extension import Extension, ServiceExtension, SysctlsAmongOthers
from simcore.docker.files import gather, merge
from simcore.docker.interpolation import interpolate, variables
from simcore.docker.ipam import DOCKER0, IpamError, Pool, default_subnets
from simcore.docker.model import Address, Mac, Model, first_error
from simcore.docker.options import BridgeOptions, parse_options
from simcore.docker.ports import PublishedPort, Wanted, parse_port, place
from simcore.docker.settings import changed
from simcore.docker.suggest import in_words, suggest
from simcore.docker.workloads import Served
from simcore.errors import ScenarioError
from simcore.net.tables import BRIDGE_PORTS

DEFAULT_NETWORK = "bridge"
MOST_REPLICAS = 15000
OVERLAY_MTU = 1450
"""Bytes: what VXLAN leaves of 1500 (RFC 7348)."""

_NOT_OURS = (
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count "
    "cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec "
    "develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment "
    "external_links gpus group_add healthcheck hostname init ipc isolation label_file labels "
    "logging mem_limit mem_reservation mem_swappiness memswap_limit models oom_kill_disable oom_score_adj pid "
    "pids_limit platform post_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart "
    "runtime secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt tmpfs tty ulimits "
    "use_api_socket user userns_mode uts volumes volumes_from working_dir"
)
IGNORED_SERVICE_KEYS = frozenset(_NOT_OURS.split())


def _without_extensions(data: dict[str, Any]) -> dict[str, Any]:
    """A mapping without the `x-` keys of others, which may stand anywhere."""
    return {k: v for k, v in data.items() if k == "x-simcore" or not str(k).startswith("x-")}


class NetworkUse(Model):
    """How a service is attached to a network."""

    ipv4_address: Address | None = None
    ipv6_address: Any = None
    link_local_ips: Any = None
    mac_address: Mac | None = None
    interface_name: Any = None
    driver_opts: Any = None
    aliases: list[str] = []
    priority: int = 0
    gw_priority: int = 0


class Dependency(BaseModel):
    """On another service; that it is healthy, say, is of no consequence here."""

    required: bool = True


class Deploy(BaseModel):
    """Of how a service is deployed, what is looked at."""

    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] | None = None


class Service(Model):
    """One container."""

    networks: dict[str, NetworkUse | None] = {}
    network_mode: str | None = None
    mac_address: Mac | None = None
    ports: list[list[PublishedPort]] = []       # of each item
    deploy: Deploy | None = None
    scale: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = 1
    sysctls: SysctlsAmongOthers = {}
    # of what it is like otherwise, what makes traffic likely
    image: Any = None
    depends_on: dict[str, Dependency] = {}
    links: list[str] = []
    expose: list[Any] = []
    extra_hosts: Any = None
    x: ServiceExtension = Field(default=ServiceExtension(), alias="x-simcore")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise ValueError("expected a mapping")
        return {k: v for k, v in _without_extensions(data).items() if k not in IGNORED_SERVICE_KEYS}

    @field_validator("sysctls", mode="before")
    @classmethod
    def _sysctl_list(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if bad := [v for v in value if not isinstance(v, str) or "=" not in v]:
            raise ValueError(f"{bad[0]!r} is no setting, as net.ipv4.tcp_ecn=1")
        return dict(v.split("=", 1) for v in value)

    @field_validator("network_mode")
    @classmethod
    def _mode(cls, value: str | None) -> str | None:
        if value not in (None, "bridge", "host", "none") and not value.startswith("service:"):
            raise ValueError(f"{value!r}: expected bridge, host, none or service:NAME")
        return value

    @model_validator(mode="after")
    def _one_number(self) -> Service:
        if "scale" in self.model_fields_set and self.replicas != self.scale:
            raise ValueError(f"scale {self.scale} and deploy.replicas {self.replicas} are not one number")
        return self

    @property
    def knows_host_gateway(self) -> bool:
        """Whether it has a name for its host, as in `extra_hosts: ["host.docker.internal:host-gateway"]`."""
        said = self.extra_hosts.values() if isinstance(self.extra_hosts, dict) else self.extra_hosts or []
        addresses = (a for one in said for a in (one if isinstance(one, list) else [one]))
        return any(str(a).replace("=", ":").rpartition(":")[2].strip() == "host-gateway" for a in addresses)

    @property
    def replicas(self) -> int:
        """Containers."""
        return self.deploy.replicas if self.deploy is not None and self.deploy.replicas is not None else self.scale

    def needs(self) -> dict[str, Dependency]:
        """The services that have to be there first."""
        others = [link.split(":")[0] for link in self.links]
        if self.shares not in (None, "host"):
            others.append(str(self.shares))
        return {**self.depends_on, **{name: Dependency() for name in others}}

    @property
    def shares(self) -> str | None:
        """Whose network namespace it is in: `host`, another service's, or None for one of its own."""
        return None if self.network_mode in (None, "bridge", "none") else self.network_mode.removeprefix("service:")

    @field_validator("depends_on", mode="before")
    @classmethod
    def _depends_list(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {str(name): {} for name in value}
        return {name: how or {} for name, how in value.items()} if isinstance(value, dict) else value

    @field_validator("networks", mode="before")
    @classmethod
    def _network_list(cls, value: Any) -> Any:
        return {str(name): None for name in value} if isinstance(value, list) else value

    @field_validator("ports", mode="before")
    @classmethod
    def _port_list(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("expected a list, as [\"8080:80\"]")
        return [parse_port(item if isinstance(item, dict) else str(item)) for item in value]


class IpamConfig(Model):
    """One pool; of an IPv6 one nothing is kept."""

    subnet: str | None = None
    gateway: Address | None = None
    ip_range: str | None = None
    aux_addresses: dict[str, Address] = {}

    @model_validator(mode="before")
    @classmethod
    def _ipv4(cls, data: Any) -> Any:
        return {} if isinstance(data, dict) and ":" in str(data.get("subnet")) else data

    def pool(self) -> Pool:
        """Its addresses; IpamError if they make none."""
        return Pool(str(self.subnet), self.gateway, self.ip_range, self.aux_addresses.values())


class Ipam(Model):
    """A network's address management."""

    driver: str = "default"
    config: list[IpamConfig] = []
    options: Any = None             # the driver's own

    def first(self) -> tuple[int, IpamConfig] | None:
        """The first IPv4 pool, and which of the list it is."""
        return next(((i, config) for i, config in enumerate(self.config) if config.subnet is not None), None)


class Network(Model):
    """A bridge network, or macvlan; an overlay is a bridge, too, on the one host that there is."""

    driver: Literal["bridge", "overlay", "macvlan"] = "bridge"
    ipam: Ipam = Ipam()
    driver_opts: dict[str, Any] = {}
    name: str | None = None
    internal: bool = False
    external: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    labels: Any = None
    attachable: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, data: Any) -> Any:
        return {} if data is None else _without_extensions(data) if isinstance(data, dict) else data

    @field_validator("driver_opts")
    @classmethod
    def _options(cls, value: dict[str, Any]) -> dict[str, Any]:
        parse_options(value)
        return value

    @property
    def macvlan(self) -> bool:
        """Whether its containers are on the host's own network."""
        return self.driver == "macvlan"

    @property
    def options(self) -> BridgeOptions:
        """What the driver is told; an overlay's frames leave room for VXLAN."""
        usual = {"com.docker.network.driver.mtu": OVERLAY_MTU} if self.driver == "overlay" else {}
        return parse_options({**usual, **self.driver_opts})[0]

    def without_effect(self) -> list[str]:
        """What of it means nothing here, in words."""
        names = self.driver_opts if self.macvlan else parse_options(self.driver_opts)[1]
        return ([f"driver_opts: {name} has no effect here" for name in names if not (self.macvlan and name in ("parent", "macvlan_mode"))]
                + (["driver_opts.macvlan_mode: it is bridge here"] if self.macvlan
                   and self.driver_opts.get("macvlan_mode", "bridge") != "bridge" else [])
                + (["enable_ipv6: there is IPv4 only"] if self.enable_ipv6 else [])
                + (["driver: overlay is a bridge here: there is one host"] if self.driver == "overlay" else []))


class Compose(Model):
    """A Compose file."""

    version: Any = None
    name: str | None = None
    services: dict[str, Service]
    networks: dict[str, Network] = {}
    volumes: Any = None
    secrets: Any = None
    configs: Any = None
    models: Any = None
    x: Extension = Field(default=Extension(), alias="x-simcore")
    _notes: list[str] = PrivateAttr(default_factory=list)
    _path: str = PrivateAttr(default="")

    @model_validator(mode="before")
    @classmethod
    def _extensions(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("expected a mapping with the key 'services'")
        return _without_extensions(data)

    @model_validator(mode="after")
    def _implicit(self) -> Compose:
        if any("default" in s.networks for s in self.services.values()):
            self.networks.setdefault("default", Network())      # need not be declared
        return self

    @property
    def notes(self) -> list[str]:
        """What was chosen for the author."""
        return self._notes

    @property
    def path(self) -> str:
        """The file, of several the last; empty if it is from none."""
        return self._path

    def networks_of(self, service: str) -> dict[str, NetworkUse | None]:
        """The networks that a service is on, its way out first, as Docker chooses it: by name, or who has the highest `gw_priority`.

        If it names none: `default` if the file speaks of that, else docker0.
        """
        s = self.services[service]
        if s.shares or s.network_mode == "none":
            return {}
        on: dict[str, NetworkUse | None] = s.networks or {
            "default" if "default" in self.networks and s.network_mode is None else DEFAULT_NETWORK: None}
        asked = {n: use.gw_priority if use and self.x.host.docker >= 28 else 0 for n, use in on.items()}
        return dict(sorted(on.items(), key=lambda use: (self.network(use[0]).internal, -asked[use[0]], use[0])))

    def macs_of(self, service: str) -> dict[str, str]:
        """The MACs that a service asks for, by networks; its own is for the one of the highest `priority`, or first by name."""
        s, on = self.services[service], self.networks_of(service)
        asked = {n: use.mac_address for n, use in on.items() if use and use.mac_address}
        if s.mac_address and on:
            first = min(on.items(), key=lambda use: (-(use[1].priority if use[1] else 0), use[0]))[0]
            asked.setdefault(first, s.mac_address)
        return asked

    def started(self) -> list[tuple[str, Service]]:
        """Services as Compose starts them: those that depend on none, then those that these are enough for, and so on.

        Raises
        ------
        graphlib.CycleError
        """
        place = {name: i for i, name in enumerate(self.services)}
        order = TopologicalSorter({name: [d for d in s.needs() if d in place] for name, s in self.services.items()})
        order.prepare()
        found: list[tuple[str, Service]] = []
        while order.is_active():
            ready = sorted(order.get_ready(), key=place.__getitem__)
            found += [(name, self.services[name]) for name in ready]
            order.done(*ready)
        return found

    def network(self, name: str) -> Network:
        """A network by name; docker0 need not be declared."""
        return self.networks.get(name, Network())

    def reaches_out(self, service: str) -> bool:
        """Whether a service has a network with a way out."""
        return any(not self.network(n).internal for n in self.networks_of(service))

    def can_publish(self, service: str) -> bool:
        """Whether one of them is a bridge, so that the host's ports can lead to it."""
        return any(not (self.network(n).internal or self.network(n).macvlan) for n in self.networks_of(service))

    def instances(self, service: str) -> list[str]:
        """The namespaces that a service is in: `web`, of several replicas `web-1`, `web-2` and so on; that of whose it shares."""
        s = self.services[service]
        if s.shares:
            return ["host"] if s.shares == "host" else self.instances(s.shares)[:1]
        return [service] if s.replicas == 1 else [f"{service}-{i + 1}" for i in range(s.replicas)]

    def published(self) -> list[tuple[str, str, PublishedPort, int | None]]:
        """(service, container, port, the host port that it gets) of every published port.

        What shares a namespace publishes none. Of several replicas only one can have a certain port: the others get None, and so
        does what is for IPv6.

        Raises
        ------
        ValueError
            As `ports.place`.
        """
        wanted, without = [], []
        for name, s in self.started():
            for k, instance in enumerate([] if s.shares else self.instances(name)):
                for i, item in enumerate(s.ports):
                    for p in item:
                        if k and p.low == p.high or p.is_ipv6:
                            without.append((name, instance, p, None))
                        else:
                            wanted.append(Wanted(f"services.{name}.ports.{i}", instance, p))
        owner = {instance: name for name in self.services for instance in self.instances(name)}
        return [*((owner[w.container], w.container, w.port, host) for w, host in place(wanted)), *without]


def load(path: str | Path, overrides: Sequence[str | Path] = (), settings: Mapping[str, Any] | None = None,
         suggesting: bool = False) -> Compose:
    """Read and check a Compose file.

    Parameters
    ----------
    path : str or Path
    overrides : sequence of str or Path
        Files merged over it in turn, as `docker compose -f a -f b` does.
    settings : mapping, optional
        Single values instead of the file's, by their path (`simcore.docker.settings`).
    suggesting : bool
        Give workloads to a file that has none (`simcore.docker.suggest`).

    Raises
    ------
    ScenarioError
        One line: file, key (or line), what was wrong, what was expected.
    """
    first = path = Path(path)
    over = [Path(other) for other in overrides]
    known = variables(path.parent)
    data = gather(path, over, known)
    path = [path, *over][-1]
    try:
        data, notes = _started(_with_values(data, known), known)
        made_up = None
        if suggesting and not (compose := _validated(path, data)).x.workloads:
            made_up = suggest(compose)
            in_order = {name: made_up["services"].get(name, {}) for name in data["services"]}       # addresses are given by it
            data = merge({**made_up, "services": in_order}, data)
        data = changed(data, settings or {})
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from None
    compose = _validated(path, data)
    compose._path = str(path)
    compose._notes += notes
    if made_up is not None:
        compose._notes.append(f"x-simcore.workloads: there are none, so some were made up: {in_words(made_up)}; "
                              f"`simcore init {first}` prints them, to change")
    return compose


def _started(data: Any, known: Mapping[str, str]) -> tuple[Any, list[str]]:
    """The file without the services that are started only with a profile that is not active, and what there is to say of them."""
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict):
        return data, []
    active = {name.strip() for name in known.get("COMPOSE_PROFILES", "").split(",")}
    left_out = {name: wanted for name, s in data["services"].items()
                if isinstance(s, dict) and isinstance(wanted := s.get("profiles"), list) and wanted
                and "*" not in active and active.isdisjoint(map(str, wanted))}
    notes = [f"services.{name}: not started: it is of profile {' or '.join(map(str, wanted))} (COMPOSE_PROFILES)"
             for name, wanted in left_out.items()]
    return {**data, "services": {name: s for name, s in data["services"].items() if name not in left_out}}, notes


def _validated(path: Path, data: Any) -> Compose:
    try:
        compose = Compose.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(f"{path}: {first_error(error)}") from None
    check(path, compose)
    return compose


def _with_values(data: Any, known: Mapping[str, str]) -> Any:
    """The file with its variables' values, where they concern the network: what else wants to be set need not be here."""
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict):
        return data

    def service(name: str, keys: Any) -> Any:
        if not isinstance(keys, dict):
            return keys
        return {k: v if k in IGNORED_SERVICE_KEYS or k in ("x-simcore", "image") else interpolate(v, known, f"services.{name}.{k}")
                for k, v in keys.items()}

    filled = {"services": {name: service(name, keys) for name, keys in data["services"].items()}}
    if "networks" in data:
        filled["networks"] = interpolate(data["networks"], known, "networks")
    return {**data, **filled}


def check(path: Path, c: Compose) -> None:
    """What one key says of another: names that exist, subnets that do not overlap, ports taken once."""
    def fail(key: str, message: str) -> ScenarioError:
        return ScenarioError(f"{path}: {key}: {message}")

    if not c.services:
        raise fail("services", "expected at least one service")
    if c.x.duration is not None and c.x.warmup and c.x.warmup >= c.x.duration:
        raise fail("x-simcore.warmup", f"{c.x.warmup:g} s leave nothing of {c.x.duration:g} s to measure")
    outside = ipaddress.IPv4Interface(c.x.host.address).network
    subnets: list[tuple[str, ipaddress.IPv4Network]] = []
    pools: dict[str, Pool] = {}
    try:
        configs = network_configs(c)
    except IpamError as error:
        raise ScenarioError(f"{path}: {error}") from None
    for name, config, key in configs:
        try:
            pools[name] = config.pool()
        except IpamError as error:
            raise fail(key, str(error)) from None
        net = pools[name].network
        macvlan = c.network(name).macvlan
        if macvlan:
            if net != outside:
                raise fail(key, f"a macvlan network has the addresses of the host's, {outside} (x-simcore.host.address), not {net}")
            if pools[name].gateway != c.x.router.address.split("/")[0]:
                raise fail(key, f"gateway {pools[name].gateway} is not the router, {c.x.router.address} (x-simcore.router.address)")
        for other, taken in [*subnets, *([] if macvlan else [("the host's network", outside)])]:
            if net.overlaps(taken):
                raise fail(key, f"subnet {net} overlaps {taken} of {other}")
        subnets.append((name, net))
    if ipaddress.IPv4Interface(c.x.router.address).network != outside:
        raise fail("x-simcore.router.address", f"{c.x.router.address} is not on the host's network {c.x.host.address}")
    for name, network in c.networks.items():
        if network is not None and not network.enable_ipv4:
            raise fail(f"networks.{name}.enable_ipv4", "there is IPv4 only, so a network cannot be without it")
    for name, service in c.services.items():
        if service.network_mode and service.networks:
            raise fail(f"services.{name}.network_mode", f"{service.network_mode} and networks exclude each other")
        if service.shares and service.shares != "host" and (service.shares not in c.services or c.services[service.shares].shares):
            raise fail(f"services.{name}.network_mode", f"{service.shares!r} is no service with a network namespace of its own")
        for other, dependency in service.needs().items():
            if other not in c.services and dependency.required:
                key = "depends_on" if other in service.depends_on else "links"      # whose namespace is shared has been looked for
                raise fail(f"services.{name}.{key}", f"there is no service {other!r}, or its profiles are not active")
        for use, options in service.networks.items():
            if use not in pools:
                raise fail(f"services.{name}.networks", f"network {use!r} is not defined; expected one of {', '.join(pools)}")
            if options is not None and options.ipv4_address:
                if service.replicas > 1:
                    raise fail(f"services.{name}.networks.{use}.ipv4_address", f"one address for {service.replicas} replicas")
                try:
                    pools[use].allocate(name, options.ipv4_address)
                except IpamError as error:
                    raise fail(f"services.{name}.networks.{use}.ipv4_address", str(error)) from None
    try:
        c.started()
    except CycleError as error:
        raise fail("services", f"{' depends on '.join(reversed(error.args[1]))}: none of them can be started") from None
    members: dict[str, int] = {}
    for name, service in c.services.items():
        for use in c.networks_of(name):
            asked = service.networks.get(use)
            for instance in c.instances(name):
                members[use] = members.get(use, 0) + 1
                if members[use] > BRIDGE_PORTS and not c.network(use).macvlan:
                    raise fail(f"services.{name}", f"a bridge takes {BRIDGE_PORTS} ports, and network {use} has more containers")
                try:
                    if asked is None or not asked.ipv4_address:
                        pools[use].allocate(instance)
                except IpamError as error:
                    raise fail(f"services.{name}", f"network {use}: {error}") from None
    try:
        published = {(host, p.protocol) for _, _, p, host in c.published()}
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from None
    addresses: dict[str, str] = {}
    for name, server in c.x.servers.items():
        if name in c.services:
            raise fail(f"x-simcore.servers.{name}", "a service has the same name")
        if server.address in addresses:
            raise fail(f"x-simcore.servers.{name}.address", f"{server.address} is the address of {addresses[server.address]}")
        addresses[server.address] = name
        for other, taken in subnets:
            if ipaddress.IPv4Address(server.address) in taken:
                raise fail(f"x-simcore.servers.{name}.address", f"{server.address} lies in {taken} of network {other}")
    for i, event in enumerate(c.x.events):
        if event.move is not None:
            if event.move.to not in c.services:
                raise fail(f"x-simcore.events.{i}.move.to", f"{event.move.to!r} is no service; expected one of {', '.join(c.services)}")
            if not c.instances(event.move.to):
                raise fail(f"x-simcore.events.{i}.move.to", f"{event.move.to} has no replicas")
            if c.services[event.move.to].shares:
                raise fail(f"x-simcore.events.{i}.move.to", f"{event.move.to} has no network namespace of its own")
            if not c.can_publish(event.move.to):
                raise fail(f"x-simcore.events.{i}.move.to", f"{event.move.to} has no bridge with a way out: its ports cannot be published")
            if (event.move.port, event.move.protocol) not in published:
                raise fail(f"x-simcore.events.{i}.move.port", f"no service publishes {event.move.port}/{event.move.protocol}")
    replicas = [(name, instance) for name in c.services for instance in c.instances(name)]
    for name, instance in replicas:
        if instance != name and not c.services[name].shares and (instance in c.services or instance in c.x.servers):
            raise fail(f"services.{name}", f"its replica {instance} has the name of another")
    alone = {n for name, s in c.services.items() if s.network_mode == "none" for n in (name, *c.instances(name))}
    known = [name for name in dict.fromkeys([*c.services, *(i for _, i in replicas), *c.x.servers, "host"])
             if name not in c.services or c.instances(name)]

    def check_end(key: str, end: str, address_too: bool = True) -> None:
        if end in alone:
            raise fail(key, f"{end} has no network (network_mode: none)")
        if end in known:
            return
        try:
            if not address_too:
                raise ValueError
            ipaddress.IPv4Address(end)
        except ValueError:
            kinds = "neither a service, a server nor an address" if address_too else "neither a service nor a server"
            raise fail(key, f"{end!r} is {kinds}; expected one of {', '.join(known)}") from None

    for i, w in enumerate(c.x.workloads):
        check_end(f"x-simcore.workloads.{i}.from", w.source, address_too=False)
        check_end(f"x-simcore.workloads.{i}.to", w.to)
        if isinstance(w, Served):
            for name in w.served_by:
                check_end(f"x-simcore.workloads.{i}.served-by", name, address_too=False)
    for key, name, app in apps(c):
        if name in alone:
            raise fail(key, f"{name} has no network (network_mode: none)")
        for at, call in app.all_calls():
            check_end(f"{key}.calls.{at}.to", call.to)
            for who in call.served_by:
                check_end(f"{key}.calls.{at}.served-by", who, address_too=False)


def apps(c: Compose) -> Iterator[tuple[str, str, AppSpec]]:
    """(key, service or server, application) of all that the file says."""
    for name, service in c.services.items():
        if service.x.app is not None and c.instances(name):
            yield f"services.{name}.x-simcore.app", name, service.x.app
    for name, server in c.x.servers.items():
        if server.app is not None:
            yield f"x-simcore.servers.{name}.app", name, server.app


def network_configs(c: Compose) -> list[tuple[str, IpamConfig, str]]:
    """(name, addresses, key) of every network: docker0 first if a service uses it.

    Those that say no subnet get the next of Docker's that is free.
    """
    given = {name: pool for name, n in c.networks.items() if (pool := n.ipam.first()) is not None}
    lan = ipaddress.IPv4Interface(c.x.host.address).network
    taken = [lan]
    for _, config in given.values():
        with suppress(ValueError):                  # what is no subnet is told of where it is used
            taken.append(ipaddress.IPv4Network(config.subnet))
    free = default_subnets()

    def default(name: str) -> str:
        if name == DEFAULT_NETWORK:
            return DOCKER0
        subnet = next((n for n in free if not any(n.overlaps(t) for t in taken)), None)
        if subnet is None:
            raise IpamError(f"networks.{name}: Docker has no subnet left for it; expected one in its ipam.config")
        return str(subnet)

    def on_the_lan(config: IpamConfig) -> IpamConfig:
        """A macvlan's pool: the router is its gateway unless it says otherwise, and the host's own address is taken."""
        if not _is(config.subnet, lan):
            return config                           # `check` tells why that will not do
        taken = {**config.aux_addresses, "host": str(ipaddress.IPv4Interface(c.x.host.address).ip)}
        return config.model_copy(update={"gateway": config.gateway or c.x.router.address.split("/")[0], "aux_addresses": taken})

    out: list[tuple[str, IpamConfig, str]] = []
    if DEFAULT_NETWORK not in c.networks and any(DEFAULT_NETWORK in c.networks_of(name) for name in c.services):
        out.append((DEFAULT_NETWORK, IpamConfig(subnet=DOCKER0), "networks"))
    for name in c.networks:
        if name in given:
            i, config = given[name]
            out.append((name, on_the_lan(config) if c.networks[name].macvlan else config, f"networks.{name}.ipam.config.{i}.subnet"))
        elif c.networks[name].macvlan:
            out.append((name, on_the_lan(IpamConfig(subnet=str(lan))), f"networks.{name}"))
        else:
            out.append((name, IpamConfig(subnet=default(name)), f"networks.{name}"))
    return out


def _is(subnet: str | None, network: ipaddress.IPv4Network) -> bool:
    with suppress(ValueError):
        return ipaddress.IPv4Network(str(subnet)) == network
    return False
