from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.checksum cimport fold, replace4, replace4_at, replace6, sum_bytes
from natfast.headers cimport (ICMP_REDIRECT, IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP,
                              IPPROTO_UDPLITE, be16, be32, icmp_has_id, ip_ihl, put16, put32)
from natfast.conntrack cimport find_live, kill
from natfast.kinds cimport (RANGE_MAP_IPS, RANGE_PERSISTENT, RANGE_PROTO_OFFSET, RANGE_PROTO_RANDOM_ALL,
                            RANGE_PROTO_SPECIFIED)
from natfast.memo cimport REPLY
from natfast.packet cimport IP_CT_IS_REPLY, Packet
from natfast.state cimport Conntrack, random32
from natfast.table cimport (Entry, IPS_CONFIRMED, IPS_DST_NAT, IPS_DST_NAT_DONE, IPS_DYING, IPS_FIXED_TIMEOUT,
                            IPS_NAT_DONE_MASK, IPS_NAT_MASK, IPS_SRC_NAT, IPS_SRC_NAT_DONE, source_head,
                            source_link)
from natfast.tcp cimport TCP_SYN_SENT, TCP_TIME_WAIT
from natfast.trackers cimport l4_checksum_ok, sctp_crc
from natfast.tuples cimport Half, half_equal, invert_half

cdef enum:
    MAX_ATTEMPTS = 128          # consecutive candidates tried before a new random start
    HARDER_BELOW = 32           # the last tries of a round may evict a closed TCP connection
    CSUM_MANGLED_0 = 0xFFFF


cdef bint taken(Conntrack* c, const Half* wanted, uint32_t ei) noexcept nogil:
    """Would another connection already answer to the reply of `wanted`?"""
    cdef Entry* mine = &c.table.entries[ei]
    cdef Entry* other
    cdef Half reply
    cdef uint32_t ref
    invert_half(wanted, mine.proto, &reply)
    ref = find_live(c, &reply, mine.proto, REPLY)
    if ref == 0 or ref >> 1 == ei:
        return False
    other = &c.table.entries[ref >> 1]
    # the same flow twice is not a clash here: confirm sorts it out
    return not half_equal(&other.tuple[0], &mine.tuple[0])


cdef bint taken_harder(Conntrack* c, const Half* wanted, uint32_t ei, uint32_t attempts_left) noexcept nogil:
    """As `taken`, but near the end of a round a TIME_WAIT or CLOSE connection gives way to a newer SYN."""
    cdef Entry* mine = &c.table.entries[ei]
    cdef Entry* other
    cdef Half reply
    cdef uint32_t ref
    if attempts_left > HARDER_BELOW or mine.proto != IPPROTO_TCP or mine.state != TCP_SYN_SENT:
        return taken(c, wanted, ei)
    invert_half(wanted, mine.proto, &reply)
    ref = find_live(c, &reply, mine.proto, REPLY)
    if ref == 0:
        return False
    other = &c.table.entries[ref >> 1]
    if (ref & 1 == 0 or other.status & (IPS_FIXED_TIMEOUT | IPS_DYING) or not other.status & IPS_SRC_NAT
            or other.state < TCP_TIME_WAIT):
        return True
    if <int>(mine.track.tcp.seen[0].end - other.track.tcp.seen[0].end) <= 0:
        return True
    kill(c, ref >> 1)
    return False


cdef bint port_in_range(uint32_t proto, const Half* h, int manip, const NatRange* r) noexcept nogil:
    cdef uint32_t port
    if proto == IPPROTO_ICMP or manip == MANIP_SRC:
        port = h.sport
    else:
        port = h.dport
    if (proto == IPPROTO_ICMP or proto == IPPROTO_GRE or proto == IPPROTO_TCP or proto == IPPROTO_UDP
            or proto == IPPROTO_UDPLITE or proto == IPPROTO_SCTP):
        return r.min_port <= port <= r.max_port
    return True


cdef bint in_range(uint32_t proto, const Half* h, const NatRange* r) noexcept nogil:
    if r.flags & RANGE_MAP_IPS and (h.src < r.min_ip or h.src > r.max_ip):
        return False
    if not r.flags & RANGE_PROTO_SPECIFIED:
        return True
    return port_in_range(proto, h, MANIP_SRC, r)


