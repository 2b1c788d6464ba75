"""Routing decisions, remembered: where packets between two addresses go that came in by one interface, or start here."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.ahead cimport Trail

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

ctypedef struct KnownWay:           # a cache line
    uint64_t addresses              # source, destination
    uint32_t where                  # interface index + 1; 0 if the place is free
    Way way
    uint64_t unused[2]

# What a sender of equal packets keeps of its way, so that it need not be looked for: as Linux's sockets keep a dst, and that the
# next hop's hardware header. The MACs stand in the sender's own headers.
ctypedef struct KeptWay:
    void* out                       # an Interface, the namespace's
    double until                    # s; 0: nothing is kept
    uint32_t changes                # as of Ways

# Two places for each hash, side by side: where both are taken a newer decision displaces an older one, which is rare since the
# cache grows when a third of it is taken. Nothing in it may outlive a change of what decisions rest on: whoever changes addresses
# or routes clears it.
ctypedef struct Ways:
    uint32_t changes                # how often what decisions rest on, or a neighbour's MAC, has changed
    uint32_t mask
    KnownWay* known
    uint32_t used                   # places that are taken

cdef int ways_init(Ways* w) except -1
cdef void ways_free(Ways* w) noexcept nogil
cdef void ways_note(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil
cdef void ways_clear(Ways* w) noexcept nogil
cdef const KnownWay* ways_trail(const Ways* w, uint64_t addresses, uint32_t where, Trail* t) noexcept nogil


cdef inline uint32_t ways_place(const Ways* w, uint64_t addresses, uint32_t where) noexcept nogil:
    """Where a decision is looked for first."""
    return <uint32_t>((addresses ^ where) * <uint64_t>0x9E3779B97F4A7C15ULL >> 40) & w.mask


cdef inline bint is_for(const KnownWay* k, uint64_t addresses, uint32_t where) noexcept nogil:
    return k.addresses == addresses and k.where == where


cdef inline const KnownWay* ways_find(const Ways* w, uint64_t addresses, uint32_t where) noexcept nogil:
    """The decision, NULL if it is not known."""
    cdef uint32_t at = ways_place(w, addresses, where)
    if is_for(&w.known[at], addresses, where):
        return &w.known[at]
    at ^= 1
    return &w.known[at] if is_for(&w.known[at], addresses, where) else NULL
