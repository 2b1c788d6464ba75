import numpy as np

from simcore.engine.calendar import Environment
from simcore.engine.histogram import Histogram
from simcore.net.device import Device

class FrameSource(Device):
    sent: int
    def __init__(self, env: Environment, name: str, rate: float, size: float, rng: np.random.Generator | None = None,
                 exponential: bool = False, source: str = "10.0.0.1", destination: str = "10.0.0.2", port: int = 9,
                 source_port: int = 5000, tos: int = 0, mark: int = 0, start: float = 0.0, stop: float = ...) -> None: ...

class FrameSink(Device):
    packets: int
    bytes: int
    delays: Histogram
    arrivals: list[tuple[float, int, int, float]] | None
    def __init__(self, env: Environment, name: str, ports: int = 1, keep_arrivals: bool = False) -> None: ...

class Reflector(Device):
    def __init__(self, env: Environment, name: str, ports: int = 1) -> None: ...
    def start(self, port: int, size: int = 64) -> None: ...
