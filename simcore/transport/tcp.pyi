from typing import Any

import simpy

from simcore.net.endpoints import Endpoint
from simcore.net.namespace import Namespace

STATES: tuple[str, ...]
RECOVERY_STATES: tuple[str, ...]

class TcpSocket(Endpoint):
    mss: int
    cwnd: float
    ssthresh: float
    srtt: float
    rttvar: float
    rto: float
    min_rtt: float
    retransmits: int
    spurious: int
    dsacks: int
    segments_in: int
    bytes_in: int
    bytes_out: int
    bytes_acked: int
    state: str
    recovery: str
    congestion: str
    inflight: int
    local: tuple[str, int]
    remote: tuple[str, int]
    limited: dict[str, float]
    history: list[tuple[float, float, float, float, float, int, str]] | None
    def __init__(self, namespace: Namespace, port: int = 0, rcvbuf: int | None = None, sndbuf: int | None = None, nodelay: bool = False,
                 congestion: str | None = None, ecn: bool | None = None, pacing: bool = False,
                 keepalive: tuple[float, float, int] | None = None, discard: bool = False, app: Any = None) -> None: ...
    def connect(self, address: str, port: int) -> simpy.Event: ...
    def send(self, data: bytes | int) -> simpy.Event: ...
    def recv(self, size: int = 65536) -> simpy.Event: ...
    def recv_count(self, size: int = ...) -> simpy.Event: ...
    def close(self) -> simpy.Event: ...
    def abort(self) -> None: ...
    def record(self) -> None: ...

class TcpListener(Endpoint):
    backlog: int
    overflows: int
    half_open: set[TcpSocket]
    most: int
    taken: int
    def __init__(self, namespace: Namespace, port: int, backlog: int = 4096, address: str = "", app: Any = None, most: int = 0,
                 **options: Any) -> None: ...
    def accept(self) -> simpy.Event: ...
    def close(self) -> None: ...
