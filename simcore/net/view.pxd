"""A frame's IP packet as netfilter sees it."""
from libc.stdint cimport uint8_t
from natfast.packet cimport Packet
from simcore.engine.frame cimport FRAME_ROOM, IP, Frame


cdef inline void view(Packet* p, const Frame* f) noexcept nogil:
    """Let netfilter see the frame's IP packet."""
    p.data = <uint8_t*>f.data + IP
    p.len = f.len - IP
    p.avail = f.have - IP
    p.room = FRAME_ROOM - IP if f.data == f.room else f.have - IP
    p.checksum_ok = f.checksum_ok
    p.mark = f.mark
