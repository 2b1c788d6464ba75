"""What a host says itself about packets: ICMP errors and replies (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3), and resets (RFC 9293)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.packet cimport Packet
from simcore.engine.frame cimport Frame
from simcore.net.endpoints cimport Endpoint
from simcore.net.interface cimport Interface
from simcore.net.neighbourhood cimport Neighbourhood
from simcore.net.options cimport Echo
from simcore.net.ways cimport Way

cdef class Messages(Neighbourhood):
    cdef Frame* new_packet(self, uint32_t have, uint32_t length, int protocol, uint32_t src, uint32_t dst, int tos, int ttl, int frag,
                           const Echo* options=*) noexcept
    cdef Endpoint socket_for(self, int protocol, uint32_t local, uint16_t lport, uint32_t remote, uint16_t rport)
    cdef bint echo_options(self, const uint8_t* ip, uint32_t source, Echo* echo) noexcept
    cdef uint32_t time_of_day(self) noexcept
    cdef void icmp_in(self, Interface dev, Frame* f, uint32_t l4) noexcept
    cdef void redirect(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept
    cdef void send_reset(self, Frame* f) noexcept
    cdef Frame* new_reset(self, const Frame* f, int tos, const Echo* options) noexcept
    cdef bint may_send(self, uint32_t src, uint32_t dst) noexcept
    cdef void reject(self, Frame* f, Packet* p, int way) noexcept
    cdef Interface interface_numbered(self, uint32_t number)
    # what the layer above does
    cdef void local_out(self, Frame* f, const Packet* cause=*) noexcept


cdef void show_partial_sum(Frame* f) noexcept
