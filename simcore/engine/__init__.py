"""The clock: SimPy's environment over a compiled calendar, frames, random streams."""
from simcore.engine.calendar import Environment
from simcore.engine.random import Streams

__all__ = ["Environment", "Streams"]
