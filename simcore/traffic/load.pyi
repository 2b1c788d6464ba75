from collections.abc import Sequence
from typing import Any

import numpy as np
import simpy

from simcore.engine.histogram import Histogram
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution

class LoadClients:
    started: int
    finished: int
    failed: int
    connections: int
    response_bytes: int
    times: Histogram
    errors: dict[str, int]
    finished_event: simpy.Event
    def __init__(self, namespace: Namespace, addresses: Sequence[str], port: int, users: int, think: Distribution,
                 request: Distribution, response: Distribution, rng: np.random.Generator, per_connection: int = 0,
                 start: float = 0.0, stop: float = ..., most: int = 0, **options: Any) -> None: ...
    def forget_times(self) -> None: ...
    def waiting(self) -> list[float]: ...
