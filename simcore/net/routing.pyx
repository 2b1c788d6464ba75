from natfast.filter cimport ADDR_BROADCAST, ADDR_LOCAL, ADDR_MULTICAST, ADDR_UNICAST, address_type
from simcore.net.interface cimport LOOPBACK, Interface
from simcore.net.neighbours cimport Neighbour
from simcore.net.ways cimport FROM_HERE, W_BROADCAST, W_DROP, W_FORWARD, W_LOCAL, W_UNREACHABLE, Way, ways_note

cdef uint32_t ALL_HOSTS = 0xE0000001U


cdef class Routing(Tables):
    """The part of a `Namespace` that decides where packets go."""

    cdef void route_input(self, Interface dev, uint64_t addresses, Way* w) noexcept:
        """Decide on a received packet's way, and remember it."""
        self.decide_input(dev, <uint32_t>(addresses >> 32), <uint32_t>addresses, w)
        self.next_neighbour(w)
        ways_note(&self.ways, addresses, dev.index + 1, w)

    cdef void decide_input(self, Interface dev, uint32_t src, uint32_t dst, Way* w) noexcept:
        """A received packet's way by addresses and routes; martians go nowhere (RFC 1812 5.3.7)."""
        cdef uint32_t kind
        cdef int i
        w.kind = W_DROP
        w.source = 0
        w.oif = -1
        w.nexthop = 0
        if (src >> 28) == 14 or src == 0xFFFFFFFFU:
            return
        if ((src >> 24) == 127 or (dst >> 24) == 127) and not dev.route_localnet and dev.kind != LOOPBACK:
            return
        if (dst >> 28) == 14:
            # every interface listens to all-hosts; a sender without address may only speak to its own link
            if dst == ALL_HOSTS and (src == 0 or self.valid_source(dev, src, -1)):
                w.kind = W_BROADCAST
            return
        if dst == 0xFFFFFFFFU or (src == 0 and dst == 0):
            if src == 0 or self.valid_source(dev, src, -1):
                w.kind = W_BROADCAST
            return
        if src == 0 or dst == 0:
            return                                  # the rest of 0/8 is ordinary unicast to Linux
        kind = address_type(&self.host, dst)
        if kind == ADDR_LOCAL or kind == ADDR_BROADCAST:
            if self.valid_source(dev, src, -1):
                w.kind = W_LOCAL if kind == ADDR_LOCAL else W_BROADCAST
            return
        i = self.routes.lookup(dst)
        if i < 0 or not dev.forwarding:
            w.kind = W_UNREACHABLE
            return
        if not self.valid_source(dev, src, self.routes.routes[i].interface):
            return
        w.kind = W_FORWARD
        w.oif = self.routes.routes[i].interface
        w.nexthop = self.routes.routes[i].via or dst
        w.source = self.routes.routes[i].source

    cdef bint valid_source(self, Interface dev, uint32_t src, int oif) noexcept:
        """May this sender's packets come in by `dev`, to leave by `oif` (-1: they stay)? fib_validate_source.

        Without rp_filter only the host's own addresses are refused; with it, or where the answer decides on a redirect,
        the way back is looked up: strict (1) wants it to be `dev`, loose (2) wants there to be one.
        """
        cdef int i
        if dev.kind == LOOPBACK:
            return True
        if not dev.rp_filter and (oif != dev.index or not dev.send_redirects):
            return not self.has_address(src)
        if address_type(&self.host, src) != ADDR_UNICAST:
            return False
        i = self.routes.lookup(src)
        if i >= 0 and self.routes.routes[i].interface == dev.index or not dev.rp_filter:
            return True
        return i >= 0 and dev.rp_filter == 2 and dev.address != 0

    cdef void route_output(self, uint64_t addresses, Way* w) noexcept:
        """Decide on the way of a packet from here, and remember it."""
        self.decide_output(<uint32_t>addresses, <uint32_t>(addresses >> 32), w)
        self.next_neighbour(w)
        ways_note(&self.ways, addresses, FROM_HERE, w)

    cdef void decide_output(self, uint32_t dst, uint32_t src, Way* w) noexcept:
        cdef int i
        w.kind = W_UNREACHABLE
        w.oif = -1
        w.nexthop = dst
        w.source = src
        if address_type(&self.host, dst) & ADDR_LOCAL:
            w.kind = W_LOCAL
            w.oif = 0
            if src == 0:
                w.source = dst
            return
        i = self.routes.lookup(dst)
        if i < 0:
            return
        w.kind = W_FORWARD
        w.oif = self.routes.routes[i].interface
        w.nexthop = self.routes.routes[i].via or dst
        if src == 0:
            w.source = self.routes.routes[i].source or (<Interface>self.interfaces[w.oif]).address
        if address_type(&self.host, dst) & (ADDR_BROADCAST | ADDR_MULTICAST):
            w.kind = W_BROADCAST
            w.nexthop = dst                         # no gateway is asked

    cdef void next_neighbour(self, Way* w) noexcept:
        """Who a frame on this way has to be addressed to, if it is one host on a link."""
        cdef Neighbour n
        w.neighbour = NULL
        w.out = NULL if w.oif < 0 else <void*>self.interfaces[w.oif]
        if (w.out != NULL and (<Interface>w.out).kind != LOOPBACK
                and not address_type(&self.host, w.nexthop) & (ADDR_BROADCAST | ADDR_MULTICAST)):
            n = self.neighbour(w.oif, w.nexthop, True)
            w.neighbour = <void*>n                  # the namespace keeps it

    cdef bint has_address(self, uint32_t address) noexcept nogil:
        cdef uint32_t i
        for i in range(self.host.n):
            if self.host.address[i].address == address:
                return True
        return address == 0x7F000001

    cdef uint32_t source_for(self, uint32_t dst) noexcept:
        """The address this host sends from towards `dst`; 0 without a route."""
        cdef Way w
        find_way_out(self, dst, &w)
        return w.source

    cdef uint32_t arp_source(self, Interface out, uint32_t target) noexcept:
        """Our address on the target's subnet, else the interface's first."""
        cdef uint32_t i
        for i in range(self.host.n):
            if self.host.address[i].interface == out.index and (self.host.address[i].address ^ target) & self.host.address[i].mask == 0:
                return self.host.address[i].address
        return out.address
