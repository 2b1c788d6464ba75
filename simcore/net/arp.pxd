"""ARP for IPv4 over Ethernet (RFC 826)."""
from libc.stdint cimport uint8_t, uint32_t
from simcore.engine.frame cimport Frame

cdef enum:
    ARP_REQUEST = 1
    ARP_REPLY = 2

cdef enum:                              # what arp_parse finds
    ARP_OK = 0
    ARP_TRUNCATED = 1
    ARP_OTHER = 2                       # of other protocols, or of no use

ctypedef struct Arp:
    int op
    const uint8_t* sender_mac           # lies in the frame
    uint32_t sender
    uint32_t target

cdef int arp_parse(Frame* f, Arp* a) noexcept
cdef Frame* arp_emit(int op, const uint8_t* mac, uint32_t sender, const uint8_t* target_mac, uint32_t target) noexcept
