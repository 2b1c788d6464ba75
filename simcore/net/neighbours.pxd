"""Neighbours: who has an address on a link (RFC 826), and how many of them a machine remembers."""
cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint32_t
from simcore.engine.frame cimport FrameQueue

cdef enum:                          # state (RFC 4861's names); 0 where nothing is known, or nobody answered
    N_INCOMPLETE = 1
    N_REACHABLE = 2
    N_DELAY = 3
    N_PROBE = 4
    N_PERMANENT = 5

@cython.final
cdef class Neighbour:
    cdef uint32_t address
    cdef int interface
    cdef uint8_t mac[6]
    cdef int state
    cdef double stale_from          # when it is to be asked again, if it is needed
    cdef int probes
    cdef FrameQueue waiting         # frames that want its address
    cdef bint remembered            # it takes a place in the machine's cache
    cdef void confirm(self, double now) noexcept
    cdef void hear(self, double now) noexcept

    cdef inline double good_until(self) noexcept:
        """Until when frames may go to its MAC with nothing else to see to; 0: each has to ask."""
        return INFINITY if self.state == N_PERMANENT else self.stale_from if self.state == N_REACHABLE else 0

    cdef inline bint stale(self, double now) noexcept:
        """Known, but to be asked again if it is needed."""
        return self.state == N_REACHABLE and now >= self.stale_from

@cython.final
cdef class ArpCache:
    cdef readonly int gc_thresh1
    cdef readonly int gc_thresh2
    cdef readonly int gc_thresh3
    cdef readonly uint32_t peak
    cdef readonly uint32_t overflows
    cdef list entries               # oldest first
    cdef double swept
    cdef double collected
    cdef bint remember(self, Neighbour n, double now)
    cdef int forget(self, double before, int most)
