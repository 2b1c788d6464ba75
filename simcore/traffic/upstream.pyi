from collections.abc import Sequence
from typing import Any

import numpy as np

from simcore.engine.histogram import Histogram
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution

class Retries:
    def __init__(self, most: int = 0, backoff: Distribution | None = None, rng: np.random.Generator | None = None) -> None: ...

class Upstream:
    namespace: Namespace
    addresses: list[str]
    port: int
    count: int
    most: int
    opened: int
    answered: int
    failed: int
    timeout: float
    retried: int
    errors: dict[str, int]
    waits: Histogram
    times: Histogram
    def __init__(self, namespace: Namespace, addresses: Sequence[str], port: int, request: Distribution, response: Distribution,
                 rng: np.random.Generator, count: int = 1, pool: int = 0, per_connection: int = 0,
                 timeout: float = 0.0, retries: Retries | None = None, **options: Any) -> None: ...
    def forget_times(self) -> None: ...
    def counts(self) -> dict[str, float]: ...