cdef bint current_mapping(Conntrack* c, const Half* orig, uint32_t ei, const NatRange* r, Half* out) noexcept nogil:
    """The mapping that this source already has towards other destinations, newest first."""
    cdef uint32_t i = source_head(&c.table, orig, c.table.entries[ei].proto)
    cdef uint32_t proto = c.table.entries[ei].proto
    cdef Entry* e
    while i != 0:
        e = &c.table.entries[i]
        if e.proto == proto and e.tuple[0].src == orig.src and e.tuple[0].sport == orig.sport:
            invert_half(&e.tuple[1], e.proto, out)
            out.dst = orig.dst
            out.dport = orig.dport
            if in_range(proto, out, r):
                return True
        i = e.src_next
    return False


cdef inline uint32_t rol32(uint32_t x, int k) noexcept nogil:
    return (x << k) | (x >> (32 - k))


cdef inline uint32_t swap32(uint32_t x) noexcept nogil:
    """A word in network order as a little-endian machine reads it, which is what Linux hashes."""
    return ((x & 0xFF) << 24) | ((x & 0xFF00) << 8) | ((x >> 8) & 0xFF00) | (x >> 24)


cdef uint32_t jhash_address(uint32_t address, uint32_t initval) noexcept nogil:
    """Jenkins' lookup3 over the address as four words, of which IPv4 uses the first."""
    cdef uint32_t a = initval + 0xDEADBEFFU      # lookup3's start for four words
    cdef uint32_t b = a
    cdef uint32_t c = a
    a += swap32(address)
    a -= c; a ^= rol32(c, 4); c += b
    b -= a; b ^= rol32(a, 6); a += c
    c -= b; c ^= rol32(b, 8); b += a
    a -= c; a ^= rol32(c, 16); c += b
    b -= a; b ^= rol32(a, 19); a += c
    c -= b; c ^= rol32(b, 4); b += a
    # one word (zero) is left
    c ^= b; c -= rol32(b, 14)
    a ^= c; a -= rol32(c, 11)
    b ^= a; b -= rol32(a, 25)
    c ^= b; c -= rol32(b, 16)
    a ^= c; a -= rol32(c, 4)
    b ^= a; b -= rol32(a, 14)
    c ^= b; c -= rol32(b, 24)
    return c


cdef void choose_address(uint32_t proto, Half* h, const NatRange* r, int manip) noexcept nogil:
    """One address of the range, spread by a hash of source and destination (source alone: --persistent)."""
    cdef uint32_t j, pick
    if not r.flags & RANGE_MAP_IPS:
        return
    if r.min_ip == r.max_ip:
        pick = r.min_ip
    else:
        j = jhash_address(h.src, 0 if r.flags & RANGE_PERSISTENT else swap32(h.dst))
        pick = r.min_ip + <uint32_t>((<unsigned long long>j * (r.max_ip - r.min_ip + 1)) >> 32)
    if manip == MANIP_SRC:
        h.src = pick
    else:
        h.dst = pick


cdef void choose_port(Conntrack* c, Half* h, const NatRange* r, int manip, uint32_t ei) noexcept nogil:
    """Search the port (ICMP: id): random start, 128 in a row, then new starts with 64, 32, 16.

    Bounded as in Linux, so it may fail before the range is full; then `h` stays taken and the packet is
    dropped at confirm.
    """
    cdef uint32_t proto = c.table.entries[ei].proto
    cdef uint16_t* key
    cdef uint32_t low, size, off, attempts, i, port
    if proto == IPPROTO_ICMP:
        key = &h.sport
        if r.flags & RANGE_PROTO_SPECIFIED:
            low = r.min_port
            size = r.max_port - r.min_port + 1
        else:
            low = 0
            size = 65536
    elif proto == IPPROTO_TCP or proto == IPPROTO_UDP or proto == IPPROTO_UDPLITE or proto == IPPROTO_SCTP:
        key = &h.sport if manip == MANIP_SRC else &h.dport
        if r.flags & RANGE_PROTO_SPECIFIED:
            low = r.min_port if r.min_port < r.max_port else r.max_port
            size = (r.max_port if r.min_port < r.max_port else r.min_port) - low + 1
        elif manip == MANIP_DST:
            return                              # a destination keeps its port unless told otherwise
        elif key[0] >= 1024:
            low = 1024
            size = 65535 - 1024 + 1
        elif key[0] >= 512:
            low = 600
            size = 1023 - 600 + 1
        else:
            low = 1
            size = 511
    else:
        return                                  # GRE without PPTP, and protocols without ports

    for i in range(c.n_adopt):
        if low <= c.adopt[i] < low + size:
            port = key[0]
            key[0] = c.adopt[i]
            if not taken(c, h, ei):
                return
            key[0] = <uint16_t>port
    if r.flags & RANGE_PROTO_OFFSET:
        off = <uint16_t>(key[0] - r.base_port)
    elif r.flags & RANGE_PROTO_RANDOM_ALL or manip != MANIP_DST:
        off = random32(c) & 0xFFFF
    else:
        off = 0
    attempts = size if size < MAX_ATTEMPTS else MAX_ATTEMPTS
    while True:
        for i in range(attempts):
            key[0] = <uint16_t>(low + off % size)
            off = (off + 1) & 0xFFFF
            if not taken_harder(c, h, ei, attempts - i):
                return
        if attempts >= size or attempts < 16:
            return
        attempts //= 2
        off = random32(c) & 0xFFFF


