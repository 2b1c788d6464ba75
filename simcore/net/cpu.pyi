from dataclasses import dataclass
from typing import Any

import numpy as np

from simcore.net.namespace import Namespace

@dataclass(frozen=True)
class Costs:
    receive: float = 0.0
    bridge: float = 0.0
    route: float = 0.0
    conntrack: float = 0.0
    nat: float = 0.0
    rule: float = 0.0
    new_flow: float = 0.0
    local: float = 0.0
    byte: float = 0.0
    cold: float = 0.0

class Cpu:
    namespace: Namespace
    costs: Costs
    cores: int
    backlog: int
    shared: bool
    stats: list[dict[str, Any]]
    def __init__(self, namespace: Namespace, costs: Costs, cores: int = 1, backlog: int = 1000, steering: str = "rss",
                 rng: np.random.Generator | None = None) -> None: ...
