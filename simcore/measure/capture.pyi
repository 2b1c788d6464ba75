from collections.abc import Callable
from typing import Any

from natfast.blocks import BlockBuffer
from natfast.capture import PcapngWriter
from simcore.net.interface import Tap

class CaptureTap(Tap):
    def __init__(self, writer: PcapngWriter, buffer: BlockBuffer, place: str, test: Callable[[bytes], bool] | None = None,
                 snaplen: int = 0, after: Tap | None = None) -> None: ...

class FrameTap(Tap):
    def __init__(self, seen: Callable[[float, bytes, bool], Any], after: Tap | None = None) -> None: ...

class TraceTap(Tap):
    def __init__(self, tracer: Any, after: Tap | None = None) -> None: ...
