"""Connection tracking's hooks: find or create the packet's connection, track it, confirm it."""
from libc.stdint cimport uint32_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.table cimport Entry
from natfast.tuples cimport Half

cdef enum:                      # CtVerdict
    CT_DROP = 0
    CT_ACCEPT = 1

cdef uint32_t find_live(Conntrack* c, const Half* h, uint32_t proto) noexcept nogil
cdef int conntrack_in(Conntrack* c, Packet* p, bint at_prerouting) noexcept nogil
cdef int conntrack_confirm(Conntrack* c, Packet* p) noexcept nogil
cdef void conntrack_put(Conntrack* c, Packet* p) noexcept nogil
cdef void kill(Conntrack* c, uint32_t ei) noexcept nogil
cdef uint32_t sweep(Conntrack* c, uint32_t budget) noexcept nogil
