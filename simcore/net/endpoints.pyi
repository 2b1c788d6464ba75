from collections.abc import Iterator

from simcore.engine.calendar import Handler

class Endpoint(Handler):
    protocol: int
    local_ip: int
    local_port: int
    remote_ip: int
    remote_port: int
    mark: int

class Endpoints:
    waiting: set[Endpoint]
    def __iter__(self) -> Iterator[Endpoint]: ...
    def register(self, e: Endpoint) -> None: ...
    def unregister(self, e: Endpoint) -> None: ...
    def ephemeral_port(self, protocol: int, local: int, remote: int, rport: int, low: int, high: int) -> int: ...
