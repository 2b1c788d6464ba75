"""Connection tracking's hooks: find or create the packet's connection, track it, confirm it."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, expired
from natfast.table cimport Entry, settled
from natfast.tuples cimport Half, Tuple, half_equal

cdef enum:                      # CtVerdict
    CT_DROP = 0
    CT_ACCEPT = 1

cdef enum:
    GATHER = 16                 # entries that are deleted together
    TUPLES = 3                  # that an entry is found by: original, reply, source

ctypedef struct Condemned:
    uint32_t entry[GATHER]
    uint64_t m0[TUPLES * GATHER]
    uint64_t m1[TUPLES * GATHER]
    uint64_t hash[TUPLES * GATHER]
    uint32_t n

# Entries on their way out: while one half's buckets and chains are fetched, the other half is taken out of them.
ctypedef struct Doomed:
    Condemned half[2]
    uint32_t filling
    uint32_t count

# What `conntrack -D` asks of an entry's original tuple; -1 for anything.
ctypedef struct Wanted:
    int64_t protocol
    int64_t src
    int64_t dst
    int64_t sport
    int64_t dport

cdef inline void doomed_init(Doomed* d) noexcept nogil:
    d.half[0].n = 0
    d.half[1].n = 0
    d.filling = 0
    d.count = 0

cdef uint32_t find_live(Conntrack* c, const Half* h, uint32_t proto) noexcept nogil
cdef int conntrack_in(Conntrack* c, Packet* p, bint at_prerouting) noexcept nogil
cdef int conntrack_confirm(Conntrack* c, Packet* p) noexcept nogil
cdef void conntrack_attach(Packet* p, const Packet* cause) noexcept nogil
cdef void conntrack_put(Conntrack* c, Packet* p) noexcept nogil
cdef int track(Conntrack* c, uint32_t ei, Packet* p, uint32_t off, int dir, bint at_prerouting) noexcept nogil
cdef void kill(Conntrack* c, uint32_t ei) noexcept nogil
cdef uint32_t sweep(Conntrack* c, uint32_t budget) noexcept nogil
cdef uint32_t sweep_all(Conntrack* c) noexcept nogil
cdef uint32_t delete_matching(Conntrack* c, const Wanted* w) noexcept nogil


cdef inline bint still_there(Conntrack* c, uint32_t ref, const Tuple* t) noexcept nogil:
    """Is this the live entry of the tuple? A hint may be of another tuple, or out of date."""
    cdef Entry* e = &c.table.entries[ref >> 1]
    return (settled(e) and e.proto == t.proto
            and half_equal(&e.tuple[ref & 1], &t.h) and not expired(e, c.now))