cdef void unique_tuple(Conntrack* c, const Half* orig, Half* out, const NatRange* r, uint32_t ei, int manip) noexcept nogil:
    """get_unique_tuple: keep what can be kept, reuse the source's mapping, else search."""
    cdef uint32_t proto = c.table.entries[ei].proto
    if manip == MANIP_SRC and not r.flags & RANGE_PROTO_RANDOM_ALL:
        if in_range(proto, orig, r):
            if not taken(c, orig, ei):
                out[0] = orig[0]
                return
        elif current_mapping(c, orig, ei, r, out) and not taken(c, out, ei):
            return
    out[0] = orig[0]
    choose_address(proto, out, r, manip)
    if not r.flags & RANGE_PROTO_RANDOM_ALL:
        if r.flags & RANGE_PROTO_SPECIFIED:
            if (not r.flags & RANGE_PROTO_OFFSET and port_in_range(proto, out, manip, r)
                    and (r.min_port == r.max_port or not taken(c, out, ei))):
                return
        elif not taken(c, out, ei):
            return
    choose_port(c, out, r, manip, ei)


cdef void nat_setup(Conntrack* c, uint32_t ei, const NatRange* r, int manip) noexcept nogil:
    """Decide the connection's translation in one direction; only before it is confirmed."""
    cdef Entry* e = &c.table.entries[ei]
    cdef Half current, chosen
    if e.status & (IPS_CONFIRMED | IPS_DYING):
        return
    invert_half(&e.tuple[1], e.proto, &current)
    unique_tuple(c, &current, &chosen, r, ei, manip)
    if manip == MANIP_SRC:
        c.masquerading_as = chosen.src
    if not half_equal(&chosen, &current):
        invert_half(&chosen, e.proto, &e.tuple[1])
        e.status |= IPS_SRC_NAT if manip == MANIP_SRC else IPS_DST_NAT
    if manip == MANIP_SRC:
        source_link(&c.table, ei)
        e.status |= IPS_SRC_NAT_DONE
    else:
        e.status |= IPS_DST_NAT_DONE


cdef void nat_keep_unique(Conntrack* c, uint32_t ei, int manip) noexcept nogil:
    """No rule asked for a translation; the tuple must be unique all the same."""
    cdef Entry* e = &c.table.entries[ei]
    cdef NatRange r
    r.flags = RANGE_MAP_IPS
    r.min_ip = e.tuple[1].dst if manip == MANIP_SRC else e.tuple[1].src
    r.max_ip = r.min_ip
    r.min_port = 0
    r.max_port = 0
    r.base_port = 0
    nat_setup(c, ei, &r, manip)


# --- rewriting ---------------------------------------------------------------------------------------

