from simcore.engine.calendar import Environment
from simcore.engine.histogram import Histogram
from simcore.net.device import Device, Wire
from simcore.net.netem import Netem
from simcore.net.qdisc.base import Qdisc

class Link(Wire):
    name: str
    rate: float
    latency: float
    limit: int
    packets: int
    bytes: int
    dropped: int
    lost: int
    waited: float
    up: bool
    in_flight: int
    queued: int
    queue_seconds: float
    busy_seconds: float
    qdisc: Qdisc | None
    netem: Netem | None
    delays: Histogram | None
    def __init__(self, env: Environment, name: str, sink: Device, sink_port: int, rate: float = 0.0, latency: float = 0.0,
                 limit: int = 1000, qdisc: Qdisc | None = None, netem: Netem | None = None) -> None: ...
    def set(self, *, rate: float = ..., latency: float = ..., limit: int = ..., qdisc: Qdisc = ..., netem: Netem | None = ...) -> None: ...
    sink: Device
    sink_port: int
    def reconnect(self, sink: Device, port: int) -> None: ...
    def down(self) -> None: ...
    def up_again(self) -> None: ...

def wire(env: Environment, a: Device, port_a: int, b: Device, port_b: int, rate: float = 0.0, latency: float = 0.0,
         limit: int = 1000, rate_back: float | None = None, limit_back: int | None = None) -> tuple[Link, Link]: ...
def plug(device: Device, port: int, link: Link) -> None: ...
