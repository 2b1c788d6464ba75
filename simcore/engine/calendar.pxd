"""The calendar of packet events under SimPy's clock.

Order: earlier time first; at equal times SimPy's events first, then packet events as they were scheduled.
"""
cimport cython
from libc.stdint cimport uint64_t
from simcore.engine.events cimport EventQueue, queue_crowded

cdef class Handler:
    """What a packet event calls."""
    cdef void fire(self, uint64_t token) noexcept
    cdef void prepare(self) noexcept

@cython.final
cdef class Calendar:
    cdef public double now
    cdef public bint wake       # a SimPy event was scheduled: look at its queue before going on
    cdef EventQueue queue
    cdef uint64_t seq
    cdef public uint64_t executed
    cdef object environment
    cdef readonly bint simpy_driven
    cdef object error
    cdef public bint interrupted        # stop between two events: an exception in the middle of one could get lost
    cdef double looked_at       # the moment of the last look, ...
    cdef uint64_t still         # ... and how many looks in a row were at it
    cdef public object watcher  # called every few thousand events

    cdef inline uint64_t next_seq(self) noexcept:
        """The next place in the order; its holder may use the three numbers after it for events that follow from its own."""
        self.seq += 4
        return self.seq

    cdef inline bint crowded(self) noexcept:
        """Is what an event touches cold when its turn comes? Then it is worth asking for it ahead."""
        return queue_crowded(&self.queue)

    cdef void push(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept
    cdef void push_slow(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept
    cdef void push_simpy(self, double time, uint64_t seq, Handler handler, uint64_t token) noexcept
    cdef void at(self, double time, Handler handler, uint64_t token) noexcept
    cdef void fail(self, object error) noexcept
