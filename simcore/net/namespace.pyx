"""A network namespace: the way of a packet through a Linux host.

One class models container, Docker host, router and server alike; they differ in interfaces, routes and
rules. The order of the steps is Linux's: bridge (br_netfilter), ip_rcv, PREROUTING, routing, INPUT or
FORWARD, POSTROUTING, fragmentation, neighbour, wire. Nothing here waits: timers are calendar events.

It stands on what a namespace consists of (`tables`), where packets go (`routing`), how frames get to the next
hop (`neighbourhood`), and what a host says itself (`messages`).
"""
import ipaddress

from cpython.ref cimport Py_INCREF
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memmove, memset

from natfast.checksum cimport canonical, fold, ip_checksum_ok, ip_decrease_ttl, pseudo_sum, replace2, sum_bytes
from natfast.conntrack cimport conntrack_attach, conntrack_confirm
from natfast.fastpath cimport probable_bucket, probable_entry
from natfast.filter cimport ADDR_LOCAL, NF_ACCEPT, NF_REJECT, address_type
from natfast.headers cimport (ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ICMP_DEST_UNREACH, ICMP_PARAMETERPROB,
                              ICMP_TIME_EXCEEDED, IPPROTO_ICMP, IPPROTO_IGMP, IPPROTO_PIM, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE,
                              IP_DF, be16, ip_dst, ip_frag, ip_ihl, ip_is_fragment, ip_src, ip_total, put16)
from natfast.hooks cimport Netfilter, forward_shortly
from natfast.packet cimport BY_RULE, IP_CT_IS_REPLY, IP_CT_NEW, FORWARD, LOCAL_IN, LOCAL_OUT, POSTROUTING, PREROUTING, Packet
from natfast.table cimport IPS_SEEN_REPLY, Bucket, Entry
from natfast.defrag import fragment
from simcore.engine.ahead cimport LINE, Trail, trail_add
from simcore.engine.frame cimport (CHECKSUM_PARTIAL, IP, Frame, PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST, fq_pop,
                                   frame_bytes, frame_copy, frame_free, frame_from_bytes, frame_need, frame_new)
from simcore.net.endpoints cimport Endpoint
from simcore.net.interface cimport ETHERNET, Interface, seen
from simcore.net.mac cimport mac_key
from simcore.net.messages cimport show_partial_sum
from simcore.net.neighbourhood cimport neighbour_output, to_wire
from simcore.net.neighbours cimport ArpCache, N_REACHABLE, Neighbour
from simcore.net.options cimport options_forward, options_parse
from simcore.net.routing cimport find_way, find_way_out, ip_addresses
from simcore.net.tables cimport T_FRAGMENTS, T_LOOPBACK, T_NEIGHBOUR
from simcore.net.view cimport view
from simcore.net.ways cimport (FROM_HERE, W_BROADCAST, W_DROP, W_FORWARD, W_LOCAL, W_UNREACHABLE, KeptWay, KnownWay, Way, ways_find,
                               ways_trail)
from simcore.net.sysctl import numbers

cdef const uint8_t* LINK_LOCAL = b"\x01\x80\xc2\x00\x00"

cdef tuple DROPPED_BY = ("a rule", "conntrack: table full", "conntrack: insert failed", "NAT: no free source port",
                         "NAT: cannot be translated")
"""By a packet's `dropped_by`."""


cdef str stopped_by(const Packet* p, str hook):
    """Why netfilter has dropped a packet: for a reason of its own, else at a hook by one of its rules."""
    return hook if p.dropped_by == BY_RULE else <str>DROPPED_BY[p.dropped_by]


cdef inline uint32_t untagged_type(Frame* f) noexcept:
    """The frame's EtherType; tags of VLAN 0, which only carry a priority (IEEE 802.1Q 6.9), are taken off before.

    No interface here is of another VLAN: the type of such a tag is nobody's protocol.
    """
    cdef uint32_t kind = be16(f.data + 12)
    return kind if kind == ETH_P_IP else type_behind_tags(f)


cdef uint32_t type_behind_tags(Frame* f) noexcept:
    cdef uint32_t kind = be16(f.data + 12)
    while (kind == ETH_P_8021Q or kind == ETH_P_8021AD) and f.have >= ETH_HLEN + 4 and be16(f.data + 14) & 0x0FFF == 0:
        memmove(f.data + 12, f.data + 16, f.have - 16)
        f.have -= 4
        f.len -= 4
        kind = be16(f.data + 12)
    return kind


cdef inline bint header_ok(Namespace ns, Frame* f) noexcept:
    """`ip_header_ok`, which has nothing to look for in what a simulated host made."""
    return f.checksum_ok and f.have >= IP + 20 and f.len == IP + ip_total(f.data + IP) or ns.ip_header_ok(f)


