"""Network address translation as Linux does it: once per connection, then by inverting tuples."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.headers cimport IPPROTO_ICMP
from natfast.packet cimport IP_CT_IS_REPLY, Packet
from natfast.state cimport Conntrack
from natfast.table cimport Entry, IPS_CONFIRMED, IPS_DST_NAT, IPS_DYING, IPS_DST_NAT_DONE, IPS_SRC_NAT, IPS_SRC_NAT_DONE
from natfast.tuples cimport Half

ctypedef struct NatRange:
    uint32_t flags
    uint32_t min_ip
    uint32_t max_ip
    uint16_t min_port
    uint16_t max_port
    uint16_t base_port

cdef enum:                      # Manip
    MANIP_SRC = 0
    MANIP_DST = 1

cdef void nat_setup(Conntrack* c, uint32_t ei, const NatRange* r, int manip) noexcept nogil
cdef void nat_keep_unique(Conntrack* c, uint32_t ei, int manip) noexcept nogil
cdef bint nat_translate(Conntrack* c, Packet* p, int manip) noexcept nogil
cdef bint nat_icmp_error(Conntrack* c, Packet* p, int manip) noexcept nogil
cdef bint rewrite(Packet* p, uint32_t ip_off, const Half* target, uint32_t proto, int manip) noexcept nogil


cdef inline bint nat_initialized(const Entry* e, int manip) noexcept nogil:
    return (e.status & (IPS_SRC_NAT_DONE if manip == MANIP_SRC else IPS_DST_NAT_DONE)) != 0


cdef inline uint32_t status_bit(int manip, int dir) noexcept nogil:
    """The translation that a hook does: what is SNAT for the original direction is DNAT for the reply."""
    return IPS_SRC_NAT if (manip == MANIP_SRC) == (dir == 0) else IPS_DST_NAT


cdef inline bint nat_packet(Conntrack* c, Packet* p, int manip) noexcept nogil:
    """Translate one packet of a connection if it has a mapping that is this hook's; False to drop it."""
    if not c.table.entries[p.ct].status & status_bit(manip, p.ctinfo >= IP_CT_IS_REPLY):
        return True
    return nat_translate(c, p, manip)


cdef inline void nat_null_binding(Conntrack* c, uint32_t ei, int manip) noexcept nogil:
    """No rule asked for a translation."""
    cdef Entry* e = &c.table.entries[ei]
    if manip == MANIP_SRC or e.proto == IPPROTO_ICMP:
        nat_keep_unique(c, ei, manip)
    elif not e.status & (IPS_CONFIRMED | IPS_DYING):
        e.status |= IPS_DST_NAT_DONE        # a destination is kept, whether another connection has it or not: but for an ICMP id
