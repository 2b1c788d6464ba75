"""Connection tracking of the protocols that are not TCP."""
from libc.stdint cimport uint8_t, uint32_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.table cimport Entry

cdef bint l4_checksum_ok(Packet* p, uint32_t dataoff, uint32_t protocol) noexcept nogil
cdef int udp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil
cdef int udplite_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, bint at_prerouting) noexcept nogil
cdef int icmp_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int gre_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int generic_packet(Conntrack* c, Entry* e) noexcept nogil
cdef int sctp_packet(Conntrack* c, Entry* e, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil
