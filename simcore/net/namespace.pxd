"""A network namespace: the way of a packet through a Linux host."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from cpython.object cimport PyObject
from natfast.packet cimport Packet
from simcore.engine.ahead cimport LINE, Trail, prefetch
from simcore.engine.frame cimport Frame
from simcore.net.endpoints cimport Endpoint
from simcore.net.interface cimport Interface
from simcore.net.neighbours cimport Neighbour
from simcore.net.options cimport Echo
from simcore.net.tables cimport Tables
from simcore.net.ways cimport KeptWay, Way

@cython.final
cdef class Namespace(Tables):
    cdef void process(self, Frame* f, int port) noexcept
    cdef void leave(self, Interface dev, Frame* f) noexcept
    cdef void drop(self, Frame* f, Packet* p, str reason) noexcept
    cdef void note(self, str place, Frame* f, str what) noexcept
    cdef int hook(self, int hook, Frame* f, Packet* p) noexcept
    cdef void bridge_receive(self, Interface port, Frame* f) noexcept
    cdef void bridge_decide(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void bridge_forward(self, Interface out, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void bridge_transmit(self, Interface bridge, Frame* f) noexcept
    cdef void ethernet_receive(self, Interface dev, Frame* f) noexcept
    cdef bint ip_header_ok(self, Frame* f, bint trim=*) noexcept
    cdef Frame* reassemble(self, Frame* f, int where) noexcept
    cdef void ip_receive(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef Frame* prerouting(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef void no_way(self, Frame* f, Packet* p, const Way* w) noexcept
    cdef void route_input(self, Interface dev, uint64_t addresses, Way* w) noexcept
    cdef void decide_input(self, Interface dev, uint32_t src, uint32_t dst, Way* w) noexcept
    cdef void route_output(self, uint64_t addresses, Way* w) noexcept
    cdef void decide_output(self, uint32_t dst, uint32_t src, Way* w) noexcept
    cdef void ip_forward(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef bint options_in(self, Frame* f, Packet* p, const Way* w) noexcept
    cdef bint has_address(self, uint32_t address) noexcept nogil
    cdef uint32_t time_of_day(self) noexcept
    cdef bint echo_options(self, const uint8_t* ip, uint32_t source, Echo* echo) noexcept
    cdef void local_in(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef void output_fragments(self, const Way* w, Frame* f) noexcept
    cdef void output_unaddressed(self, const Way* w, Frame* f) noexcept
    cdef void neighbour_stale(self, Neighbour n) noexcept
    cdef double vouched_for(self, Neighbour n) noexcept
    cdef void neighbour_output(self, const Way* w, Frame* f) noexcept
    cdef void next_neighbour(self, Way* w) noexcept
    cdef void put_on_wire(self, Interface dev, Frame* f) noexcept
    cdef void arp_receive(self, Interface dev, Frame* f) noexcept
    cdef void arp_send(self, Interface dev, int op, const uint8_t* target_mac, uint32_t target, uint32_t sender) noexcept
    cdef void neighbour_known(self, Neighbour n, const uint8_t* mac, bint asked) noexcept
    cdef void neighbour_failed(self, Neighbour n) noexcept
    cdef void icmp_error(self, int kind, int code, uint32_t info, Frame* f, Packet* p, bint to_local) noexcept
    cdef void icmp_in(self, Interface dev, Frame* f, uint32_t l4) noexcept
    cdef void send_reset(self, Frame* f) noexcept
    cdef Frame* new_reset(self, const Frame* f, int tos, const Echo* options) noexcept
    cdef void reject(self, Frame* f, Packet* p) noexcept
    cdef Interface interface_numbered(self, uint32_t number)
    cdef void redirect(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept
    cdef void local_out(self, Frame* f, const Packet* cause=*) noexcept
    cdef void send_again(self, Frame* f, uint8_t* headers, KeptWay* kept) noexcept
    cdef void keep_way(self, uint8_t* headers, KeptWay* kept) noexcept
    cdef void trail_again(self, const uint8_t* headers, const KeptWay* kept, Trail* t) noexcept
    cdef Frame* repeat_packet(self, const uint8_t* headers, uint32_t have, uint32_t length) noexcept
    cdef Frame* new_packet(self, uint32_t have, uint32_t length, int protocol, uint32_t src, uint32_t dst, int tos, int ttl, int frag, const Echo* options=*) noexcept
    cdef Endpoint socket_for(self, int protocol, uint32_t local, uint16_t lport, uint32_t remote, uint16_t rport)
    cdef void fragment_expiry(self) noexcept
    cdef uint32_t source_for(self, uint32_t dst) noexcept
    cdef void bridge_up(self, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void emit_fragments(self, Interface out, Frame* f, uint32_t size, const Way* w) noexcept
    cdef uint32_t arp_source(self, Interface out, uint32_t target) noexcept
    cdef void local_error(self, Frame* f) noexcept
    cdef uint32_t neighbour_index(self, uint64_t token) noexcept
    cdef void flood(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept


cdef inline void ask_for_sender(void* ns, const KeptWay* kept) noexcept:
    """Ask for what `send_again` of a Namespace touches, but for the wire. Borrowed: counting a reference would mean to wait for it."""
    prefetch(<const char*>ns + sizeof(PyObject))
    prefetch(&(<Namespace>ns).ways.changes)
    prefetch(<const char*>kept.out + LINE)
