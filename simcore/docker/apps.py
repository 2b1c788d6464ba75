"""Applications as the scenario file describes them: how a service works on what it is asked, and whom it asks for that."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from simcore.docker.model import INT_MAX, Count, Durations, Model, Names, Patience, Port, Sizes
from simcore.traffic.distributions import Distribution

KeepAlive = Annotated[int, Field(ge=0, le=INT_MAX)] | bool
"""Whether a connection is kept for more requests; or for how many."""


def per_connection(keep_alive: int | bool) -> int:
    """Requests that a connection carries; 0 for no end."""
    return (0 if keep_alive else 1) if isinstance(keep_alive, bool) else keep_alive


class Answered(Model):
    """Something that somebody has to answer, or count: who has the address, unless it is said who."""

    served_by: Names = Field(default=[], alias="served-by")
    server_port: Port | None = Field(default=None, alias="server-port")


class Asked(Model):
    """Something that is asked for until it is answered, or has failed too often."""

    timeout: Patience | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    backoff: Durations | None = None


class CallSpec(Asked, Answered):
    """What an application asks of another for each request."""

    to: str
    port: Port
    count: Count = 1
    request_size: Sizes = Field(default=Distribution(200), alias="request-size")
    response_size: Sizes = Field(default=Distribution(4_000), alias="response-size")
    keep_alive: KeepAlive = Field(default=True, alias="keep-alive")
    pool: Count | None = None


def _one_or_more(value: Any) -> str:
    return "list[call]" if isinstance(value, list) else "dict[call]"


# tags as pydantic's names of types, which errors do not mention
Stage = Annotated[Annotated[CallSpec, Tag("dict[call]")] | Annotated[list[CallSpec], Field(min_length=1), Tag("list[call]")],
                  Discriminator(_one_or_more)]
"""A call, or calls that are made side by side."""


class AppSpec(Model):
    """One that listens at a port."""

    port: Port = 80
    service: Durations = Distribution(0)
    workers: Count | None = None
    asynchronous: bool = Field(default=False, alias="async")
    connections: Count | None = None
    backlog: Count = 4096
    calls: list[Stage] = []

    def stages(self) -> Iterator[list[tuple[str, CallSpec]]]:
        """(key below `calls`, call) of those that are made side by side."""
        for i, stage in enumerate(self.calls):
            yield [(f"{i}.{k}", call) for k, call in enumerate(stage)] if isinstance(stage, list) else [(str(i), stage)]

    def all_calls(self) -> Iterator[tuple[str, CallSpec]]:
        """(key below `calls`, call) of all."""
        for stage in self.stages():
            yield from stage
