"""What is wired together: devices with ports, and the links between them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from simcore.engine.calendar cimport Calendar, Handler
from simcore.engine.frame cimport Frame

cdef class Device(Handler):
    cdef readonly str name
    cdef readonly Calendar calendar
    cdef readonly list ports            # outgoing Link of each port, None if unplugged
    cdef object inbox
    cdef int add_port(self) except -1
    cdef void receive(self, Frame* f, int port) noexcept
    cdef void deliver(self, Frame* f, int port) noexcept
    cdef void send(self, int port, Frame* f) noexcept

ctypedef struct Slot:
    double start                        # service begins
    double arrive
    uint64_t seq
    Frame* frame

cdef class Link(Handler):
    cdef readonly str name
    cdef Calendar calendar
    cdef Device sink
    cdef int sink_port
    cdef readonly double rate           # bit/s, 0: infinite
    cdef readonly double latency        # s
    cdef readonly uint32_t limit        # packets that may wait, the one in service not counted
    cdef Slot* ring
    cdef uint32_t mask
    cdef uint32_t head
    cdef uint32_t tail
    cdef uint32_t waiting               # first slot whose service has not begun
    cdef double free_at
    cdef public uint64_t packets
    cdef public uint64_t bytes
    cdef public uint64_t dropped
    cdef public double waited           # s, summed over packets
    cdef public bint up
    cdef object inbox
    cdef void send(self, Frame* f) noexcept
    cdef void grow(self) noexcept
    cdef void accept(self, Frame* f, uint64_t seq) noexcept
