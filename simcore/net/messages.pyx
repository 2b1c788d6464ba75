from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from natfast.checksum cimport fold, ip_checksum, ip_checksum_ok, pseudo_sum, sum_bytes
from natfast.filter cimport ADDR_BROADCAST, ADDR_LOCAL, ADDR_MULTICAST, address_type
from natfast.headers cimport (ETH_P_IP, ICMP_DEST_UNREACH, ICMP_ECHO, ICMP_ECHOREPLY, ICMP_REDIRECT, ICMP_TIMESTAMP, IPPROTO_AH,
                              IPPROTO_ESP, IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE,
                              IP_DF, IP_OFFSET, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, be16, be32, icmp_is_error, ip_dst, ip_frag, ip_ihl,
                              ip_src, ip_total, put16, put32)
from natfast.tcp cimport tcp_set_closing
from natfast.trackers cimport l4_checksum_ok
from simcore.engine.frame cimport CHECKSUM_PARTIAL, IP, frame_free, frame_need, frame_new
from simcore.net.icmp cimport ICMP_QUOTED, icmp_emit_error, icmp_emit_reply, icmp_is_answered
from simcore.net.neighbourhood cimport to_wire
from simcore.net.options cimport options_echo
from simcore.net.routing cimport find_way_out
from simcore.net.transport_checksum cimport set_checksum
from simcore.net.ways cimport W_BROADCAST, W_FORWARD, W_LOCAL, W_UNREACHABLE

cdef enum:
    REJECT_RESET = 100              # REJECT --reject-with tcp-reset


cdef bint rejectable(Packet* p, bint forwarded_reset) noexcept nogil:
    """May REJECT answer this packet: is its checksum right?

    It is enough that conntrack found it so, but for the reset of what was to be forwarded. Otherwise it is summed now, together
    with its IP header, which makes no difference unless the host has filled in an option. Some protocols have no checksum over
    all they carry.
    """
    cdef uint32_t protocol = p.data[9], off = ip_ihl(p.data)
    if p.checksum_ok or p.summed and not forwarded_reset:
        return True
    if (protocol == IPPROTO_GRE or protocol == IPPROTO_AH or protocol == IPPROTO_ESP or protocol == IPPROTO_SCTP
            or protocol == IPPROTO_UDPLITE or protocol == IPPROTO_UDP and p.avail >= off + 8 and be16(p.data + off + 6) == 0):
        return True
    return ip_checksum_ok(p.data, off) and l4_checksum_ok(p, off, protocol)


cdef void show_partial_sum(Frame* f) noexcept:
    """Let a TCP segment look as it does where nothing but its pseudo header is summed yet, to be quoted in an error."""
    cdef uint8_t* ip = f.data + IP
    cdef uint32_t l4 = ip_ihl(ip)
    put16(ip + l4 + 16, fold(pseudo_sum(ip, IPPROTO_TCP, ip_total(ip) - l4)))


