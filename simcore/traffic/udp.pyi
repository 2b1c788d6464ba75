import numpy as np

from simcore.engine.calendar import Handler
from simcore.net.namespace import Endpoint, Namespace

class UdpSource(Handler):
    sent: int
    def __init__(self, namespace: Namespace, address: str, port: int, source_port: int, rate: float, size: int,
                 rng: np.random.Generator | None = None, start: float = 0.0, stop: float = ...) -> None: ...

class UdpSink(Endpoint):
    packets: int
    bytes: int
    delay_sum: float
    delay_max: float
    delay_min: float
    mean_delay: float | None
    def __init__(self, namespace: Namespace, port: int) -> None: ...
