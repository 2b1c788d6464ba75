"""Queue disciplines: what a link's transmitter takes its next frame from."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.frame cimport Frame, FrameQueue, fq_clear, fq_pop, fq_pop_tail, fq_push

cdef double EPS                     # s; tokens short by less are there: clocks are floating-point numbers

cdef bint ecn_mark(Frame* f) noexcept nogil
cdef uint64_t flow_hash(const Frame* f, uint64_t seed) noexcept nogil

cdef class Qdisc:
    cdef readonly uint32_t packets          # backlog
    cdef readonly uint64_t bytes            # backlog
    cdef public uint64_t dropped
    cdef readonly uint64_t marked           # ECN CE set instead of a drop
    cdef readonly uint64_t overlimits       # times a shaper held a frame back
    cdef bint enqueue(self, Frame* f, double now) noexcept
    cdef Frame* dequeue(self, double now) noexcept
    cdef double ready(self, double now) noexcept
    cdef void clear(self) noexcept
    cdef void drop(self, Frame* f) noexcept
    cdef bint child_enqueue(self, Qdisc child, Frame* f, double now) noexcept
    cdef Frame* child_dequeue(self, Qdisc child, double now) noexcept

cdef class Classful(Qdisc):
    cdef list children                      # every Qdisc that holds frames of this one
