from typing import Any

import simpy

from simcore.net.namespace import Endpoint, Namespace

STATES: tuple[str, ...]

class TcpSocket(Endpoint):
    mss: int
    cwnd: float
    ssthresh: float
    srtt: float
    rttvar: float
    rto: float
    retransmits: int
    segments_in: int
    bytes_in: int
    bytes_out: int
    flow: int
    state: str
    inflight: int
    local: tuple[str, int]
    remote: tuple[str, int]
    def __init__(self, namespace: Namespace, port: int = 0, rcvbuf: int = ..., sndbuf: int = ..., nodelay: bool = False) -> None: ...
    def connect(self, address: str, port: int) -> simpy.Event: ...
    def send(self, data: bytes | int) -> simpy.Event: ...
    def recv(self, size: int = 65536) -> simpy.Event: ...
    def recv_count(self, size: int = ...) -> simpy.Event: ...
    def close(self) -> simpy.Event: ...
    def abort(self) -> None: ...

class TcpListener(Endpoint):
    backlog: int
    overflows: int
    half_open: set[TcpSocket]
    def __init__(self, namespace: Namespace, port: int, backlog: int = 4096, **options: Any) -> None: ...
    def accept(self) -> simpy.Event: ...
    def close(self) -> None: ...
