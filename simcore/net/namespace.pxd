"""A network namespace: the way of a packet through a Linux host."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from cpython.object cimport PyObject
from natfast.packet cimport Packet
from simcore.engine.ahead cimport LINE, Trail, prefetch
from simcore.engine.frame cimport Frame
from simcore.net.interface cimport Interface
from simcore.net.messages cimport Messages
from simcore.net.ways cimport KeptWay, Way

@cython.final
cdef class Namespace(Messages):
    cdef void process(self, Frame* f, int port) noexcept
    cdef int hook(self, int hook, Frame* f, Packet* p) noexcept
    cdef void bridge_receive(self, Interface port, Frame* f) noexcept
    cdef void bridge_decide(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void bridge_forward(self, Interface out, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void ethernet_receive(self, Interface dev, Frame* f) noexcept
    cdef bint ip_header_ok(self, Frame* f, bint trim=*) noexcept
    cdef Frame* reassemble(self, Frame* f, int where) noexcept
    cdef void ip_receive(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef Frame* prerouting(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef void no_way(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept
    cdef void ip_forward(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef bint options_in(self, Frame* f, Packet* p, const Way* w) noexcept
    cdef void local_in(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef void output_fragments(self, const Way* w, Frame* f) noexcept
    cdef void send_again(self, Frame* f, uint8_t* headers, KeptWay* kept) noexcept
    cdef void keep_way(self, uint8_t* headers, KeptWay* kept) noexcept
    cdef void trail_again(self, const uint8_t* headers, const KeptWay* kept, Trail* t) noexcept
    cdef Frame* repeat_packet(self, const uint8_t* headers, uint32_t have, uint32_t length) noexcept
    cdef void fragment_expiry(self) noexcept
    cdef void bridge_up(self, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void emit_fragments(self, Interface out, Frame* f, uint32_t size, const Way* w) noexcept
    cdef void flood(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept


cdef inline void ask_for_sender(void* ns, const KeptWay* kept) noexcept:
    """Ask for what `send_again` of a Namespace touches, but for the wire. Borrowed: counting a reference would mean to wait for it."""
    prefetch(<const char*>ns + sizeof(PyObject))
    prefetch(&(<Namespace>ns).ways.changes)
    prefetch(<const char*>kept.out + LINE)
