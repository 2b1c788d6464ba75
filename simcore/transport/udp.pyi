import simpy

from simcore.net.endpoints import Endpoint
from simcore.net.namespace import Namespace

class UdpSocket(Endpoint):
    limit: int
    received: int
    received_bytes: int
    dropped: int
    def __init__(self, namespace: Namespace, port: int = 0, address: str | None = None, limit: int = 256) -> None: ...
    def sendto(self, data: bytes | int, address: str, port: int, ttl: int | None = None) -> None: ...
    def recvfrom(self) -> simpy.Event: ...
    def close(self) -> None: ...
