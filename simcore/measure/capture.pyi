from collections.abc import Callable
from typing import Any

from simcore.net.interface import Tap

class CaptureTap(Tap):
    def __init__(self, writer: Any, place: str, test: Callable[[bytes], bool] | None = None, snaplen: int = 0,
                 after: Tap | None = None) -> None: ...

class TraceTap(Tap):
    def __init__(self, tracer: Any, after: Tap | None = None) -> None: ...
