from heapq import heappush

import simpy
from simpy.core import Environment as _SimpyEnvironment
from simpy.events import NORMAL

from simcore.errors import ScenarioError

from simcore.engine.events cimport Event, queue_first, queue_free, queue_init, queue_place, queue_pop, queue_push, queue_size

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    LOOK = 0x3FFF               # packet events between two looks at the world outside, less one
    STANDSTILL = 500            # looks at one moment

PACKET = 2
"""Priority of packet events in SimPy's queue: after URGENT (0) and NORMAL (1)."""


cdef class Handler:
    cdef void fire(self, uint64_t token) noexcept:
        pass

    cdef void prepare(self) noexcept:
        """An event's turn comes soon: ask for the memory that `fire` will touch, and change nothing."""


cdef class Calendar:
    """Packet events in time order.

    With ``engine="compiled"`` they lie in an `EventQueue` here; with ``engine="simpy"`` each is an event in
    SimPy's own queue. `seq` breaks ties either way, so both engines take them in the same order.
    """

    def __cinit__(self, environment, bint simpy_driven=False, double now=0.0):
        self.environment = environment
        self.simpy_driven = simpy_driven
        self.now = now
        queue_init(&self.queue)

    def __dealloc__(self):
        queue_free(&self.queue)

    cdef void at(self, double time, Handler handler, uint64_t token) noexcept:
        """Call `handler.fire(token)` at `time`."""
        self.push(time, self.next_seq(), handler, token)

    cdef void push(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept:
        """The same at a place in the order that was taken before."""
        if not queue_place(&self.queue, time, seq, <void*>handler, token):
            self.push_slow(time, seq, handler, token)

    cdef void push_slow(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept:
        cdef Event e
        if self.simpy_driven:                       # then the queue has no bucket
            self.push_simpy(time, seq, handler, token)
            return
        e.time = time
        e.seq = seq
        e.handler = <void*>handler
        e.token = token
        queue_push(&self.queue, &e)

    cdef void push_simpy(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept:
        event = PacketEvent(self.environment, handler, token)
        heappush(self.environment._queue, (time, PACKET, seq, event))

    cdef void fail(self, object error) noexcept:
        """Stop the run with an exception raised by Python code that a device called."""
        if self.error is None:
            self.error = error
        self.wake = True

    def peek(self):
        """Time of the next packet event, infinity if there is none."""
        return queue_first(&self.queue)

    def run_before(self, double limit):
        """Run packet events earlier than `limit`, until one wakes SimPy."""
        cdef Event e
        self.wake = False
        while queue_pop(&self.queue, limit, &e):
            self.now = e.time
            self.executed += 1
            (<Handler>e.handler).fire(e.token)
            if self.executed & LOOK == 0:
                self.look()
            if self.wake:
                break
        self.check()

    def look(self):
        """Now and then: has the user pressed Ctrl-C, does time move; tell whoever watches the run.

        Raises
        ------
        ScenarioError
            If many millions of events in a row were at one moment: senders on a path without rate and latency never end.
        """
        PyErr_CheckSignals()
        if self.interrupted:
            raise KeyboardInterrupt
        self.still = self.still + 1 if self.now == self.looked_at else 0
        self.looked_at = self.now
        if self.still > STANDSTILL:
            raise ScenarioError(f"time stands still at {self.now:g} s, after {self.still * (LOOK + 1)} events at this moment: "
                                "is there a path whose links have neither rate nor latency?")
        if self.watcher is not None:
            self.watcher()

    def check(self):
        """Raise what a device's Python code raised."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error


cdef class _Fire:
    cdef Handler handler
    cdef uint64_t token
    cdef Calendar calendar

    def __init__(self, Handler handler, uint64_t token, Calendar calendar):
        self.handler = handler
        self.token = token
        self.calendar = calendar

    def __call__(self, event):
        self.calendar.executed += 1
        if self.calendar.executed & LOOK == 0:
            self.calendar.look()
        self.handler.fire(self.token)
        self.calendar.check()


class PacketEvent(simpy.Event):
    """A packet event as SimPy sees it in the readable engine."""

    def __init__(self, env, handler, token):
        self.env = env
        self.callbacks = [_Fire(handler, token, env.calendar)]
        self._ok = True
        self._value = None
        self._defused = False


class Environment(_SimpyEnvironment):
    """A `simpy.Environment` whose clock also drives compiled packet events.

    Everything of SimPy works in it: processes, timeouts, conditions, resources, stores.

    Parameters
    ----------
    initial_time : float
        Seconds.
    engine : {"compiled", "simpy"}
        "compiled" runs packet events from a queue of C structs. "simpy" runs every host, bridge, router and
        link as a SimPy process; slower, readable, and the same trace to the byte.
    """

    def __init__(self, initial_time=0, engine="compiled"):
        if engine not in ("compiled", "simpy"):
            raise ValueError(f"engine: expected 'compiled' or 'simpy', got {engine!r}")
        self.engine = engine
        self.calendar = Calendar(self, engine == "simpy", float(initial_time))
        self.handlers = []                  # devices and links: the calendar only borrows them
        super().__init__(initial_time)

    @property
    def _now(self):
        return self._clock if self._clock == self.calendar.now else self.calendar.now

    @_now.setter
    def _now(self, value):
        self._clock = value                 # SimPy gives times back as they were given: int stays int
        self.calendar.now = value

    def schedule(self, event, priority=NORMAL, delay=0):
        self.calendar.wake = True
        super().schedule(event, priority, delay)

    def peek(self):
        """Time of the next event of either kind."""
        return min(super().peek(), self.calendar.peek())

    def step(self):
        """All packet events before the next SimPy event; if there are none, that event."""
        cdef Calendar c = self.calendar
        if c.interrupted:
            raise KeyboardInterrupt
        if queue_size(&c.queue):
            queue = self._queue
            limit = queue[0][0] if queue else float("inf")
            if queue_first(&c.queue) < limit:
                c.run_before(limit)
                return
        super().step()
        if c.error is not None:
            c.check()
