"""Routing decisions, remembered: where packets between two addresses go that came in by one interface, or start here."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t

cdef enum:                          # Way.kind
    W_DROP = 0
    W_LOCAL = 1
    W_BROADCAST = 2
    W_FORWARD = 3
    W_UNREACHABLE = 4

cdef enum:
    FROM_HERE = 0xFFFFFFFF          # in place of an incoming interface

ctypedef struct Way:
    int kind
    int oif                         # interface index
    uint32_t nexthop
    uint32_t source
    void* neighbour                 # the next hop's Neighbour, the namespace's; NULL where a frame needs none

ctypedef struct KnownWay:
    uint64_t addresses              # source, destination
    uint32_t where                  # interface index + 1; 0 if the place is free
    Way way

@cython.final
cdef class WayCache:
    cdef KnownWay* known
    cdef uint32_t mask
    cdef uint32_t displaced         # decisions that gave way to others since it last grew
    cdef void note(self, uint64_t addresses, uint32_t where, const Way* way) noexcept
    cdef void clear(self) noexcept

    cdef inline KnownWay* place(self, uint64_t addresses, uint32_t where) noexcept nogil:
        cdef uint64_t k = (addresses ^ where) * <uint64_t>0x9E3779B97F4A7C15ULL
        return &self.known[<uint32_t>(k >> 40) & self.mask]

    cdef inline bint find(self, uint64_t addresses, uint32_t where, Way* way) noexcept nogil:
        cdef KnownWay* k = self.place(addresses, where)
        if k.addresses != addresses or k.where != where:
            return False
        way[0] = k.way
        return True