cdef inline bint forward_at_once(Namespace ns, Interface dev, Frame* f, Way* w) noexcept:
    """Translate and route an ordinary packet of a known connection; False, with nothing changed, if it has to go the long way.

    All that happens to it between ip_rcv and ip_finish_output, done together where nobody watches the steps; both ways lead to the
    same (tests/engine/test_engines_agree.py). natfast's batches go such a way, too.
    """
    cdef Netfilter nf = ns.netfilter
    cdef uint8_t* ip = f.data + IP
    cdef const KnownWay* k
    cdef uint64_t m0, m1
    cdef uint32_t ref
    if (ns.cpu is not None or ns.tracer is not None or not f.checksum_ok or f.packet_type != PACKET_HOST
            or f.len != IP + ip_total(ip) or f.have < IP + 44 and f.have != f.len and (f.have < IP + 28 or ip[9] == IPPROTO_TCP)):
        return False
    ref = probable_entry(&nf.c, f.data, f.len, &m0, &m1)
    if ref == 0:
        return False
    # from whom it came to whom its connection's answers come from: as the routing decision sees a packet after PREROUTING
    k = ways_find(&ns.ways, <uint64_t>ip_src(ip) << 32 | nf.c.table.entries[ref >> 1].tuple[1 - (ref & 1)].src, dev.index + 1)
    if k == NULL or k.way.kind != W_FORWARD or k.way.out == <void*>dev or f.len - IP > (<Interface>k.way.out).mtu:
        return False
    nf.clock(ns.calendar.now)
    if forward_shortly(nf, ip, m0, m1, ref, dev.number, (<Interface>k.way.out).number, True) == 0:
        return False
    w[0] = k.way
    return True


cdef inline bint is_kept(Namespace ns, const KeptWay* kept) noexcept:
    return kept.changes == ns.ways.changes and ns.calendar.now < kept.until


cdef inline void finish_output(Namespace ns, const Way* w, Frame* f) noexcept:
    """ip_finish_output: fragment if needed, then the neighbour."""
    if f.frag_max or f.len - IP > (<Interface>w.out).mtu:
        ns.output_fragments(w, f)
    else:
        neighbour_output(ns, w, f)


cdef inline void take(Namespace ns, Frame* f, int port) noexcept:
    """A frame has come in: to the bridge that its interface is a port of, or up."""
    cdef Interface dev = <Interface>ns.at_port[port]
    if not dev.is_up or f.len < ETH_HLEN:
        ns.drop(f, NULL, "interface down" if not dev.is_up else "shorter than an Ethernet header")
        return
    seen(dev, ns.calendar.now, f, False)
    f.frag_max = 0
    if dev.master is not None:
        ns.options.size = 0
        ns.bridge_receive(dev, f)
    else:
        ns.ethernet_receive(dev, f)


cdef inline bint ip_takes(Namespace ns, Frame* f, Packet* p) noexcept:
    """Is this packet one for this host to look at? A bad one is dropped."""
    ns.options.size = 0
    if f.packet_type == PACKET_OTHERHOST:
        ns.drop(f, p, "for another host")
        return False
    if not header_ok(ns, f):
        if ns.netfilter is not None:
            ns.netfilter.put(p)
        return False
    return True


cdef inline void ip_go_on(Namespace ns, Interface dev, Frame* f, Packet* p) noexcept:
    """The routing decision, and where it leads."""
    cdef Way w
    find_way(ns, dev, f, &w)
    if ip_ihl(f.data + IP) > 20 and w.kind != W_DROP and not ns.options_in(f, p, &w):
        ns.drop(f, p, "IP options")
    elif w.kind == W_FORWARD:
        ns.ip_forward(dev, f, p, &w)
    elif w.kind == W_LOCAL or w.kind == W_BROADCAST:
        ns.local_in(dev, f, p, &w)
    else:
        ns.no_way(dev, f, p, &w)


