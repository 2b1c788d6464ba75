from simcore.engine.calendar import Calendar, Environment, Handler

class Wire(Handler): ...

class Device(Handler):
    name: str
    calendar: Calendar
    ports: list[Wire | None]

class PythonDevice(Device):
    env: Environment
    def __init__(self, env: Environment, name: str, ports: int = 2) -> None: ...
    def on_frame(self, frame: bytes, port: int) -> None: ...
    def transmit(self, frame: bytes, port: int) -> None: ...
