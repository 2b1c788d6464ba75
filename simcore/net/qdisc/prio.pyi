from collections.abc import Mapping, Sequence
from typing import Any

from simcore.net.qdisc.base import Qdisc

PRIOMAP: tuple[int, ...]

class Prio(Qdisc):
    bands: list[Qdisc]
    def __init__(self, bands: int | Sequence[Qdisc] = 3, priomap: Sequence[int] = ...,
                 filters: Sequence[Mapping[str, Any]] = ()) -> None: ...
