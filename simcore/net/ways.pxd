"""Routing decisions, remembered: where packets between two addresses go that came in by one interface, or start here."""
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
    int oif                         # interface index, -1 if there is none
    uint32_t nexthop
    uint32_t source
    void* out                       # the Interface of that index, the namespace's
    void* neighbour                 # the next hop's Neighbour, the namespace's; NULL where a frame needs none

ctypedef struct KnownWay:
    uint64_t addresses              # source, destination
    uint32_t where                  # interface index + 1; 0 if the place is free
    Way way

# One place for each hash: a newer decision displaces an older one, and where that happens often the cache grows.
# Nothing in it may outlive a change of what decisions rest on: whoever changes addresses or routes clears it.
ctypedef struct Ways:
    KnownWay* known
    uint32_t mask
    uint32_t displaced              # decisions that gave way to others since it last grew

cdef int ways_init(Ways* w) except -1
cdef void ways_free(Ways* w) noexcept nogil
cdef void ways_note(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil
cdef void ways_clear(Ways* w) noexcept nogil


cdef inline KnownWay* ways_place(const Ways* w, uint64_t addresses, uint32_t where) noexcept nogil:
    cdef uint64_t k = (addresses ^ where) * <uint64_t>0x9E3779B97F4A7C15ULL
    return &w.known[<uint32_t>(k >> 40) & w.mask]


cdef inline bint ways_find(const Ways* w, uint64_t addresses, uint32_t where, Way* way) noexcept nogil:
    cdef KnownWay* k = ways_place(w, addresses, where)
    if k.addresses != addresses or k.where != where:
        return False
    way[0] = k.way
    return True
