from collections.abc import Sequence
from typing import Any

import numpy as np

from simcore.engine.histogram import Histogram
from simcore.net.namespace import Namespace
from simcore.traffic.distributions import Distribution
from simcore.traffic.upstream import Upstream
from simcore.transport.tcp import TcpListener

class Server:
    namespace: Namespace
    listener: TcpListener
    workers: int
    asynchronous: bool
    calls: tuple[tuple[Upstream, ...], ...]
    requests: int
    answered: int
    failed: int
    waits: Histogram
    times: Histogram
    def __init__(self, namespace: Namespace, port: int, service: Distribution | None = None, rng: np.random.Generator | None = None,
                 workers: int = 0, asynchronous: bool = False, calls: Sequence[Upstream | Sequence[Upstream]] = (), connections: int = 0,
                 **options: Any) -> None: ...
    def forget_times(self) -> None: ...
    def counts(self) -> dict[str, float]: ...
