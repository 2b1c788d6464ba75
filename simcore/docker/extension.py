"""What `x-simcore` says: what a Compose file does not say of links, servers, the host, and what happens."""
from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from natfast.errors import NatfastError
from simcore.docker.apps import AppSpec
from simcore.docker.ipam import DOCKER0
from simcore.docker.iptables import Bridge, docker_rules, with_lines
from simcore.docker.links import LinkChange, Links, LinkSpec
from simcore.docker.model import Address, Cidr, Count, Model, Port, Seconds, Size
from simcore.docker.workloads import OneOfThem
from simcore.net import presets, sysctl
from simcore.net.cpu import Costs


class PortMove(Model):
    """A published port leads to another container."""

    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    to: str


class ConntrackFilter(Model):
    """Entries of the host's table by their original tuple; those that have all that is given."""

    protocol: Literal["tcp", "udp", "icmp"] | None = None
    src: Address | None = None
    dst: Address | None = None
    sport: Port | None = None
    dport: Port | None = None


class Event(Model):
    """Something that happens to a link or the host while the run goes on."""

    at: Seconds
    link: str | None = None
    set: LinkChange | None = None
    state: Literal["up", "down"] | None = None
    move: PortMove | None = None
    iptables: RuleLines = []
    conntrack_delete: ConntrackFilter | None = Field(default=None, alias="conntrack-delete")

    @model_validator(mode="after")
    def _one(self) -> Event:
        if sum((self.set is not None, self.state is not None, self.move is not None, bool(self.iptables),
                self.conntrack_delete is not None)) != 1:
            raise ValueError("an event needs one of 'set', 'state', 'move', 'iptables' and 'conntrack-delete'")
        if (self.set is not None or self.state is not None) != (self.link is not None):
            raise ValueError("'link' comes with 'set' or 'state', and only with them")
        return self


class CpuSpec(Model):
    """The time that the host's cores take for packets."""

    preset: str = "linux-6.18"
    costs: dict[str, Annotated[float, Field(ge=0)]] = {}
    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    backlog: Count = 1000
    steering: Literal["rss", "shared"] = "rss"

    def build(self) -> Costs:
        """The preset with what `costs` changes.

        Raises
        ------
        ScenarioError
            If the preset does not exist.
        """
        return replace(presets.load(self.preset), **self.costs)

    @field_validator("costs")
    @classmethod
    def _names(cls, value: dict[str, float]) -> dict[str, float]:
        known = [f.name for f in fields(Costs)]
        for key in value:
            if key not in known:
                raise ValueError(f"{key}: unknown, expected {', '.join(known)} (nanoseconds)")
        return value


def _rules(value: list[str]) -> list[str]:
    """Lines of iptables, tried on the rules that Docker writes."""
    try:
        with_lines(docker_rules([Bridge("docker0", DOCKER0)], []), value)
    except NatfastError as error:
        raise ValueError(str(error)) from None
    return value


RuleLines = Annotated[list[str], AfterValidator(_rules)]


def _settings(values: dict[str, float | str]) -> dict[str, float | str]:
    sysctl.check(values)
    return values


def _known_settings(values: dict[str, float | str]) -> dict[str, float | str]:
    sysctl.check({name: value for name, value in values.items() if sysctl.known(name)})
    return values


Sysctls = Annotated[dict[str, float | str], AfterValidator(_settings)]
SysctlsAmongOthers = Annotated[dict[str, float | str], AfterValidator(_known_settings)]
"""A container may have settings that mean nothing here; those that do must make sense."""


class HostSpec(Model):
    """The Docker host."""

    interface: str = "eth0"
    address: Cidr = "192.168.1.100/24"
    docker: Literal[27, 28] = 27        # the release as of which Docker's rules are: up to 27, or since 28
    userland_proxy: bool = Field(default=True, alias="userland-proxy")
    bridge_nf_call_iptables: bool = Field(default=True, alias="bridge-nf-call-iptables")
    sysctls: Sysctls = {}
    iptables: RuleLines = []
    cpu: CpuSpec | None = None


class RouterSpec(Model):
    """The router between the host and the servers; `mtu` of its interfaces to the servers."""

    address: Cidr = "192.168.1.1/24"
    mtu: Annotated[int, Field(ge=68, le=65535)] = 1500
    iptables: RuleLines = []


class HttpServer(Model):
    """An HTTP server."""

    port: Port = 80
    body: str = ""
    size: Size | None = None
    think: Seconds = 0.0


class ServerSpec(Model):
    """A machine beyond the router."""

    address: Address
    prefix: Annotated[int, Field(ge=8, le=30)] = 24
    http: HttpServer | None = None
    app: AppSpec | None = None
    sysctls: Sysctls = {}
    link: LinkSpec | None = None


class ServiceExtension(Model):
    """`x-simcore` of a service."""

    http: HttpServer | None = None
    app: AppSpec | None = None
    link: LinkSpec | None = None


class Extension(Model):
    """The file's `x-simcore`."""

    duration: Seconds | None = None
    warmup: Seconds = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    host: HostSpec = HostSpec()
    router: RouterSpec = RouterSpec()
    links: Links = Links()
    servers: dict[str, ServerSpec] = {}
    events: list[Event] = []
    workloads: list[OneOfThem] = []