cdef class Namespace(Messages):
    """A network namespace with its own interfaces, neighbours, routes, rules and sockets.

    Parameters
    ----------
    env : simcore.engine.Environment
    name : str
    sysctl : dict, optional
        Settings by full name; those of netfilter go to `netfilter`.
    rules : natfast.Rules, optional
        With rules (an empty `Rules()` will do) the namespace tracks connections; without, it does not, as a
        Linux namespace that nobody put a rule into.
    seed : int
        Of NAT's port choice.
    arp_cache : ArpCache, optional
        Of the machine that the namespace is one of several of; without, it is a machine of its own.

    Raises
    ------
    ValueError
        For a sysctl that is not known, or is the machine's.
    """

    def has_route(self, address):
        """Is there a way from here to an IPv4 address?"""
        return self.source_for(int(ipaddress.IPv4Address(address))) != 0

    # --- receiving ---------------------------------------------------------------------------------

    cdef void receive(self, Frame* f, int port) noexcept:
        if self.cpu is not None:
            self.cpu.offer(f, port)
        else:
            take(self, f, port)

    cdef void process(self, Frame* f, int port) noexcept:
        take(self, f, port)

    cdef void ethernet_receive(self, Interface dev, Frame* f) noexcept:
        """eth_type_trans, then by protocol."""
        cdef uint32_t kind = untagged_type(f)
        cdef Packet p
        if f.data[0] & 1:
            f.packet_type = PACKET_BROADCAST if mac_key(f.data) == <uint64_t>0xFFFFFFFFFFFFULL else PACKET_MULTICAST
        elif memcmp(f.data, dev.mac, 6) == 0:
            f.packet_type = PACKET_HOST
        else:
            f.packet_type = PACKET_OTHERHOST
        if kind == ETH_P_IP:
            memset(&p, 0, sizeof(Packet))
            self.ip_receive(dev, f, &p)
        elif kind == ETH_P_ARP:
            self.arp_receive(dev, f)
        else:
            self.drop(f, NULL, "unknown protocol")

    cdef int hook(self, int hook, Frame* f, Packet* p) noexcept:
        """Everything registered at a netfilter hook; what that did to the packet besides its bytes, the frame keeps.

        That is a mark, and an option that TCPMSS may have added.
        """
        cdef int v = self.netfilter.run(hook, p)
        f.mark = p.mark
        if p.len != f.len - IP:
            f.have += p.len - (f.len - IP)
            f.len = IP + p.len
        return v

    # --- bridge ------------------------------------------------------------------------------------

    cdef void bridge_receive(self, Interface port, Frame* f) noexcept:
        """br_handle_frame, with br_netfilter's PREROUTING for IPv4 if it is on."""
        cdef Interface bridge = port.master
        cdef Packet p
        cdef Way w
        cdef uint32_t before
        cdef bint hooked = False
        cdef Neighbour n
        if self.cpu is not None:
            self.cpu.bridged += 1
        if f.data[6] & 1 or mac_key(f.data + 6) == 0:
            self.drop(f, NULL, "bad source MAC")
            return
        if memcmp(f.data, LINK_LOCAL, 5) == 0 and f.data[5] & 0xF0 == 0 and f.data[5]:
            # IEEE 802.1D 7.12.6: reserved for the link; never forwarded, for the port itself (PAUSE for nobody)
            if f.data[5] == 1:
                self.drop(f, NULL, "bridge: PAUSE frame")
            else:
                self.fdb.learn(mac_key(f.data + 6), port.index, self.calendar.now)
                self.ethernet_receive(port, f)
            return
        memset(&p, 0, sizeof(Packet))
        f.packet_type = PACKET_HOST if memcmp(f.data, bridge.mac, 6) == 0 else PACKET_OTHERHOST
        if f.data[0] & 1:
            f.packet_type = PACKET_BROADCAST if mac_key(f.data) == <uint64_t>0xFFFFFFFFFFFFULL else PACKET_MULTICAST
        if f.packet_type == PACKET_MULTICAST and be16(f.data + 12) == ETH_P_IP and not self.ip_header_ok(f, False):
            return                                  # multicast snooping looks at the header before anyone else
        if self.bridge_netfilter and self.netfilter is not None and be16(f.data + 12) == ETH_P_IP:
            if not header_ok(self, f):
                return
            if ip_is_fragment(f.data + IP):
                f = self.reassemble(f, 0x1000 + port.index)
                if f == NULL:
                    return
            elif not bridge.watched and forward_at_once(self, bridge, f, &w):
                self.fdb.learn(mac_key(f.data + 6), port.index, self.calendar.now)
                bridge.rx_packets += 1
                bridge.rx_bytes += f.len
                finish_output(self, &w, f)
                return
            hooked = True
            if self.cpu is not None:
                self.cpu.tracked += 1
            view(&p, f)
            p.iif = bridge.number
            p.physin = port.number
            before = ip_dst(p.data)
            self.netfilter.clock(self.calendar.now)
            if self.hook(PREROUTING, f, &p) != NF_ACCEPT:
                self.drop(f, &p, stopped_by(&p, "PREROUTING"))
                return
            if self.tracer is not None:
                self.note(bridge.name, f, prerouting_note(&p, ip_dst(p.data) != before))
            if ip_dst(p.data) != before:
                find_way(self, bridge, f, &w)
                if w.kind == W_FORWARD and w.oif == bridge.index:
                    # stays on the bridge: addressed to the new destination, source MAC kept
                    n = self.neighbour(w.oif, w.nexthop, False)
                    if n is not None and n.state >= N_REACHABLE:
                        memcpy(f.data, n.mac, 6)
                elif w.kind != W_DROP:              # up, be it for an answer that there is no way
                    memcpy(f.data, bridge.mac, 6)
                    f.packet_type = PACKET_HOST
                else:
                    self.drop(f, &p, "no route after DNAT on the bridge")
                    return
        self.bridge_decide(port, bridge, f, &p, hooked)

    cdef void bridge_decide(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept:
        """Learn the source; then up, to one port, or flood (IEEE 802.1D 7.7, 7.8)."""
        cdef Interface out
        cdef int index
        self.fdb.learn(mac_key(f.data + 6), port.index, self.calendar.now)
        if f.data[0] & 1:
            if self.tracer is not None:
                self.note(bridge.name, f, "bridge: broadcast, flooded and up")
            self.flood(port, bridge, f, p, hooked)
            self.bridge_up(bridge, f, p, hooked)
            return
        if memcmp(f.data, bridge.mac, 6) == 0:
            self.bridge_up(bridge, f, p, hooked)
            return
        index = self.fdb.port_of(mac_key(f.data), self.calendar.now)
        if index >= 0:
            out = <Interface>self.interfaces[index]
            if out is port and not port.hairpin:
                self.drop(f, p, "bridge: back to its port")
                return
            if self.tracer is not None:
                self.note(bridge.name, f, f"bridge FDB: port {out.name}")
            self.bridge_forward(out, bridge, f, p, hooked)
        else:
            if self.tracer is not None:
                self.note(bridge.name, f, "bridge: unknown MAC, flooded")
            self.flood(port, bridge, f, p, hooked)
            frame_free(f)
        if hooked:
            self.netfilter.put(p)

    cdef void flood(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept:
        """A copy to every port, not back to `port` unless it is a hairpin; the frame stays the caller's."""
        cdef Interface out
        cdef int i
        for i in range(len(bridge.members)):
            out = <Interface>bridge.members[i]
            if out is not port or port.hairpin:
                self.bridge_forward(out, bridge, frame_copy(f), p, hooked)

    cdef void bridge_up(self, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept:
        """br_pass_frame_up: the frame is for the host."""
        cdef uint32_t kind
        if self.tracer is not None and not f.data[0] & 1:
            self.note(bridge.name, f, "bridge: its own MAC, up to the host")
        seen(bridge, self.calendar.now, f, False)
        kind = untagged_type(f)
        if kind == ETH_P_IP:
            if hooked and f.packet_type != PACKET_HOST and p.ct != 0:
                if not conntrack_confirm(&self.netfilter.c, p):
                    self.drop(f, p, stopped_by(p, "INPUT"))
                    return
            if not hooked:
                self.ip_receive(bridge, f, p)
            elif ip_takes(self, f, p):
                f.frag_max = 0                      # what the bridge reassembled leaves as one packet
                view(p, f)
                ip_go_on(self, bridge, f, p)
        elif kind == ETH_P_ARP:
            self.arp_receive(bridge, f)
        else:
            self.drop(f, NULL, "unknown protocol")

    cdef void bridge_forward(self, Interface out, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept:
        """To another port: FORWARD and POSTROUTING if br_netfilter is on."""
        cdef Packet q
        cdef int v
        if hooked:
            q = p[0]
            view(&q, f)
            q.iif = bridge.number
            q.oif = bridge.number
            q.physout = out.number
            q.mtu = out.mtu
            v = self.hook(FORWARD, f, &q)
            if v == NF_ACCEPT:
                q.iif = 0
                v = self.hook(POSTROUTING, f, &q)
            p.owned = q.owned
            if v != NF_ACCEPT:
                if v == NF_REJECT:
                    if f.packet_type == PACKET_OTHERHOST:
                        f.packet_type = PACKET_HOST     # as br_netfilter shows it to the hooks
                    self.reject(f, &q, W_FORWARD)
                self.drop(f, NULL, stopped_by(&q, "bridged FORWARD"))
                return
        if f.len - ETH_HLEN > out.mtu + 4 and not f.frag_max:
            self.drop(f, NULL, "longer than the port's MTU")
            return
        if f.frag_max:
            self.emit_fragments(out, f, f.frag_max if f.frag_max < out.mtu else out.mtu, NULL)
            return
        to_wire(self, <void*>out, f)

    cdef void bridge_transmit(self, Interface bridge, Frame* f) noexcept:
        """A frame that the host sends into its bridge: FDB or flood."""
        cdef Interface out
        cdef int i, index = -1 if f.data[0] & 1 else self.fdb.port_of(mac_key(f.data), self.calendar.now)
        seen(bridge, self.calendar.now, f, True)
        if index >= 0:
            out = <Interface>self.interfaces[index]
            if self.tracer is not None:
                self.note(bridge.name, f, f"bridge FDB: port {out.name}")
            to_wire(self, <void*>out, f)
            return
        for i in range(len(bridge.members)):
            out = <Interface>bridge.members[i]
            to_wire(self, <void*>out, frame_copy(f))
        frame_free(f)

    # --- IPv4 input --------------------------------------------------------------------------------

    cdef bint ip_header_ok(self, Frame* f, bint trim=True) noexcept:
        """The checks of ip_rcv (RFC 1122 3.2.1.1); trims padding, unless told not to. A bad frame is dropped."""
        cdef uint8_t* ip = f.data + IP
        cdef uint32_t total, ihl
        if f.len < IP + 20 or not frame_need(f, IP + 20):
            self.drop(f, NULL, "IP: truncated")
            return False
        ip = f.data + IP
        ihl = ip_ihl(ip)
        if (ip[0] >> 4) != 4 or ihl < 20 or f.len < IP + ihl or not frame_need(f, IP + ihl):
            self.drop(f, NULL, "IP: bad header")
            return False
        ip = f.data + IP
        if not f.checksum_ok and not ip_checksum_ok(ip, ihl):
            self.drop(f, NULL, "IP: bad checksum")
            return False
        total = ip_total(ip)
        if f.len < IP + total or total < ihl:
            self.drop(f, NULL, "IP: bad length")
            return False
        if trim and f.len > IP + total:
            f.len = IP + total
            if f.have > f.len:
                f.have = f.len
        return True

    cdef Frame* reassemble(self, Frame* f, int where) noexcept:
        """Take a fragment; the whole datagram as a new frame, or NULL while it is incomplete."""
        cdef Frame* g = NULL
        cdef bytes data
        cdef double first
        try:
            data = frame_bytes(f)
            first = self.defrag.next_expiry()
            whole = self.defrag.push(data[IP:], self.calendar.now, where)
            if self.tracer is not None:
                self.note("", f, "defragmentation: held" if whole is None else "defragmentation: complete")
            if whole is None:
                if self.defrag.next_expiry() < first:
                    self.calendar.at(self.defrag.next_expiry(), self, T_FRAGMENTS)
            else:
                data = data[:IP] + whole.data
                g = frame_from_bytes(<const uint8_t*><const char*>data, len(data))
                g.born = f.born
                g.packet_type = f.packet_type
                g.frag_max = whole.max_size
                g.id = f.id
                sizes = whole.sizes
                Py_INCREF(sizes)
                g.pieces = <void*>sizes
        except Exception as error:
            self.calendar.fail(error)
        frame_free(f)
        return g

    cdef void fragment_expiry(self) noexcept:
        """Queues past their time; who was sent to us is told (RFC 792, type 11 code 1)."""
        cdef Frame* f
        cdef bytes data
        cdef Packet p
        try:
            for first, where in self.defrag.expire(self.calendar.now):
                if first and where < 0x1000:
                    data = bytes(IP) + first
                    f = frame_from_bytes(<const uint8_t*><const char*>data, len(data))
                    memset(&p, 0, sizeof(Packet))
                    if address_type(&self.host, ip_dst(f.data + IP)) & ADDR_LOCAL:
                        self.icmp_error(ICMP_TIME_EXCEEDED, 1, 0, f, &p, W_LOCAL)
                    frame_free(f)
            if self.defrag.queues:
                self.calendar.at(self.defrag.next_expiry(), self, T_FRAGMENTS)
        except Exception as error:
            self.calendar.fail(error)

    cdef void ip_receive(self, Interface dev, Frame* f, Packet* p) noexcept:
        """ip_rcv: checks, PREROUTING, routing decision."""
        cdef Way w
        if ip_takes(self, f, p):
            if self.netfilter is not None:
                if forward_at_once(self, dev, f, &w):
                    finish_output(self, &w, f)
                    return
                f = self.prerouting(dev, f, p)
            if f != NULL:
                ip_go_on(self, dev, f, p)

    cdef Frame* prerouting(self, Interface dev, Frame* f, Packet* p) noexcept:
        """Defragmentation and the hook; NULL if the packet goes no further now."""
        cdef uint32_t before
        if ip_is_fragment(f.data + IP):
            f = self.reassemble(f, dev.index)
            if f == NULL:
                return NULL
        if self.cpu is not None:
            self.cpu.tracked += 1
        view(p, f)
        p.iif = dev.number
        before = ip_dst(p.data)
        self.netfilter.clock(self.calendar.now)
        if self.hook(PREROUTING, f, p) != NF_ACCEPT:
            self.drop(f, p, stopped_by(p, "PREROUTING"))
            return NULL
        if self.tracer is not None:
            self.note(dev.name, f, prerouting_note(p, ip_dst(p.data) != before))
        return f

    cdef void no_way(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept:
        if w.kind == W_DROP:
            self.drop(f, p, "martian or unroutable")
            return
        if not dev.forwarding:
            self.drop(f, p, "forwarding is off")
            return
        self.icmp_error(ICMP_DEST_UNREACH, 0, 0, f, p, w.kind)
        self.drop(f, p, "no route")

    cdef bint options_in(self, Frame* f, Packet* p, const Way* w) noexcept:
        """ip_rcv_options: read them and fill in our part; a malformed one is answered (12/0), a source route refused."""
        cdef uint8_t* ip = f.data + IP
        cdef Way back
        cdef int fault
        back.source = ip_dst(ip)
        if w.kind != W_LOCAL:
            find_way_out(self, ip_src(ip), &back)
        fault = options_parse(ip, &self.options, &self.host, back.source, self.time_of_day())
        if fault:
            self.icmp_error(ICMP_PARAMETERPROB, 0, <uint32_t>fault << 24, f, p, w.kind)
        return not fault and not self.options.source_route

    cdef void ip_forward(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept:
        """ip_forward: TTL, MTU, FORWARD, then out."""
        cdef uint8_t* ip = f.data + IP
        cdef Interface out = <Interface>w.out
        cdef uint32_t before
        cdef int v
        if f.packet_type != PACKET_HOST:
            self.drop(f, p, "link-layer broadcast is not forwarded")
            return
        if ip[8] <= 1:
            self.icmp_error(ICMP_TIME_EXCEEDED, 0, 0, f, p, w.kind)
            self.drop(f, p, "TTL exceeded")
            return
        if f.len - IP > out.mtu and ip_frag(ip) & IP_DF and (f.pieces == NULL or f.frag_max > out.mtu):
            self.icmp_error(ICMP_DEST_UNREACH, 4, out.mtu, f, p, w.kind)
            self.drop(f, p, "fragmentation needed and DF set")
            return
        if self.cpu is not None:
            self.cpu.routed += 1
        ip_decrease_ttl(ip)
        if out is dev and dev.send_redirects:
            self.redirect(dev, f, p, w)
        if self.netfilter is not None:
            p.iif = dev.number
            p.oif = out.number
            p.mtu = min(out.mtu, dev.mtu)           # the way back is the way it came
            v = self.hook(FORWARD, f, p)
            if v != NF_ACCEPT:
                if v == NF_REJECT:
                    self.reject(f, p, w.kind)
                self.drop(f, p, stopped_by(p, "FORWARD"))
                return
            if self.options.size:
                options_forward(ip, &self.options, self.arp_source(out, w.nexthop))
            before = ip_src(ip)
            v = self.hook(POSTROUTING, f, p)
            if v != NF_ACCEPT:
                self.drop(f, p, stopped_by(p, "POSTROUTING"))
                return
            if self.cpu is not None and self.netfilter.translates(p):
                self.cpu.natted += 1
            if self.tracer is not None:
                self.note(out.name, f, f"route: {out.name}, TTL -1; FORWARD accepted" + (
                    "" if ip_src(ip) == before else "; POSTROUTING: reverse mapping" if p.ctinfo >= IP_CT_IS_REPLY
                    else "; POSTROUTING: masquerade"))
            self.netfilter.put(p)
        else:
            if self.options.size:
                options_forward(ip, &self.options, self.arp_source(out, w.nexthop))
            if self.tracer is not None:
                self.note(out.name, f, f"route: {out.name}, TTL -1")
        finish_output(self, w, f)

    cdef void local_in(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept:
        """INPUT, then the protocol: a socket, an answer, or an error."""
        cdef uint8_t* ip
        cdef uint32_t l4, n
        cdef Endpoint e
        cdef int v
        cdef int protocol
        if ip_is_fragment(f.data + IP):
            f = self.reassemble(f, dev.index)
            if f == NULL:
                return
            view(p, f)
        f.frag_max = 0
        if self.netfilter is not None:
            p.iif = dev.number
            p.oif = 0
            v = self.hook(LOCAL_IN, f, p)
            if v != NF_ACCEPT:
                if v == NF_REJECT:
                    self.reject(f, p, w.kind)
                self.drop(f, p, stopped_by(p, "INPUT"))
                return
            self.netfilter.put(p)
        if self.flows is not None:
            self.flows.arrived(f, self.calendar.now)
        ip = f.data + IP
        l4 = IP + ip_ihl(ip)
        n = f.len - l4
        protocol = ip[9]
        if protocol == IPPROTO_ICMP:
            self.icmp_in(dev, f, l4)
            return
        if protocol == IPPROTO_UDP:
            if n < 8 or not frame_need(f, l4 + 8):
                self.drop(f, NULL, "UDP: truncated")
                return
            ip = f.data + IP
            v = be16(f.data + l4 + 4)
            if <uint32_t>v > n or v < 8:
                self.drop(f, NULL, "UDP: bad length")
                return
            if <uint32_t>v < n:
                f.len = l4 + v
                if f.have > f.len:
                    f.have = f.len
            if be16(f.data + l4 + 6) != 0 and not f.checksum_ok and fold(
                    sum_bytes(f.data + l4, f.have - l4) + pseudo_sum(ip, IPPROTO_UDP, v)) != 0xFFFF:
                self.drop(f, NULL, "UDP: bad checksum")
                return
        elif protocol == IPPROTO_TCP:
            if n < 20 or not frame_need(f, l4 + 20) or (f.data[l4 + 12] >> 4) < 5 or (f.data[l4 + 12] >> 4) * 4 > <int>n:
                self.drop(f, NULL, "TCP: truncated")
                return
            frame_need(f, l4 + (f.data[l4 + 12] >> 4) * 4)
            ip = f.data + IP
            if not f.checksum_ok and fold(sum_bytes(f.data + l4, f.have - l4) + pseudo_sum(ip, IPPROTO_TCP, n)) != 0xFFFF:
                self.drop(f, NULL, "TCP: bad checksum")
                return
            if w.kind != W_LOCAL or f.packet_type != PACKET_HOST:
                self.drop(f, NULL, "TCP: not for one host")
                return
        elif protocol == IPPROTO_UDPLITE:
            # RFC 3828: no socket here ever takes it; what is well-formed is told so
            v = be16(f.data + l4 + 4) if n >= 8 and frame_need(f, l4 + 8) else 1
            ip = f.data + IP
            if v == 0:
                v = n
            if v >= 8 and <uint32_t>v <= n and be16(f.data + l4 + 6) != 0 and w.kind == W_LOCAL and fold(
                    sum_bytes(f.data + l4, min(v, f.have - l4)) + pseudo_sum(ip, IPPROTO_UDPLITE, n)) == 0xFFFF:
                self.icmp_error(ICMP_DEST_UNREACH, 3, 0, f, p, w.kind)
            self.drop(f, NULL, "UDP-Lite: no socket")
            return
        elif protocol == IPPROTO_IGMP or protocol == IPPROTO_PIM:
            self.drop(f, NULL, "IGMP" if protocol == IPPROTO_IGMP else "PIM")    # Linux listens to both
            return
        else:
            self.icmp_error(ICMP_DEST_UNREACH, 2, 0, f, p, w.kind)
            self.drop(f, NULL, "unknown IP protocol")
            return
        e = self.socket_for(protocol, ip_dst(ip), be16(f.data + l4 + 2), ip_src(ip), be16(f.data + l4))
        if e is not None:
            if self.cpu is not None and self.cpu.running:
                self.cpu.hold_local(e, f, l4)
            else:
                e.packet(f, l4)
        elif protocol == IPPROTO_UDP:
            if w.kind == W_LOCAL:
                self.icmp_error(ICMP_DEST_UNREACH, 3, 0, f, p, w.kind)
            self.drop(f, NULL, "UDP: no socket")
        else:
            self.send_reset(f)
            self.drop(f, NULL, "TCP: no socket")

    # --- output ------------------------------------------------------------------------------------

    cdef Frame* repeat_packet(self, const uint8_t* headers, uint32_t have, uint32_t length) noexcept:
        """A frame of `length` bytes that begins with these `have`, a packet of the next identification."""
        cdef Frame* f = frame_new(have, length)
        cdef uint8_t* ip = f.data + IP
        memcpy(f.data, headers, have)
        self.ip_id += 1
        put16(ip + 10, canonical(replace2(be16(ip + 10), be16(ip + 4), self.ip_id)))
        put16(ip + 4, self.ip_id)
        f.born = self.calendar.now
        return f

    cdef void send_again(self, Frame* f, uint8_t* headers, KeptWay* kept) noexcept:
        """`local_out` for one of many packets that begin with these headers, frame header included: where they go is kept."""
        if is_kept(self, kept) and self.cpu is None and self.flows is None and f.len - IP <= (<Interface>kept.out).mtu:
            to_wire(self, kept.out, f)
            return
        memset(f.data, 0, 12)
        self.local_out(f)
        self.keep_way(headers, kept)

    cdef void keep_way(self, uint8_t* headers, KeptWay* kept) noexcept:
        """Keep where packets with these headers go, if nothing but a neighbour whose MAC is known is between them and the wire."""
        cdef const KnownWay* k = ways_find(&self.ways, ip_addresses(headers + IP), FROM_HERE)
        cdef Neighbour n
        kept.until = 0
        if self.netfilter is not None or k == NULL or k.way.neighbour == NULL or (<Interface>k.way.out).kind != ETHERNET:
            return
        n = <Neighbour>k.way.neighbour
        memcpy(headers, n.mac, 6)
        memcpy(headers + 6, (<Interface>k.way.out).mac, 6)
        kept.out = k.way.out
        kept.until = n.good_until()
        kept.changes = self.ways.changes

    cdef void trail_again(self, const uint8_t* headers, const KeptWay* kept, Trail* t) noexcept:
        """Add what a packet of `send_again` touches on its way to the next hop and through it."""
        if is_kept(self, kept) and (<Interface>kept.out).wire is not None:
            (<Interface>kept.out).wire.trail(headers, t)

    cdef void trail(self, const uint8_t* frame, int port, Trail* t) noexcept:
        cdef Interface dev = <Interface>self.at_port[port]
        cdef Netfilter nf = self.netfilter
        cdef Bucket* bucket
        cdef uint64_t m0, m1
        cdef const Entry* entry
        cdef uint32_t ref
        cdef uint64_t* cell
        trail_add(t, &self.at_port[port], sizeof(void*))
        trail_add(t, <void*>dev, <char*>&dev.port - <char*><void*>dev)
        if dev.master is not None:
            dev = dev.master
            cell = self.fdb.entries.find(mac_key(frame + 6))
            if cell != NULL:
                trail_add(t, cell - 1, 2 * sizeof(uint64_t))
        ways_trail(&self.ways, ip_addresses(frame + IP), dev.index + 1, t)
        if nf is None:
            return
        # of the whole packet only the headers are here
        bucket = probable_bucket(&nf.c, frame, ETH_HLEN + ip_total(frame + IP), &m0, &m1, &ref)
        trail_add(t, bucket, LINE)
        if ref != 0:
            entry = &nf.c.table.entries[ref >> 1]
            trail_add(t, entry, LINE if entry.proto == IPPROTO_UDP and not entry.status & IPS_SEEN_REPLY else sizeof(Entry))

    cdef void local_out(self, Frame* f, const Packet* cause=NULL) noexcept:
        """A packet that this host sends: OUTPUT, routing, POSTROUTING. `cause`: what an ICMP error is about."""
        cdef Way w
        cdef Packet p
        cdef uint32_t before, src
        cdef int v
        find_way_out(self, ip_addresses(f.data + IP), &w)
        if w.kind == W_UNREACHABLE:
            self.drop(f, NULL, "no route from here")
            return
        if self.flows is not None:
            self.flows.sent(f, self.calendar.now)
        if self.netfilter is not None:
            memset(&p, 0, sizeof(Packet))
            view(&p, f)
            p.oif = (<Interface>w.out).number
            p.mtu = (<Interface>w.out).mtu
            if cause != NULL:
                conntrack_attach(&p, cause)
            before = ip_dst(p.data)
            src = ip_src(p.data)
            self.netfilter.clock(self.calendar.now)
            v = self.hook(LOCAL_OUT, f, &p)
            if v != NF_ACCEPT:
                if v == NF_REJECT:
                    if f.checksum_ok == CHECKSUM_PARTIAL:
                        show_partial_sum(f)
                    self.reject(f, &p, w.kind)  # its own sender is told, over the loopback
                self.drop(f, &p, stopped_by(&p, "OUTPUT"))
                return
            if ip_dst(p.data) != before:
                find_way_out(self, ip_addresses(p.data), &w)
                if w.kind == W_UNREACHABLE:
                    self.drop(f, &p, "no route after OUTPUT")
                    return
                p.oif = (<Interface>w.out).number
            if self.hook(POSTROUTING, f, &p) != NF_ACCEPT:
                self.drop(f, &p, stopped_by(&p, "POSTROUTING"))
                return
            self.netfilter.put(&p)
        finish_output(self, &w, f)

    cdef void output_fragments(self, const Way* w, Frame* f) noexcept:
        cdef Interface out = <Interface>w.out
        self.emit_fragments(out, f, f.frag_max if f.frag_max and f.frag_max < out.mtu else out.mtu, w)

    cdef void emit_fragments(self, Interface out, Frame* f, uint32_t size, const Way* w) noexcept:
        """Send a datagram in fragments of `size`, the pieces it came in if they fit; to a bridge port if there is no way."""
        cdef bytes data
        cdef Frame* g
        try:
            data = frame_bytes(f)
            sizes = <object>f.pieces if f.pieces != NULL else ()
            for piece in fragment(data[IP:], size, False, sizes, w != NULL):
                data = data[:IP] + piece
                g = frame_from_bytes(<const uint8_t*><const char*>data, len(data))
                g.born = f.born
                g.id = f.id
                g.flow = f.flow
                if w != NULL:
                    neighbour_output(self, w, g)
                else:
                    to_wire(self, <void*>out, g)
        except Exception as error:
            self.calendar.fail(error)
        frame_free(f)

    cdef void fire(self, uint64_t token) noexcept:
        cdef Frame* f
        cdef Packet p
        cdef int kind = token & 255
        if kind == T_NEIGHBOUR:
            self.neighbour_event(token)
        elif kind == T_FRAGMENTS:
            self.fragment_expiry()
        elif kind == T_LOOPBACK:
            f = fq_pop(&self.looped)
            f.packet_type = PACKET_HOST
            f.frag_max = 0
            memset(&p, 0, sizeof(Packet))
            self.ip_receive(<Interface>self.interfaces[0], f, &p)

    # --- sockets -----------------------------------------------------------------------------------

    def ephemeral_port(self, int protocol, uint32_t local, uint32_t remote, uint16_t rport):
        """A free port of ip_local_port_range; OSError EADDRNOTAVAIL if there is none."""
        return self.sockets.ephemeral_port(protocol, local, remote, rport, *numbers(self.sysctl["net.ipv4.ip_local_port_range"]))


cdef str prerouting_note(Packet* p, bint mapped):
    """What PREROUTING did, for the trace."""
    if p.ct == 0:
        return "PREROUTING: INVALID, goes on untracked"
    cdef str state = "NEW" if p.ctinfo == IP_CT_NEW else "ESTABLISHED" if p.ctinfo == 0 or p.ctinfo == IP_CT_IS_REPLY else "RELATED"
    if not mapped:
        return f"PREROUTING: {state}"
    if p.ctinfo >= IP_CT_IS_REPLY:
        return f"PREROUTING: {state}, reverse mapping"
    return f"PREROUTING: {state}, published port (DNAT)"
