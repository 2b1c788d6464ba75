from libc.string cimport memcmp, memset

from natfast.filter cimport ADDR_LOCAL, ADDR_UNICAST, address_type
from natfast.headers cimport ICMP_DEST_UNREACH, ip_src
from simcore.engine.frame cimport IP, FrameQueue, PACKET_HOST, fq_pop, fq_push, frame_free
from simcore.net.arp cimport ARP_OK, ARP_REPLY, ARP_REQUEST, ARP_TRUNCATED, Arp, arp_emit, arp_parse
from simcore.net.endpoints cimport Endpoint
from simcore.net.interface cimport LOOPBACK, seen
from simcore.net.neighbours cimport N_DELAY, N_INCOMPLETE, N_PERMANENT, N_PROBE
from simcore.net.routing cimport find_way_out
from simcore.net.tables cimport T_LOOPBACK, T_NEIGHBOUR
from simcore.net.view cimport view

cdef enum:
    QUEUE_UNRESOLVED = 101          # frames that wait for an address (Linux: 212992 bytes of skbs)

cdef double RETRANS = 1.0           # s between solicitations
cdef double DELAY_PROBE = 5.0


cdef inline uint64_t neighbour_token(Neighbour n) noexcept:
    return (<uint64_t>n.interface << 40) | (<uint64_t>n.address << 8) | T_NEIGHBOUR


