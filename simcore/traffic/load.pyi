from collections.abc import Sequence
from typing import Any

import numpy as np
import simpy

from simcore.engine.histogram import Histogram
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution
from simcore.traffic.upstream import Retries, Upstream

class Clients:
    started: int
    finished: int
    failed: int
    retried: int
    connections: int
    response_bytes: int
    times: Histogram
    errors: dict[str, int]
    finished_event: simpy.Event
    def __init__(self, namespace: Namespace, stop: float = ..., most: int = 0, timeout: float = 0.0) -> None: ...
    def forget_times(self) -> None: ...
    def waiting(self) -> list[float]: ...

class LoadClients(Clients):
    def __init__(self, namespace: Namespace, addresses: Sequence[str], port: int, users: int, think: Distribution,
                 request: Distribution, response: Distribution, rng: np.random.Generator, per_connection: int = 0,
                 start: float = 0.0, stop: float = ..., most: int = 0, timeout: float = 0.0, retries: Retries | None = None,
                 **options: Any) -> None: ...

class Arrivals(Clients):
    def __init__(self, namespace: Namespace, upstream: Upstream, rate: float, rng: np.random.Generator | None = None,
                 start: float = 0.0, stop: float = ..., most: int = 0) -> None: ...