cdef class Messages(Neighbourhood):
    """The part of a `Namespace` that answers for its host."""

    cdef Frame* new_packet(self, uint32_t have, uint32_t length, int protocol, uint32_t src, uint32_t dst, int tos, int ttl, int frag,
                           const Echo* options=NULL) noexcept:
        """A frame with Ethernet and IP header; `have` and `length` count what follows the IP header. TTL 0: the default."""
        cdef uint32_t ihl = 20 + (options.size if options != NULL else 0)
        cdef Frame* f = frame_new(IP + ihl + have, IP + ihl + length)
        cdef uint8_t* ip = f.data + IP
        memset(f.data, 0, IP + ihl)
        put16(f.data + 12, ETH_P_IP)
        ip[0] = 0x40 | ihl >> 2
        ip[1] = <uint8_t>tos
        put16(ip + 2, ihl + length)
        if options != NULL:
            memcpy(ip + 20, options.data, options.size)
        self.ip_id += 1
        put16(ip + 4, 0 if frag & IP_DF and protocol == IPPROTO_TCP and have == 20 and length == 20 else self.ip_id)
        put16(ip + 6, frag)
        ip[8] = <uint8_t>ttl or self.default_ttl
        ip[9] = <uint8_t>protocol
        put32(ip + 12, src)
        put32(ip + 16, dst)
        ip_checksum(ip)
        f.born = self.calendar.now
        return f

    cdef inline Endpoint socket_for(self, int protocol, uint32_t local, uint16_t lport, uint32_t remote, uint16_t rport):
        """The socket that a packet is for, None if there is none."""
        cdef void* e = self.sockets.find(protocol, local, lport, remote, rport)
        return None if e == NULL else <Endpoint>e

    # --- ICMP --------------------------------------------------------------------------------------

    cdef void icmp_error(self, int kind, int code, uint32_t info, Frame* f, Packet* p, int way) noexcept:
        """icmp_send: an error about `f`, which stays the caller's; `way` (W_LOCAL, ...) is where `f` was going."""
        cdef uint8_t* ip = f.data + IP
        cdef uint32_t src = ip_src(ip), from_, quoted, have
        cdef Way w
        cdef Frame* e
        cdef Echo echo
        if way == W_BROADCAST or not icmp_is_answered(f):
            return
        find_way_out(self, src, &w)
        if w.kind == W_UNREACHABLE or not self.icmp_limit.allows(kind, code, src, self.calendar.now):
            return
        from_ = ip_dst(ip) if way == W_LOCAL else w.source
        if not self.echo_options(ip, from_, &echo):
            return
        quoted = min(f.len - IP, <uint32_t>ICMP_QUOTED - echo.size)
        have = min(f.have - IP, quoted)
        # to a group with a TTL of 1 (RFC 1112 6.1)
        e = self.new_packet(8 + have, 8 + quoted, IPPROTO_ICMP, from_, src, 0xC0 | (ip[1] & 0x1E), src >> 28 == 14, 0, &echo)
        icmp_emit_error(e, kind, code, info, ip, have)
        if self.tracer is not None:
            self.note("", e, f"ICMP error {kind}/{code} made here")
        self.local_out(e, p)

    cdef bint echo_options(self, const uint8_t* ip, uint32_t source, Echo* echo) noexcept:
        """The options of an answer from `source` to the packet at hand; False if there can be no answer."""
        echo.size = 0
        return not self.options.size or options_echo(ip, &self.options, &self.host, source, self.time_of_day(), echo)

    cdef uint32_t time_of_day(self) noexcept:
        """Milliseconds since midnight, as timestamps have it (RFC 791 3.1)."""
        return <uint32_t>(<uint64_t>(self.calendar.now * 1000 + 1e-6) % 86400000)

    cdef void icmp_in(self, Interface dev, Frame* f, uint32_t l4) noexcept:
        """ICMP for this host: echo is answered, errors go to the socket they are about."""
        cdef uint8_t* ip = f.data + IP
        cdef uint8_t* inner
        cdef uint32_t n = f.len - l4, have
        cdef Frame* r
        cdef Endpoint e
        cdef Echo echo
        cdef int kind
        if n < 8 or not frame_need(f, l4 + 8):
            self.drop(f, NULL, "ICMP: truncated")
            return
        if not f.checksum_ok and fold(sum_bytes(f.data + l4, f.have - l4)) != 0xFFFF:
            self.drop(f, NULL, "ICMP: bad checksum")
            return
        ip = f.data + IP
        kind = f.data[l4]
        if (kind == ICMP_ECHO or kind == ICMP_TIMESTAMP) and not (
                address_type(&self.host, ip_dst(ip)) & (ADDR_BROADCAST | ADDR_MULTICAST)):
            if kind == ICMP_TIMESTAMP and n < 20:
                self.drop(f, NULL, "ICMP: truncated")
                return
            if kind == ICMP_TIMESTAMP:
                frame_need(f, l4 + 20)
                n = 20
            have = f.have - l4 if f.have - l4 < n else n
            ip = f.data + IP
            if not self.echo_options(ip, ip_dst(ip), &echo):
                self.drop(f, NULL, "IP options")
                return
            r = self.new_packet(have, n, IPPROTO_ICMP, ip_dst(ip), ip_src(ip), ip[1], 0, 0, &echo)
            icmp_emit_reply(r, f.data + l4, have, self.time_of_day())
            frame_free(f)
            self.local_out(r)
            return
        if kind == ICMP_ECHOREPLY:
            e = self.socket_for(IPPROTO_ICMP, ip_dst(ip), be16(f.data + l4 + 4), ip_src(ip), 0)
            if e is not None:
                e.packet(f, l4)
                return
        elif icmp_is_error(kind) and n >= 36 and frame_need(f, l4 + 36):
            inner = f.data + l4 + 8
            if ip_ihl(inner) == 20 or (f.have >= l4 + 8 + ip_ihl(inner) + 8):
                e = self.socket_for(inner[9], ip_src(inner), be16(inner + ip_ihl(inner)), ip_dst(inner),
                                       be16(inner + ip_ihl(inner) + 2))
                if e is not None:
                    e.error(kind, f.data[l4 + 1], be32(f.data + l4 + 4))
        self.drop(f, NULL, "ICMP: nobody asked")

    cdef void local_error(self, Frame* f) noexcept:
        """Tell the socket that sent a frame that its next hop is unreachable."""
        cdef uint8_t* ip = f.data + IP
        cdef uint32_t l4 = IP + ip_ihl(ip)
        cdef Endpoint e
        if f.have >= l4 + 4 and (ip[9] == IPPROTO_TCP or ip[9] == IPPROTO_UDP):
            e = self.socket_for(ip[9], ip_src(ip), be16(f.data + l4), ip_dst(ip), be16(f.data + l4 + 2))
            if e is not None:
                e.error(ICMP_DEST_UNREACH, 1, 0)

    cdef void redirect(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept:
        """Tell a neighbour the better first hop (RFC 1812 5.2.7.2)."""
        cdef uint32_t src = ip_src(f.data + IP)
        cdef int i = self.routes.lookup(src)
        if i < 0 or self.routes.routes[i].via or self.routes.routes[i].interface != dev.index:
            return                                  # only who is on the link can use the hint
        if self.redirect_limit.allows(src, self.calendar.now):
            self.icmp_error(ICMP_REDIRECT, 1, w.nexthop, f, p, W_FORWARD)

    # --- resets ------------------------------------------------------------------------------------

    cdef void send_reset(self, Frame* f) noexcept:
        """tcp_v4_send_reset: the answer to a segment that no socket wants."""
        cdef uint8_t* ip = f.data + IP
        cdef Echo echo
        if not f.data[IP + ip_ihl(ip) + 13] & TCP_RST and self.echo_options(ip, ip_dst(ip), &echo):
            self.local_out(self.new_reset(f, ip[1] & 0xFC, &echo))

    cdef Frame* new_reset(self, const Frame* f, int tos, const Echo* options) noexcept:
        """A reset that answers `f` (RFC 9293 3.10.7.1)."""
        cdef const uint8_t* ip = f.data + IP
        cdef uint32_t l4 = IP + ip_ihl(ip)
        cdef const uint8_t* th = f.data + l4
        cdef uint32_t flags = th[13], n
        cdef Frame* r = self.new_packet(20, 20, IPPROTO_TCP, ip_dst(ip), ip_src(ip), tos, 0, IP_DF, options)
        cdef uint8_t* o = r.data + IP + ip_ihl(r.data + IP)
        memset(o, 0, 20)
        put16(o, be16(th + 2))
        put16(o + 2, be16(th))
        o[12] = 5 << 4
        o[13] = TCP_RST
        if flags & TCP_ACK:
            put32(o + 4, be32(th + 8))
        else:
            n = f.len - l4 - (th[12] >> 4) * 4
            put32(o + 8, be32(th + 4) + n + (1 if flags & TCP_SYN else 0) + (1 if flags & TCP_FIN else 0))
            o[13] = TCP_RST | TCP_ACK
        set_checksum(r, IP + ip_ihl(r.data + IP), 16, IPPROTO_TCP)
        return r

    cdef void reject(self, Frame* f, Packet* p, int way) noexcept:
        """REJECT's answer; none to a packet whose checksum is wrong.

        A reset leaves by the bridge port that br_netfilter saw the segment at, from whom it was addressed to, without
        passing any hook.
        """
        cdef int code = p.reject - 1
        cdef uint8_t* ip = f.data + IP
        cdef uint32_t l4 = ip_ihl(ip)
        cdef Interface out
        cdef Frame* r
        if ip_frag(ip) & IP_OFFSET or not rejectable(p, code == REJECT_RESET and way == W_FORWARD):
            return
        if code != REJECT_RESET:
            self.icmp_error(ICMP_DEST_UNREACH, code, 0, f, p, way)
            return
        if ip[9] != IPPROTO_TCP or f.have < IP + l4 + 20 or ip[l4 + 13] & TCP_RST or way == W_BROADCAST:
            return
        r = self.new_reset(f, 0, NULL)
        if p.ct != 0:
            tcp_set_closing(&self.netfilter.c, p.ct)
        if not p.physin:
            r.checksum_ok = CHECKSUM_PARTIAL
            self.local_out(r, p)
            return
        if not self.may_send(ip_dst(ip), ip_src(ip)):
            frame_free(r)
            return
        memcpy(r.data, f.data + 6, 6)
        memcpy(r.data + 6, f.data, 6)
        out = self.interface_numbered(p.physin)
        to_wire(self, <void*>out, r)

    cdef bint may_send(self, uint32_t src, uint32_t dst) noexcept:
        """Has a packet a way from an address that need not be this host's? From loopback rarely, to all only from its own."""
        cdef Way w
        if (dst >> 28) == 14 or dst == 0xFFFFFFFFU:
            return address_type(&self.host, src) == ADDR_LOCAL
        find_way_out(self, dst, &w)
        return src >> 24 != 127 or w.out != NULL and (<Interface>w.out).route_localnet

    cdef Interface interface_numbered(self, uint32_t number):
        cdef Interface dev
        for dev in self.interfaces:
            if dev.number == <int>number:
                return dev
        return None

    # --- what the layer above does -----------------------------------------------------------------

    cdef void local_out(self, Frame* f, const Packet* cause=NULL) noexcept:
        """A packet that this host sends; `cause`: what an ICMP error is about."""
