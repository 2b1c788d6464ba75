"""Devices, links, and how SimPy drives them.

A device is sans-IO: `receive` takes a frame and calls `send`; it never waits. With the compiled engine a
link calls the device at the other end directly. With the SimPy engine every device and link is a SimPy
process that takes frames from an inbox, one at a time, and calls the same `receive` and `accept`.
"""
from collections import deque

import simpy
from simpy.events import URGENT

from libc.stdlib cimport abort, calloc, free, realloc
from simcore.engine.calendar cimport Calendar, Handler
from simcore.engine.frame cimport Frame, frame_bytes, frame_copy, frame_free, frame_from_bytes


cdef class FrameRef:
    """A frame on its way through an inbox."""
    cdef Frame* frame
    cdef uint64_t token

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


def link_process(Link link, inbox):
    """One direction of a wire as a SimPy process."""
    cdef FrameRef r
    cdef Frame* f
    while True:
        r = yield inbox.get()
        f, r.frame = r.frame, NULL
        link.accept(f, r.token)


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

    cdef int add_port(self) except -1:
        self.ports.append(None)
        return len(self.ports) - 1

    cdef void receive(self, Frame* f, int port) noexcept:
        """Take ownership of a frame that came in by `port`."""
        frame_free(f)

    cdef void deliver(self, Frame* f, int port) noexcept:
        if self.inbox is None:
            self.receive(f, port)
        else:
            self.inbox.put(ref_of(f, port))

    cdef void send(self, int port, Frame* f) noexcept:
        cdef Link link = <Link>self.ports[port]
        if link is None:
            frame_free(f)
        else:
            link.send(f)


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

    def transmit(self, const unsigned char[::1] frame not None, int port):
        """Send a frame out of `port` now."""
        cdef Frame* f = frame_from_bytes(&frame[0], <uint32_t>frame.shape[0])
        f.born = self.calendar.now
        self.send(port, f)


cdef class Link(Handler):
    """One direction of a wire: a drop-tail queue, a rate, a latency.

    A frame's departure is known when it is queued, so it costs one event: its arrival. Only the next
    arrival stands in the calendar.

    Parameters
    ----------
    rate : float
        bit/s of whole frames; 0 for no limit.
    latency : float
        Seconds.
    limit : int
        Frames that may wait besides the one being sent.
    """

    def __cinit__(self, env, str name, Device sink, int sink_port, double rate=0.0, double latency=0.0, uint32_t limit=1000):
        self.name = name
        self.calendar = env.calendar
        env.handlers.append(self)
        self.sink = sink
        self.sink_port = sink_port
        self.rate = rate
        self.latency = latency
        self.limit = limit
        self.up = True
        self.mask = 15
        self.ring = <Slot*>calloc(16, sizeof(Slot))
        if self.ring == NULL:
            raise MemoryError
        self.inbox = None
        if self.calendar.simpy_driven:
            self.inbox = Inbox(env)
            env.process(link_process(self, self.inbox))

    def __dealloc__(self):
        cdef uint32_t i = self.head
        while i != self.tail:
            frame_free(self.ring[i & self.mask].frame)
            i += 1
        free(self.ring)

    @property
    def in_flight(self):
        """Frames queued, being sent, or on the wire."""
        return self.tail - self.head

    @property
    def queued(self):
        """Frames waiting for service now."""
        cdef uint32_t i = self.waiting
        while i != self.tail and self.ring[i & self.mask].start <= self.calendar.now:
            i += 1
        return self.tail - i

    cdef void send(self, Frame* f) noexcept:
        # the place in the order is taken here, whoever drives
        cdef uint64_t seq = self.calendar.next_seq()
        if self.inbox is None:
            self.accept(f, seq)
        else:
            self.inbox.put(ref_of(f, seq))

    cdef void accept(self, Frame* f, uint64_t seq) noexcept:
        cdef double now = self.calendar.now
        cdef double start = now if now > self.free_at else self.free_at
        cdef Slot* s
        if not self.up:
            self.dropped += 1
            frame_free(f)
            return
        while self.waiting != self.tail and self.ring[self.waiting & self.mask].start <= now:
            self.waiting += 1
        if start > now and self.tail - self.waiting >= self.limit:
            self.dropped += 1
            frame_free(f)
            return
        if self.tail - self.head > self.mask:
            self.grow()
        s = &self.ring[self.tail & self.mask]
        s.start = start
        if self.rate > 0:
            self.free_at = start + f.len * 8.0 / self.rate
            s.arrive = self.free_at + self.latency
            self.waited += start - now
        else:
            s.arrive = now + self.latency
        s.seq = seq
        s.frame = f
        self.packets += 1
        self.bytes += f.len
        if self.tail == self.head:
            self.calendar.push(s.arrive, seq, self, 0)
        self.tail += 1

    cdef void grow(self) noexcept:
        cdef uint32_t old = self.mask + 1, i
        cdef Slot* ring = <Slot*>calloc(2 * old, sizeof(Slot))
        if ring == NULL:
            abort()
        for i in range(self.head, self.tail):
            ring[i & (2 * old - 1)] = self.ring[i & self.mask]
        free(self.ring)
        self.ring = ring
        self.mask = 2 * old - 1

    cdef void fire(self, uint64_t token) noexcept:
        cdef Slot* s = &self.ring[self.head & self.mask]
        cdef Frame* f = s.frame
        self.head += 1
        if <int>(self.waiting - self.head) < 0:
            self.waiting = self.head
        if self.head != self.tail:
            s = &self.ring[self.head & self.mask]
            self.calendar.push(s.arrive, s.seq, self, 0)
        self.sink.deliver(f, self.sink_port)


def wire(env, Device a, int port_a, Device b, int port_b, rate=0.0, latency=0.0, limit=1000, rate_back=None, limit_back=None):
    """Connect two ports by a link each way; returns both, a to b first."""
    there = Link(env, f"{a.name}->{b.name}", b, port_b, rate, latency, limit)
    back = Link(env, f"{b.name}->{a.name}", a, port_a, rate if rate_back is None else rate_back, latency,
                limit if limit_back is None else limit_back)
    a.ports[port_a] = there
    b.ports[port_b] = back
    return there, back