cdef class Neighbourhood(Routing):
    """The part of a `Namespace` that knows its neighbours, and puts frames on wires."""

    # --- to the wire -------------------------------------------------------------------------------

    cdef void to_wire_with_care(self, Interface dev, Frame* f) noexcept:
        """`to_wire` where the interface may be down, watched or unplugged, the frame too long, or the CPU busy with it."""
        if not dev.is_up or f.len - ETH_HLEN > dev.mtu + 4:
            self.drop(f, NULL, "interface down" if not dev.is_up else "longer than the interface's MTU")
        elif self.cpu is not None and self.cpu.running:
            self.cpu.hold(dev, f)
        else:
            self.leave(dev, f)

    cdef void leave(self, Interface dev, Frame* f) noexcept:
        """Whoever watches sees the frame; then it is the wire's."""
        seen(dev, self.calendar.now, f, True)
        if dev.wire is None:
            frame_free(f)
        else:
            dev.wire.send(f)

    cdef void output_unaddressed(self, const Way* w, Frame* f) noexcept:
        """To all, or a group, or a loopback, or whose MAC is not known: then a frame waits for ARP, as it does for the CPU."""
        cdef Interface out = <Interface>w.out
        cdef uint32_t nexthop = w.nexthop
        cdef Neighbour n
        if self.cpu is not None and self.cpu.running:
            self.cpu.hold_output(f, w)
            return
        if w.neighbour == NULL:
            if out.kind == LOOPBACK:
                fq_push(&self.looped, f)
                self.calendar.at(self.calendar.now, self, T_LOOPBACK)
                return
            if (nexthop >> 28) == 14:
                f.data[0] = 1
                f.data[1] = 0
                f.data[2] = 0x5E
                f.data[3] = (nexthop >> 16) & 0x7F
                f.data[4] = (nexthop >> 8) & 255
                f.data[5] = nexthop & 255
            else:
                memset(f.data, 255, 6)
            transmit(self, out, f)
            return
        n = <Neighbour>w.neighbour
        if n.state == 0 and not self.arp_cache.remember(n, self.calendar.now):
            self.drop(f, NULL, "neighbour table overflow")
            return
        if n.waiting.packets >= QUEUE_UNRESOLVED:
            self.drop(fq_pop(&n.waiting), NULL, "neighbour queue full")
        fq_push(&n.waiting, f)
        if self.tracer is not None:
            self.note(out.name, f, "waits for ARP")
        if n.state == 0:
            n.state = N_INCOMPLETE
            n.probes = 1
            self.arp_send(out, ARP_REQUEST, NULL, nexthop, self.arp_source(out, nexthop))
            self.calendar.at(self.calendar.now + RETRANS, self, neighbour_token(n))

    # --- neighbours and ARP ------------------------------------------------------------------------

    cdef void arp_send(self, Interface dev, int op, const uint8_t* target_mac, uint32_t target, uint32_t sender) noexcept:
        cdef Frame* f = arp_emit(op, dev.mac, sender, target_mac, target)
        f.born = self.calendar.now
        transmit(self, dev, f)

    cdef void arp_receive(self, Interface dev, Frame* f) noexcept:
        """Answer requests for our addresses; learn from what is said to us."""
        cdef Arp a
        cdef Neighbour n
        cdef bint ours
        cdef int found = arp_parse(f, &a)
        if found != ARP_OK:
            self.drop(f, NULL, "ARP: truncated" if found == ARP_TRUNCATED else "ARP: not IPv4 over Ethernet")
            return
        ours = (address_type(&self.host, a.target) & ADDR_LOCAL) != 0 and (a.target >> 24) != 127
        if a.op == ARP_REQUEST and ours and a.sender == 0:
            self.arp_send(dev, ARP_REPLY, a.sender_mac, a.sender, a.target)     # duplicate address detection
        elif a.op == ARP_REQUEST and ours and address_type(&self.host, a.sender) == ADDR_UNICAST:
            n = self.neighbour(dev.index, a.sender, True)
            if n.state == N_PERMANENT or self.arp_cache.remember(n, self.calendar.now):
                self.neighbour_known(n, a.sender_mac, False)
                self.arp_send(dev, ARP_REPLY, a.sender_mac, a.sender, a.target)
            else:
                self.drop(f, NULL, "neighbour table overflow")
                return
        elif a.op == ARP_REPLY:
            n = self.neighbour(dev.index, a.sender, False)
            if n is not None and n.remembered:
                self.neighbour_known(n, a.sender_mac, True)
        frame_free(f)

    cdef void neighbour_known(self, Neighbour n, const uint8_t* mac, bint asked) noexcept:
        """What a neighbour said of itself, having been asked or not: who has waited for that goes on."""
        cdef Frame* f
        cdef FrameQueue waiting = n.waiting
        if n.state == N_PERMANENT:
            return
        if asked:
            n.confirm(self.calendar.now)
        elif n.state < N_REACHABLE or memcmp(n.mac, mac, 6) != 0:
            n.hear(self.calendar.now)
        self.ways.changes += 1                      # what is kept of the MAC, or that it is to be asked
        memcpy(n.mac, mac, 6)
        memset(&n.waiting, 0, sizeof(FrameQueue))
        while True:
            f = fq_pop(&waiting)
            if f == NULL:
                return
            if n.stale(self.calendar.now):
                self.neighbour_stale(n)
            memcpy(f.data, n.mac, 6)
            transmit(self, <Interface>self.interfaces[n.interface], f)

    cdef void neighbour_failed(self, Neighbour n) noexcept:
        """Nobody answered: what waited is dropped, and its senders are told (3/1)."""
        cdef Frame* f
        cdef FrameQueue waiting = n.waiting
        cdef Packet p
        n.state = 0
        memset(&n.waiting, 0, sizeof(FrameQueue))
        while True:
            f = fq_pop(&waiting)
            if f == NULL:
                return
            memset(&p, 0, sizeof(Packet))
            view(&p, f)
            f.packet_type = PACKET_HOST
            if address_type(&self.host, ip_src(f.data + IP)) & ADDR_LOCAL:
                self.local_error(f)
            else:
                self.icmp_error(ICMP_DEST_UNREACH, 1, 0, f, &p, W_FORWARD)
            self.drop(f, NULL, "neighbour unreachable")

    cdef void neighbour_stale(self, Neighbour n) noexcept:
        """Go on using it, and ask if nothing confirms it."""
        n.state = N_DELAY
        n.probes = 0
        self.calendar.at(self.calendar.now + DELAY_PROBE, self, neighbour_token(n))

    cdef double vouched_for(self, Neighbour n) noexcept:
        """When a connection from here last had something acknowledged that went by this neighbour (dst_confirm); 0: never."""
        cdef Endpoint e
        cdef Way w
        cdef double last = 0
        for e in self.sockets:
            if e.confirmed > last:
                find_way_out(self, <uint64_t>e.local_ip << 32 | e.remote_ip, &w)
                if w.neighbour == <void*>n:
                    last = e.confirmed
        return last

    cdef void neighbour_event(self, uint64_t token) noexcept:
        """A neighbour's time is over: to trust it, or to wait for its answer."""
        cdef Neighbour n = <Neighbour>self.neighbour_objects[self.neighbour_index(token)]
        cdef double vouched
        if n.state == N_DELAY:
            vouched = self.vouched_for(n)
            if vouched > 0 and vouched >= self.calendar.now - DELAY_PROBE:
                n.confirm(vouched)
            else:
                n.state = N_PROBE
                n.probes = 0
        if n.state == N_INCOMPLETE or n.state == N_PROBE:
            if n.probes >= 3:
                self.neighbour_failed(n)
                return
            n.probes += 1
            self.arp_send(<Interface>self.interfaces[n.interface], ARP_REQUEST, n.mac if n.state == N_PROBE else NULL, n.address,
                          self.arp_source(<Interface>self.interfaces[n.interface], n.address))
            self.calendar.at(self.calendar.now + RETRANS, self, token)

    cdef uint32_t neighbour_index(self, uint64_t token) noexcept:
        cdef uint64_t index = 0
        self.neighbours.get(token >> 8, &index)
        return <uint32_t>index

    # --- what the layers above do ------------------------------------------------------------------

    cdef void bridge_transmit(self, Interface bridge, Frame* f) noexcept:
        """A frame from here leaves by a bridge: by one of its ports, or all."""

    cdef void icmp_error(self, int kind, int code, uint32_t info, Frame* f, Packet* p, int way) noexcept:
        """An ICMP error about `f`, which stays the caller's."""

    cdef void local_error(self, Frame* f) noexcept:
        """The socket that sent `f` learns that its next hop is unreachable."""
