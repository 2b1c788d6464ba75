"""Connection tracking's hooks: find or create the packet's connection, track it, confirm it."""
from libc.stdint cimport uint32_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, expired
from natfast.table cimport Entry, IPS_CONFIRMED, IPS_DYING
from natfast.tuples cimport Half, Tuple, half_equal

cdef enum:                      # CtVerdict
    CT_DROP = 0
    CT_ACCEPT = 1

cdef uint32_t find_live(Conntrack* c, const Half* h, uint32_t proto) noexcept nogil
cdef int conntrack_in(Conntrack* c, Packet* p, bint at_prerouting) noexcept nogil
cdef int conntrack_confirm(Conntrack* c, Packet* p) noexcept nogil
cdef void conntrack_attach(Packet* p, const Packet* cause) noexcept nogil
cdef void conntrack_put(Conntrack* c, Packet* p) noexcept nogil
cdef int track(Conntrack* c, uint32_t ei, Packet* p, uint32_t off, int dir, bint at_prerouting) noexcept nogil
cdef void kill(Conntrack* c, uint32_t ei) noexcept nogil
cdef uint32_t sweep(Conntrack* c, uint32_t budget) noexcept nogil


cdef inline bint still_there(Conntrack* c, uint32_t ref, const Tuple* t) noexcept nogil:
    """Is this the live entry of the tuple? A hint may be of another tuple, or out of date."""
    cdef Entry* e = &c.table.entries[ref >> 1]
    return (e.status & (IPS_CONFIRMED | IPS_DYING) == IPS_CONFIRMED and e.proto == t.proto
            and half_equal(&e.tuple[ref & 1], &t.h) and not expired(e, c.now))
