from libc.string cimport memcpy, memset

from natfast.headers cimport ETH_HLEN, ETH_P_ARP, ETH_P_IP, be16, be32, put16, put32
from simcore.engine.frame cimport frame_need, frame_new

cdef enum:                              # fields, from the frame's start
    HARDWARE = ETH_HLEN
    PROTOCOL = ETH_HLEN + 2
    HARDWARE_LENGTH = ETH_HLEN + 4
    PROTOCOL_LENGTH = ETH_HLEN + 5
    OPERATION = ETH_HLEN + 6
    SENDER_MAC = ETH_HLEN + 8
    SENDER = ETH_HLEN + 14
    TARGET_MAC = ETH_HLEN + 18
    TARGET = ETH_HLEN + 24
    LENGTH = ETH_HLEN + 28

cdef enum:
    ETHERNET = 1


cdef int arp_parse(Frame* f, Arp* a) noexcept:
    """Read a frame of EtherType ARP; ARP_OK if it is a request or a reply."""
    if f.len < LENGTH or not frame_need(f, LENGTH):
        return ARP_TRUNCATED
    a.op = be16(f.data + OPERATION)
    a.sender_mac = f.data + SENDER_MAC
    a.sender = be32(f.data + SENDER)
    a.target = be32(f.data + TARGET)
    if (be16(f.data + HARDWARE) != ETHERNET or be16(f.data + PROTOCOL) != ETH_P_IP or f.data[HARDWARE_LENGTH] != 6
            or f.data[PROTOCOL_LENGTH] != 4 or (a.op != ARP_REQUEST and a.op != ARP_REPLY)):
        return ARP_OTHER
    return ARP_OK


cdef Frame* arp_emit(int op, const uint8_t* mac, uint32_t sender, const uint8_t* target_mac, uint32_t target) noexcept:
    """A frame to `target_mac`, or to all if that is NULL; a request names no target's MAC."""
    cdef Frame* f = frame_new(LENGTH, LENGTH)
    memset(f.data, 0, LENGTH)
    if target_mac != NULL:
        memcpy(f.data, target_mac, 6)
    else:
        memset(f.data, 255, 6)
    put16(f.data + ETH_HLEN - 2, ETH_P_ARP)
    put16(f.data + HARDWARE, ETHERNET)
    put16(f.data + PROTOCOL, ETH_P_IP)
    f.data[HARDWARE_LENGTH] = 6
    f.data[PROTOCOL_LENGTH] = 4
    put16(f.data + OPERATION, op)
    memcpy(f.data + SENDER_MAC, mac, 6)
    put32(f.data + SENDER, sender)
    if op == ARP_REPLY:
        memcpy(f.data + TARGET_MAC, target_mac, 6)
    put32(f.data + TARGET, target)
    return f
