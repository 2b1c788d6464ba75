"""Routing decisions: which way a packet goes from here, by a namespace's addresses and routes."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from natfast.wide cimport load64, swap64
from simcore.engine.frame cimport IP, Frame
from simcore.net.interface cimport Interface
from simcore.net.tables cimport Tables
from simcore.net.ways cimport FROM_HERE, KnownWay, Way, ways_find

cdef class Routing(Tables):
    cdef void route_input(self, Interface dev, uint64_t addresses, Way* w) noexcept
    cdef void decide_input(self, Interface dev, uint32_t src, uint32_t dst, Way* w) noexcept
    cdef bint valid_source(self, Interface dev, uint32_t src, int oif) noexcept
    cdef void route_output(self, uint64_t addresses, Way* w) noexcept
    cdef void decide_output(self, uint32_t dst, uint32_t src, Way* w) noexcept
    cdef void next_neighbour(self, Way* w) noexcept
    cdef bint has_address(self, uint32_t address) noexcept nogil
    cdef uint32_t source_for(self, uint32_t dst) noexcept
    cdef uint32_t arp_source(self, Interface out, uint32_t target) noexcept


cdef inline uint64_t ip_addresses(const uint8_t* ip) noexcept nogil:
    """Source and destination in one word."""
    return swap64(load64(ip + 12))


cdef inline void find_way(Routing ns, Interface dev, const Frame* f, Way* w) noexcept:
    """ip_route_input: where a received packet goes."""
    cdef uint64_t addresses = ip_addresses(f.data + IP)
    cdef const KnownWay* k = ways_find(&ns.ways, addresses, dev.index + 1)
    if k != NULL:
        w[0] = k.way
    else:
        ns.route_input(dev, addresses, w)


cdef inline void find_way_out(Routing ns, uint64_t addresses, Way* w) noexcept:
    """ip_route_output: where a packet from here goes, and from which address if it has none."""
    cdef const KnownWay* k = ways_find(&ns.ways, addresses, FROM_HERE)
    if k != NULL:
        w[0] = k.way
    else:
        ns.route_output(addresses, w)
