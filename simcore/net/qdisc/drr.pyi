from collections.abc import Mapping, Sequence
from typing import Any

from simcore.net.qdisc.base import Qdisc

class Drr(Qdisc):
    classes: dict[str, Qdisc]
    def __init__(self, classes: Mapping[str, Mapping[str, Any]], filters: Sequence[Mapping[str, Any]] = (),
                 default: str | None = None) -> None: ...

class Sfq(Qdisc):
    def __init__(self, seed: int = 0, limit: int = 127, quantum: int = 1514, divisor: int = 1024, depth: int = 127,
                 headdrop: bool = False, perturb: float = 0.0) -> None: ...