cdef bint rewrite_l4(Packet* p, uint32_t ip_off, uint32_t l4, const Half* target, uint32_t proto, int manip) noexcept nogil:
    """Set the port (or id) of the header at `l4` and mend its checksum; False if it is not all there."""
    cdef uint8_t* h = p.data + l4
    cdef const uint8_t* ip = p.data + ip_off
    cdef uint8_t* port
    cdef uint32_t old_port, new_port, old_ip, new_ip, check_at, need
    cdef uint16_t check
    if proto == IPPROTO_TCP:
        check_at = 16
        # quoted in an ICMP error there may be just the ports: then the checksum is out of reach
        need = 20 if p.len >= l4 + 20 else 8
    elif proto == IPPROTO_UDP or proto == IPPROTO_UDPLITE:
        check_at = 6
        need = 8
    elif proto == IPPROTO_SCTP:
        check_at = 0
        need = 12 if p.len >= l4 + 12 else 8
    elif proto == IPPROTO_ICMP:
        if p.len < l4 + 8 or p.avail < l4 + 8:
            return False
        if icmp_has_id(h[0]):
            put16(h + 2, replace4(be16(h + 2), be16(h + 4), target.sport))
            put16(h + 4, target.sport)
        return True
    elif proto == IPPROTO_GRE:
        # with no source key in the packet only a PPTP call id is ever written
        if p.len < l4 + 8 or p.avail < l4 + 8:
            return False
        if manip == MANIP_DST:
            if (h[1] & 7) > 1:
                return False
            if (h[1] & 7) == 1:
                put16(h + 6, target.dport)
        return True
    else:
        return True
    if p.len < l4 + need or p.avail < l4 + need:
        return False
    port = h if manip == MANIP_SRC else h + 2
    new_port = target.sport if manip == MANIP_SRC else target.dport
    old_port = be16(port)
    put16(port, new_port)
    if proto == IPPROTO_SCTP:
        if need == 12:
            sctp_checksum(p, l4)
        return True
    if proto == IPPROTO_TCP and need < 20:
        return True
    check = be16(h + check_at)
    if proto != IPPROTO_TCP and check == 0:
        return True                             # UDP without checksum stays so
    if manip == MANIP_SRC:
        old_ip = be32(ip + 12)
        new_ip = target.src
    else:
        old_ip = be32(ip + 16)
        new_ip = target.dst
    check = replace6(check, old_ip, new_ip, old_port, new_port)
    if proto != IPPROTO_TCP and check == 0:
        check = CSUM_MANGLED_0
    put16(h + check_at, check)
    return True


cdef void sctp_checksum(Packet* p, uint32_t l4) noexcept nogil:
    """SCTP's CRC32c cannot be mended: it is computed anew, and stored low byte first."""
    cdef uint32_t crc = sctp_crc(p, l4)
    cdef uint8_t* s = p.data + l4
    s[8] = <uint8_t>crc
    s[9] = <uint8_t>(crc >> 8)
    s[10] = <uint8_t>(crc >> 16)
    s[11] = <uint8_t>(crc >> 24)


cdef bint rewrite(Packet* p, uint32_t ip_off, const Half* target, uint32_t proto, int manip) noexcept nogil:
    """Make the IPv4 packet at `ip_off` come from, or go to, what `target` says."""
    cdef uint8_t* ip = p.data + ip_off
    if not rewrite_l4(p, ip_off, ip_off + ip_ihl(ip), target, proto, manip):
        return False
    if manip == MANIP_SRC:
        replace4_at(ip + 10, be32(ip + 12), target.src)
        put32(ip + 12, target.src)
    else:
        replace4_at(ip + 10, be32(ip + 16), target.dst)
        put32(ip + 16, target.dst)
    return True


cdef bint nat_translate(Conntrack* c, Packet* p, int manip) noexcept nogil:
    """Translate one packet of a connection that has a mapping; False to drop it."""
    cdef Entry* e = &c.table.entries[p.ct]
    cdef int dir = 1 if p.ctinfo >= IP_CT_IS_REPLY else 0
    cdef Half target
    invert_half(&e.tuple[1 - dir], e.proto, &target)
    return rewrite(p, 0, &target, e.proto, manip)


cdef bint nat_icmp_error(Conntrack* c, Packet* p, int manip) noexcept nogil:
    """Translate an ICMP error and the packet it quotes; False to drop it."""
    cdef Entry* e = &c.table.entries[p.ct]
    cdef int dir = 1 if p.ctinfo >= IP_CT_IS_REPLY else 0
    cdef uint32_t off = ip_ihl(p.data)
    cdef uint8_t* icmp = p.data + off
    cdef Half target
    cdef uint32_t n
    if p.len < off + 28 or p.avail < off + 28:
        return False
    if not p.checksum_ok and not l4_checksum_ok(p, off, IPPROTO_ICMP):
        return False
    if icmp[0] == ICMP_REDIRECT:
        # a redirect for a translated connection makes no sense to its sender
        if e.status & IPS_NAT_DONE_MASK != IPS_NAT_DONE_MASK or e.status & IPS_NAT_MASK:
            return False
    if not e.status & status_bit(manip, dir):
        return True
    # the quoted packet went the other way: what we do to our source was done to its destination
    if not rewrite(p, off + 8, &e.tuple[1 - dir], e.proto, MANIP_DST if manip == MANIP_SRC else MANIP_SRC):
        return False
    put16(icmp + 2, 0)
    n = p.len - off
    if off + n > p.avail:
        n = p.avail - off
    put16(icmp + 2, <uint16_t>~fold(sum_bytes(icmp, n)))
    invert_half(&e.tuple[1 - dir], e.proto, &target)
    return rewrite(p, 0, &target, 0, manip)
