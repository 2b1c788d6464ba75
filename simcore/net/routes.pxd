"""The routing table: longest prefix match."""
from libc.stdint cimport uint32_t

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
    cdef void add(self, Route r) noexcept
    cdef int lookup(self, uint32_t dst) noexcept
