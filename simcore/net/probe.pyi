from simcore.engine.calendar import Environment
from simcore.net.device import Device

class Collector(Device):
    frames: list[tuple[int, bytes]]
    def __init__(self, env: Environment, name: str, ports: int) -> None: ...

def inject(device: Device, port: int, frame: bytes) -> None: ...
