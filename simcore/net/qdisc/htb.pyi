from collections.abc import Mapping, Sequence
from typing import Any

from simcore.net.qdisc.base import Qdisc

class HtbClass:
    name: str
    sent: int
    lends: int
    borrows: int
    qdisc: Qdisc | None

class Htb(Qdisc):
    classes: dict[str, HtbClass]
    def __init__(self, classes: Mapping[str, Mapping[str, Any]], filters: Sequence[Mapping[str, Any]] = (), default: str | None = None,
                 r2q: float = 10) -> None: ...
