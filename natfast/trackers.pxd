"""Connection tracking of the protocols that are not TCP."""
from libc.stdint cimport uint8_t, uint32_t
from natfast.checksum cimport fold, sum_native, transport_ok
from natfast.headers cimport IPPROTO_TCP, IPPROTO_UDP
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.table cimport Entry, IPS_ASSURED, IPS_FIXED_TIMEOUT, IPS_SEEN_REPLY, set_expiry


cdef inline uint32_t present(Packet* p, uint32_t off, uint32_t n) noexcept nogil:
    """How many of `n` bytes at `off` are in memory; those past it are zero and add nothing."""
    if off >= p.avail:
        return 0
    return n if off + n <= p.avail else p.avail - off


cdef inline bint l4_checksum_ok(Packet* p, uint32_t dataoff, uint32_t protocol) noexcept nogil:
    """Does the transport checksum hold over all that follows the IP header?"""
    cdef uint32_t n = p.len - dataoff, have = present(p, dataoff, n)
    if protocol == IPPROTO_TCP or protocol == IPPROTO_UDP:
        return transport_ok(p.data, dataoff, have, n, protocol)
    return fold(sum_native(p.data + dataoff, have)) == 0xFFFF


cdef inline bint looks_at_sums(const Conntrack* c, const Packet* p, bint at_prerouting) noexcept nogil:
    """Does conntrack verify this packet's checksum?"""
    return at_prerouting and c.sysctl.checksum and not p.checksum_ok


cdef inline bint sum_accepted(Conntrack* c, Packet* p, uint32_t dataoff, uint32_t protocol, bint at_prerouting) noexcept nogil:
    """Conntrack's look at a checksum, where it takes one; REJECT relies on it."""
    if not looks_at_sums(c, p, at_prerouting):
        return True
    p.summed = l4_checksum_ok(p, dataoff, protocol)
    return p.summed


cdef inline void refresh(Conntrack* c, Entry* e, uint32_t timeout) noexcept nogil:
    if not e.status & IPS_FIXED_TIMEOUT:
        set_expiry(&c.table, e, c.now + timeout)


cdef inline void udp_opened(Conntrack* c, Entry* e) noexcept nogil:
    e.track.udp.stream_after = c.now + 2000
    e.expires = c.now + c.sysctl.udp


cdef inline void udp_refresh(Conntrack* c, Entry* e) noexcept nogil:
    """Traffic both ways that lasts over two seconds is a stream: longer timeout, ASSURED."""
    if e.status & IPS_SEEN_REPLY and <int>(c.now - e.track.udp.stream_after) > 0:
        refresh(c, e, c.sysctl.udp_stream)
        e.status |= IPS_ASSURED
    else:
        refresh(c, e, c.sysctl.udp)


cdef uint32_t sctp_crc(Packet* p, uint32_t off) noexcept nogil
cdef int udp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil
cdef int udplite_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil
cdef int icmp_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int gre_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int generic_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int sctp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil
