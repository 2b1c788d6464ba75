"""What is wired together: devices with ports, and what a port sends into."""
from libc.stdint cimport uint8_t, uint64_t
from simcore.engine.ahead cimport Trail
from simcore.engine.calendar cimport Calendar, Handler
from simcore.engine.frame cimport Frame

cdef class FrameRef:
    cdef Frame* frame
    cdef uint64_t token

cdef FrameRef ref_of(Frame* f, uint64_t token)

cdef class Wire(Handler):
    cdef void send(self, Frame* f) noexcept
    cdef void trail(self, const uint8_t* frame, Trail* t) noexcept

cdef class Device(Handler):
    cdef readonly str name
    cdef readonly list ports            # outgoing Wire of each port, None if unplugged
    cdef object inbox
    cdef void** at_port                 # what a frame of each port meets first, borrowed: its Wire, in a namespace the Interface
    cdef readonly Calendar calendar
    cdef int add_port(self) except -1
    cdef int check_port(self, int port) except -1
    cdef void receive(self, Frame* f, int port) noexcept
    cdef void deliver(self, Frame* f, int port) noexcept
    cdef void send(self, int port, Frame* f) noexcept
    cdef void trail(self, const uint8_t* frame, int port, Trail* t) noexcept
