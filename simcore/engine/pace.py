"""Simulated time kept in step with the wall clock, so that what is real can take part."""
from __future__ import annotations

import math
import select
import time
from collections.abc import Callable

from simcore.engine.calendar import Environment
from simcore.engine.histogram import Histogram

WAKING = 60e-6
"""Seconds that a process needs to wake up, about: so long before an event is due it sleeps no more."""
LOOK = 0.1
"""Seconds of sleep, at most, until it is looked whether the user wants to stop."""


class Pace:
    """Runs an environment as fast as time passes.

    Between events it sleeps. A descriptor that becomes readable wakes it, and what its callback schedules begins at that
    moment. Where events take longer than the time between them the run falls behind; it then does what is due as fast as it
    can, and `behind` tells how late it was.

    Parameters
    ----------
    env : Environment
    clock : callable
        Seconds, never going back.

    Attributes
    ----------
    behind : Histogram
        Each time that events were due: seconds from when the first of them was due to when all were over.
    """

    def __init__(self, env: Environment, clock: Callable[[], float] = time.monotonic) -> None:
        self.env, self.clock = env, clock
        self.behind = Histogram()
        self.stopped = False
        self._readers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back whenever there is something to read."""
        self._readers[fd] = callback

    def forget(self, fd: int) -> None:
        """No longer."""
        del self._readers[fd]

    def stop(self) -> None:
        """End the run when what is due now is over."""
        self.stopped = True

    def run(self, until: float | None = None, told: Callable[[], None] = lambda: None) -> None:
        """Run until a simulated time, or until `stop`; `told` is called now and then.

        Raises
        ------
        KeyboardInterrupt
            When the environment was interrupted.
        """
        env, end = self.env, math.inf if until is None else until
        began = self.clock() - env.now
        ready: list[int] = []
        while not self.stopped and env.now < end:
            now = min(self.clock() - began, end)
            due = env.peek()
            if now > env.now:
                env.run(until=now)
                while env.peek() <= now:        # what is due at this moment; and `run` leaves the mark of its end behind
                    env.step()
            if due < now:
                self.behind.add(self.clock() - began - due)
            for fd in ready:
                self._readers[fd]()
            told()
            if env.calendar.interrupted:
                raise KeyboardInterrupt
            left = min(env.peek(), end) - (self.clock() - began)
            ready = select.select(list(self._readers), (), (), min(max(left - WAKING, 0.0), LOOK))[0]
