"""Devices, and how SimPy drives them.

A device is sans-IO: `receive` takes a frame and calls `send`; it never waits. With the compiled engine a
link calls the device at the other end directly. With the SimPy engine every device and link is a SimPy
process that takes frames from an inbox, one at a time, and calls the same `receive` and `accept`.
"""
from collections import deque

import simpy
from simpy.events import URGENT

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc

from simcore.engine.ahead cimport Trail
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame, frame_bytes, frame_free, frame_of


cdef class FrameRef:
    """A frame on its way through an inbox."""

    def __dealloc__(self):
        if self.frame != NULL:
            frame_free(self.frame)


cdef FrameRef ref_of(Frame* f, uint64_t token):
    cdef FrameRef r = FrameRef()
    r.frame = f
    r.token = token
    return r


class Inbox:
    """A queue that a device's process waits at; it is served before anything else at that time."""

    def __init__(self, env):
        self.env = env
        self.items = deque()
        self.getter = None

    def put(self, item):
        if self.getter is None:
            self.items.append(item)
            return
        event, self.getter = self.getter, None
        self._hand(event, item)

    def get(self):
        event = simpy.Event(self.env)
        if self.items:
            self._hand(event, self.items.popleft())
        else:
            self.getter = event
        return event

    def _hand(self, event, item):
        event._ok = True
        event._value = item
        self.env.schedule(event, URGENT)


def device_process(Device device, inbox):
    """A host, bridge or router as a SimPy process."""
    cdef FrameRef r
    cdef Frame* f
    while True:
        r = yield inbox.get()
        f, r.frame = r.frame, NULL
        device.receive(f, <int>r.token)


cdef class Wire(Handler):
    """What a port sends into."""

    cdef void send(self, Frame* f) noexcept:
        frame_free(f)

    cdef void trail(self, const uint8_t* frame, Trail* t) noexcept:
        """Add what a frame with this beginning touches when it is sent."""


cdef class Device(Handler):
    """Something with ports that frames come in by and leave by."""

    def __init__(self, env, str name):
        self.name = name
        self.calendar = env.calendar
        env.handlers.append(self)
        self.ports = []
        self.inbox = None
        if self.calendar.simpy_driven:
            self.inbox = Inbox(env)
            env.process(device_process(self, self.inbox))

    def attach(self, int port, Wire wire not None):
        """From now on `port` sends into `wire`."""
        self.check_port(port)
        self.ports[port] = wire
        self.at_port[port] = <void*>wire

    cdef int add_port(self) except -1:
        cdef int port = len(self.ports)
        cdef void** longer = <void**>realloc(self.at_port, (port + 1) * sizeof(void*))
        if longer == NULL:
            raise MemoryError
        self.at_port = longer
        self.at_port[port] = NULL
        self.ports.append(None)
        return port

    cdef int check_port(self, int port) except -1:
        if not 0 <= port < len(self.ports):
            raise ValueError(f"{self.name} has no port {port}: it has {len(self.ports)}")
        return 0

    def __dealloc__(self):
        free(self.at_port)

    cdef void receive(self, Frame* f, int port) noexcept:
        """Take ownership of a frame that came in by `port`."""
        frame_free(f)

    cdef void trail(self, const uint8_t* frame, int port, Trail* t) noexcept:
        """Add what a frame with this beginning touches when it is received."""

    cdef void deliver(self, Frame* f, int port) noexcept:
        """A frame has come to a port; with the SimPy engine the device's process takes it when its turn comes."""
        if self.inbox is None:
            self.receive(f, port)
        else:
            self.inbox.put(ref_of(f, port))

    cdef void send(self, int port, Frame* f) noexcept:
        if self.at_port[port] == NULL:
            frame_free(f)
        else:
            (<Wire>self.at_port[port]).send(f)


cdef class PythonDevice(Device):
    """A device written in Python: override `on_frame`; call `transmit`.

    It may start SimPy processes (service times, timeouts): they run under both engines.
    """

    def __init__(self, env, str name, int ports=2):
        super().__init__(env, name)
        self.env = env
        for _ in range(ports):
            self.add_port()

    cdef public object env

    cdef void receive(self, Frame* f, int port) noexcept:
        try:
            self.on_frame(frame_bytes(f), port)
        except Exception as error:
            self.calendar.fail(error)
        frame_free(f)

    def on_frame(self, bytes frame, int port):
        """Called with each frame that arrives."""
        raise NotImplementedError(f"{type(self).__name__}.on_frame")

    def transmit(self, frame, int port):
        """Send a frame, bytes or the like, out of `port` now; ValueError if there is no such port."""
        cdef Frame* f
        self.check_port(port)
        f = frame_of(frame)
        f.born = self.calendar.now
        self.send(port, f)
