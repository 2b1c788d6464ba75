from simcore.engine.calendar import Environment
from simcore.net.device import Device
from simcore.net.interface import Interface

def open_tap(name: str) -> int: ...

class TapPort(Device):
    fd: int
    refused: int
    def __init__(self, env: Environment, interface: Interface, fd: int) -> None: ...
    def take(self) -> None: ...
