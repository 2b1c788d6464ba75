from typing import Any

from simcore.engine.calendar import Calendar, Environment, Handler

class Device(Handler):
    name: str
    calendar: Calendar
    ports: list[Link | None]

class PythonDevice(Device):
    env: Environment
    def __init__(self, env: Environment, name: str, ports: int = 2) -> None: ...
    def on_frame(self, frame: bytes, port: int) -> None: ...
    def transmit(self, frame: bytes, port: int) -> None: ...

class Link(Handler):
    name: str
    rate: float
    latency: float
    limit: int
    packets: int
    bytes: int
    dropped: int
    waited: float
    up: bool
    in_flight: int
    queued: int
    def __init__(self, env: Environment, name: str, sink: Device, sink_port: int, rate: float = 0.0, latency: float = 0.0,
                 limit: int = 1000) -> None: ...

def wire(env: Environment, a: Device, port_a: int, b: Device, port_b: int, rate: float = 0.0, latency: float = 0.0,
         limit: int = 1000, rate_back: float | None = None, limit_back: int | None = None) -> tuple[Link, Link]: ...
def __getattr__(name: str) -> Any: ...
