"""Queue disciplines: what a link's transmitter takes its next frame from."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.frame cimport Frame

cdef double EPS                     # s; tokens short by less are there: clocks are floating-point numbers

ctypedef struct FrameQueue:
    Frame* head
    Frame* tail
    uint32_t packets
    uint64_t bytes

cdef inline void fq_push(FrameQueue* q, Frame* f) noexcept nogil:
    f.next = NULL
    if q.tail == NULL:
        q.head = f
    else:
        q.tail.next = f
    q.tail = f
    q.packets += 1
    q.bytes += f.len

cdef inline Frame* fq_pop(FrameQueue* q) noexcept nogil:
    cdef Frame* f = q.head
    if f == NULL:
        return NULL
    q.head = f.next
    if q.head == NULL:
        q.tail = NULL
    f.next = NULL
    q.packets -= 1
    q.bytes -= f.len
    return f

cdef void fq_clear(FrameQueue* q) noexcept
cdef Frame* fq_pop_tail(FrameQueue* q) noexcept nogil
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
