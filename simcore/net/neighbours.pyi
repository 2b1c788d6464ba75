from collections.abc import Mapping
from typing import Any

class Neighbour: ...

class ArpCache:
    gc_thresh1: int
    gc_thresh2: int
    gc_thresh3: int
    peak: int
    overflows: int
    def __init__(self, sysctl: Mapping[str, Any] | None = None) -> None: ...
    def __len__(self) -> int: ...
