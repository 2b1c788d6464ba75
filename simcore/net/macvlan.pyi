from simcore.engine.calendar import Environment
from simcore.net.device import Device
from simcore.net.interface import Interface
from simcore.net.link import Link
from simcore.net.namespace import Namespace

class Macvlan(Device):
    def __init__(self, env: Environment, name: str, owner: Namespace, interface: str, wire: Link) -> None: ...
    def add(self, interface: Interface) -> int: ...
