"""Who is on the same link, and how a frame gets there: the next hop's MAC, asked for with ARP (RFC 826), and the interface."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from natfast.headers cimport ETH_HLEN
from natfast.packet cimport Packet
from simcore.engine.frame cimport Frame
from simcore.net.interface cimport BRIDGE, Interface
from simcore.net.neighbours cimport N_REACHABLE, Neighbour
from simcore.net.routing cimport Routing
from simcore.net.ways cimport W_FORWARD, Way

cdef class Neighbourhood(Routing):
    cdef void leave(self, Interface dev, Frame* f) noexcept
    cdef void to_wire_with_care(self, Interface dev, Frame* f) noexcept
    cdef void output_unaddressed(self, const Way* w, Frame* f) noexcept
    cdef void arp_send(self, Interface dev, int op, const uint8_t* target_mac, uint32_t target, uint32_t sender) noexcept
    cdef void arp_receive(self, Interface dev, Frame* f) noexcept
    cdef void neighbour_known(self, Neighbour n, const uint8_t* mac, bint asked) noexcept
    cdef void neighbour_failed(self, Neighbour n) noexcept
    cdef void neighbour_stale(self, Neighbour n) noexcept
    cdef double vouched_for(self, Neighbour n) noexcept
    cdef uint32_t neighbour_index(self, uint64_t token) noexcept
    cdef void neighbour_event(self, uint64_t token) noexcept
    # what the layers above do
    cdef void bridge_transmit(self, Interface bridge, Frame* f) noexcept
    cdef void icmp_error(self, int kind, int code, uint32_t info, Frame* f, Packet* p, int way) noexcept
    cdef void local_error(self, Frame* f) noexcept


cdef inline void to_wire(Neighbourhood ns, void* dev, Frame* f) noexcept:
    """Send by an Interface, borrowed: its count of references is on a cache line that nothing else here needs."""
    if (<Interface>dev).plain and f.len - ETH_HLEN <= (<Interface>dev).mtu + 4 and ns.cpu is None:
        (<Interface>dev).tx_packets = (<Interface>dev).tx_packets + 1       # += would count a reference
        (<Interface>dev).tx_bytes = (<Interface>dev).tx_bytes + f.len
        (<Interface>dev).wire.send(f)
    else:
        ns.to_wire_with_care(<Interface>dev, f)


cdef inline void transmit(Neighbourhood ns, Interface dev, Frame* f) noexcept:
    """Hand a frame to an interface; its source MAC is the interface's."""
    memcpy(f.data + 6, dev.mac, 6)
    if dev.kind == BRIDGE:
        ns.bridge_transmit(dev, f)
    else:
        to_wire(ns, <void*>dev, f)


cdef inline void neighbour_output(Neighbourhood ns, const Way* w, Frame* f) noexcept:
    """Address a frame to the next hop."""
    if w.neighbour == NULL or (<Neighbour>w.neighbour).state < N_REACHABLE or ns.cpu is not None and ns.cpu.running:
        ns.output_unaddressed(w, f)
        return
    if (<Neighbour>w.neighbour).stale(ns.calendar.now):
        ns.neighbour_stale(<Neighbour>w.neighbour)
    memcpy(f.data, (<Neighbour>w.neighbour).mac, 6)
    transmit(ns, <Interface>w.out, f)
