"""Workloads as the scenario file describes them: each kind has keys of its own."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from simcore.docker.apps import Answered, Asked, KeepAlive
from simcore.docker.model import Count, Durations, Model, Patience, Port, Seconds, Size, Sizes
from simcore.traffic.distributions import Distribution


class Workload(Model):
    """Traffic from one place to another."""

    kind: str
    source: str = Field(alias="from")
    to: str
    start: Seconds = 0.0
    stop: Seconds | None = None

    @property
    def asked_port(self) -> int | None:
        """The port that it is sent to, if the file says one."""
        port: int | None = getattr(self, "port", None)
        return port


class Repeated(Workload):
    """Something that is done so many times, or until it is to stop; else once."""

    count: Count | None = None
    interval: Seconds = 1.0

    @model_validator(mode="after")
    def _ends(self) -> Repeated:
        if self.count is None and self.stop is not None and not self.interval:
            raise ValueError("without an interval it would never get on: expected 'count' or 'interval'")
        return self


class Served(Answered, Workload):
    """One that somebody has to answer, or count."""


class HttpWorkload(Repeated):
    """Requests, each on a connection of its own."""

    kind: Literal["http"]
    port: Port | None = None
    path: str = "/"
    source_port: Port | None = Field(default=None, alias="source-port")


class PingWorkload(Repeated):
    """ICMP echo requests."""

    kind: Literal["ping"]
    size: Annotated[Size, Field(le=65507)] = 56


class DnsWorkload(Repeated, Served):
    """Lookups of a name, as glibc's resolver makes them."""

    kind: Literal["dns"]
    port: Port | None = None
    name: str | None = None
    timeout: Patience = 5.0
    attempts: Count = 2
    options: list[Literal["single-request", "single-request-reopen"]] = []
    service: Seconds = 0.0
    source_port: Port | None = Field(default=None, alias="source-port")


class LoadWorkload(Asked, Served):
    """A closed loop of users: each asks, waits for the answer, and thinks; or requests at a rate (requests/s), an open loop."""

    kind: Literal["load"]
    port: Port
    users: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    think: Durations = Distribution(0)
    request_size: Sizes = Field(default=Distribution(200), alias="request-size")
    response_size: Sizes = Field(default=Distribution(10_000), alias="response-size")
    keep_alive: KeepAlive = Field(default=True, alias="keep-alive")
    service: Seconds = 0.0
    requests: Count | None = None
    tcp_keepalive: Seconds | None = Field(default=None, alias="tcp-keepalive")
    rate: Annotated[float, Field(gt=0, le=1e9)] | None = None
    pattern: Literal["poisson", "constant"] = "poisson"
    pool: Count | None = None

    @model_validator(mode="after")
    def _open_or_closed(self) -> LoadWorkload:
        others = ("users", "think") if self.rate is not None else ("pattern", "pool")
        if given := [key for key in others if key in self.model_fields_set]:
            raise ValueError(f"'{given[0]}' is of users, who wait for answers, and 'rate' of requests that do not" if self.rate is not None
                             else f"'{given[0]}' comes with 'rate'")
        return self


class BulkWorkload(Workload):
    """TCP, as fast as it goes: so many bytes, or until it is to stop."""

    kind: Literal["bulk"]
    port: Port
    size: Size | None = None
    flows: Annotated[int, Field(ge=1, le=65535)] = 1
    congestion: Literal["cubic", "linux-cubic", "reno", "dctcp", "bbr"] | None = None


class DatagramWorkload(Served):
    """UDP that nobody answers."""

    port: Port
    source_port: Port | None = Field(default=None, alias="source-port")


class UdpWorkload(DatagramWorkload):
    """Datagrams at a rate (packets/s), perhaps with pauses."""

    kind: Literal["udp"]
    rate: Annotated[float, Field(gt=0, le=1e9)]
    size: Annotated[Size, Field(ge=42, le=1514)] = 1000         # on the wire
    pattern: Literal["poisson", "constant"] = "poisson"
    on: Durations | None = None
    off: Durations | None = None

    @model_validator(mode="after")
    def _both(self) -> UdpWorkload:
        if (self.on is None) != (self.off is None):
            raise ValueError("'on' and 'off' come together (seconds of sending and of silence)")
        return self


class TraceWorkload(DatagramWorkload):
    """Datagrams at the times and of the sizes of a capture, or of CSV lines of time,bytes."""

    kind: Literal["trace"]
    file: Path


AnyWorkload = HttpWorkload | PingWorkload | DnsWorkload | LoadWorkload | BulkWorkload | UdpWorkload | TraceWorkload
KINDS = tuple(get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(AnyWorkload))


def _known(value: Any) -> Any:
    if isinstance(value, dict) and value.get("kind") not in KINDS:
        raise ValueError(f"kind: {value['kind']!r}, expected one of {', '.join(KINDS)}" if "kind" in value
                         else f"expected a kind: {', '.join(KINDS)}")
    return value


OneOfThem = Annotated[AnyWorkload, Field(discriminator="kind"), BeforeValidator(_known)]
"""As one of the file's list."""
