"""TCP connection tracking: the state table and window tracking of Linux 6.18."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.table cimport Entry

cdef enum:                      # TcpState
    TCP_NONE = 0
    TCP_SYN_SENT = 1
    TCP_SYN_RECV = 2
    TCP_ESTABLISHED = 3
    TCP_FIN_WAIT = 4
    TCP_CLOSE_WAIT = 5
    TCP_LAST_ACK = 6
    TCP_TIME_WAIT = 7
    TCP_CLOSE = 8
    TCP_SYN_SENT2 = 9
    TCP_INVALID = 10
    TCP_IGNORE = 11

cdef int tcp_packet(Conntrack* c, uint32_t ei, Packet* p, uint32_t dataoff, int dir, bint at_prerouting) noexcept nogil
cdef void tcp_set_closing(Conntrack* c, uint32_t ei) noexcept nogil
cdef bint tcp_can_early_drop(const Entry* e) noexcept nogil
