from collections.abc import Callable
from typing import Any, Literal

import simpy

PACKET: int

class Handler: ...

class Calendar:
    now: float
    wake: bool
    executed: int
    simpy_driven: bool
    interrupted: bool
    watcher: Callable[[], None] | None
    def peek(self) -> float: ...
    def run_before(self, limit: float) -> None: ...
    def check(self) -> None: ...

class Environment(simpy.Environment):
    engine: str
    calendar: Calendar
    handlers: list[Any]
    def __init__(self, initial_time: float = 0, engine: Literal["compiled", "simpy"] | str = "compiled") -> None: ...
