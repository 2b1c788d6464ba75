"""The routing table: longest prefix match."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.map cimport U64Map

ctypedef struct Route:
    uint32_t network
    uint32_t mask
    uint32_t via            # 0: on link
    uint32_t metric
    int interface           # index in the namespace
    uint32_t source         # preferred source, 0 if none

cdef class RouteTable:
    cdef Route* routes
    cdef int n
    cdef int room
    cdef U64Map cache
    cdef void add(self, Route r) noexcept
    cdef int lookup(self, uint32_t dst) noexcept
