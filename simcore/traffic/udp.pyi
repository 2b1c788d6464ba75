from typing import Any

import numpy as np

from simcore.engine.calendar import Handler
from simcore.net.endpoints import Endpoint
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution

class Datagrams(Handler):
    sent: int

class UdpSource(Datagrams):
    def __init__(self, namespace: Namespace, address: str, port: int, source_port: int, rate: float, size: int,
                 rng: np.random.Generator | None = None, start: float = 0.0, stop: float = ..., on: Distribution | None = None,
                 off: Distribution | None = None, pauses: np.random.Generator | None = None) -> None: ...

class TraceSource(Datagrams):
    def __init__(self, namespace: Namespace, address: str, port: int, source_port: int, times: Any, sizes: Any,
                 start: float = 0.0) -> None: ...

class UdpSink(Endpoint):
    packets: int
    bytes: int
    delay_sum: float
    delay_max: float
    delay_min: float
    mean_delay: float | None
    def __init__(self, namespace: Namespace, port: int) -> None: ...
