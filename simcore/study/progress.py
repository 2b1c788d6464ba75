"""How far one has come, on stderr, when it takes longer than two seconds."""
from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from simcore.engine import Environment

FIRST = 2.0
"""Seconds of wall time before anything is said."""


class StatusLine:
    """On a terminal one line, rewritten twice a second; elsewhere a plain line every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.began = time.monotonic()
        self.next = self.began + FIRST
        self.shown = False

    def show(self, text: Callable[[float], str]) -> None:
        """Say `text(seconds since the beginning)`, if it is time to say something."""
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (0.5 if self.live else 10.0)
        self.shown = True
        self.stream.write(("\r\x1b[K" if self.live else "") + f"simcore: {text(now - self.began)}" + ("" if self.live else "\n"))
        self.stream.flush()

    def clear(self) -> None:
        """Leave the terminal as it was."""
        if self.shown and self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


@contextmanager
def told(wanted: bool, text: Callable[[float], str]) -> Iterator[Callable[[], None]]:
    """Something to call whenever there is news: it says `text(seconds)` if it is `wanted` and time to."""
    status = StatusLine()
    try:
        yield (lambda: status.show(text)) if wanted else (lambda: None)
    finally:
        status.clear()


class Progress:
    """Tells simulated time, events per second and the time left of a run.

    Parameters
    ----------
    env : Environment
    limit : float or None
        Simulated seconds at which the run ends, None if nobody knows.
    """

    def __init__(self, env: Environment, limit: float | None, stream: TextIO | None = None) -> None:
        self.env, self.limit = env, limit
        self.status = StatusLine(stream)
        self.started_at = env.now
        self.executed = env.calendar.executed

    def __enter__(self) -> Progress:
        self.env.calendar.watcher = self.look
        return self

    def __exit__(self, *rest: object) -> None:
        self.env.calendar.watcher = None
        self.status.clear()

    def look(self) -> None:
        """Say something if it is time to."""
        self.status.show(self.line)

    def line(self, wall: float) -> str:
        """The text after `wall` seconds."""
        done = self.env.now - self.started_at
        rate = (self.env.calendar.executed - self.executed) / wall
        text = f"{self.env.now:.3f} s simulated"
        if self.limit is not None and done > 0:
            left = (self.limit - self.env.now) / done * wall
            text += f" of {self.limit:g} ({100 * self.env.now / self.limit:.0f} %), {left:.0f} s left"
        return text + f", {rate / 1e6:.2f} M events/s"


@contextmanager
def stop_between_events(env: Environment) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt when the event at hand is over, not in its middle."""
    if threading.current_thread() is not threading.main_thread():
        yield                           # only the main thread is told of signals
        return

    def stop(number: int, frame: object) -> None:
        env.calendar.interrupted = True
        env.calendar.wake = True
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        env.calendar.interrupted = False
