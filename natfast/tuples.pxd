"""Connection tuples and the keyed hash over them.

A tuple is what conntrack finds a flow by: addresses, protocol, and two 16-bit keys whose meaning the
protocol gives (ports; for ICMP the identifier and type<<8|code; for GRE the call keys; else 0).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.headers cimport (ICMP_ADDRESS, ICMP_ADDRESSREPLY, ICMP_ECHO, ICMP_ECHOREPLY, ICMP_INFO_REPLY, ICMP_INFO_REQUEST,
                              ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY, IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP,
                              IPPROTO_UDPLITE, be16, ip_dst, ip_frag, ip_ihl, ip_src, IP_OFFSET)
from natfast.wide cimport pair16, pair32, put_pair16, put_pair32

ctypedef struct Half:
    uint32_t src
    uint32_t dst
    uint16_t sport
    uint16_t dport

ctypedef struct Tuple:
    Half h
    uint8_t proto


cdef inline uint32_t icmp_inverse(uint32_t kind) noexcept nogil:
    """The type that answers `kind` (or is answered by it); 0xff if it is no query."""
    if kind == ICMP_ECHO:
        return ICMP_ECHOREPLY
    if kind == ICMP_ECHOREPLY:
        return ICMP_ECHO
    if kind == ICMP_TIMESTAMP or kind == ICMP_INFO_REQUEST or kind == ICMP_ADDRESS:
        return kind + 1
    if kind == ICMP_TIMESTAMPREPLY or kind == ICMP_INFO_REPLY or kind == ICMP_ADDRESSREPLY:
        return kind - 1
    return 0xFF


cdef inline bint invert_half(const Half* a, uint8_t proto, Half* out) noexcept nogil:
    """The tuple of the answer; False if the protocol has none (ICMP types that are no query)."""
    cdef uint32_t kind
    out.src = a.dst
    out.dst = a.src
    if proto == IPPROTO_ICMP:
        kind = icmp_inverse(a.dport >> 8)
        if kind == 0xFF:
            return False
        out.sport = a.sport
        out.dport = <uint16_t>((kind << 8) | (a.dport & 0xFF))
        return True
    out.sport = a.dport
    out.dport = a.sport
    return True


cdef inline bint invert(const Tuple* a, Tuple* out) noexcept nogil:
    out.proto = a.proto
    return invert_half(&a.h, a.proto, &out.h)


cdef inline bint half_equal(const Half* a, const Half* b) noexcept nogil:
    return a.src == b.src and a.dst == b.dst and a.sport == b.sport and a.dport == b.dport


cdef inline bint parse_tuple(const uint8_t* ip, uint32_t avail, Tuple* t, uint32_t* dataoff) noexcept nogil:
    """Read the tuple of the IPv4 packet at `ip`, of which `avail` bytes exist.

    False where Linux finds no tuple: a later fragment, a header past the end, fewer than 4 bytes of
    ports (8 of ICMP).
    """
    cdef const uint8_t* l4
    cdef uint32_t off
    if avail < 20:
        return False
    if ip_frag(ip) & IP_OFFSET:
        return False
    off = ip_ihl(ip)
    if off > avail:
        return False
    dataoff[0] = off
    l4 = ip + off
    t.h.src = ip_src(ip)
    t.h.dst = ip_dst(ip)
    t.proto = ip[9]
    t.h.sport = 0
    t.h.dport = 0
    if (t.proto == IPPROTO_TCP or t.proto == IPPROTO_UDP or t.proto == IPPROTO_SCTP
            or t.proto == IPPROTO_UDPLITE):
        if avail - off < 4:
            return False
        t.h.sport = be16(l4)
        t.h.dport = be16(l4 + 2)
    elif t.proto == IPPROTO_ICMP:
        if avail - off < 8:
            return False
        t.h.sport = be16(l4 + 4)
        t.h.dport = be16(l4)
    elif t.proto == IPPROTO_GRE:
        # version 1 is PPTP's (RFC 2637): the call id is the destination's key; all else has none
        if avail - off >= 8 and (l4[1] & 7) == 1:
            if be16(l4 + 2) != 0x880B:
                return False
            t.h.dport = be16(l4 + 6)
    return True


# --- what SipHash-1-3 (Aumasson and Bernstein 2012) is computed over: two words, length in the top byte ----

cdef inline uint64_t first_word(const Half* h) noexcept nogil:
    """Destination and source, from the high end."""
    return pair32(&h.src)


cdef inline uint32_t ports_word(const Half* h) noexcept nogil:
    """Destination's and source's port, from the high end."""
    return pair16(&h.sport)


cdef inline uint64_t second_word(const Half* h, uint8_t proto) noexcept nogil:
    return (<uint64_t>13 << 56) | (<uint64_t>proto << 32) | ports_word(h)


cdef inline void half_of_words(uint64_t first, uint64_t second, Half* h) noexcept nogil:
    """The tuple that these are the words of."""
    put_pair32(&h.src, first)
    put_pair16(&h.sport, <uint32_t>second)


cdef inline uint64_t source_word(uint32_t port, uint8_t proto) noexcept nogil:
    """Second word of a source; the first is its address."""
    return (<uint64_t>7 << 56) | (<uint64_t>proto << 32) | port
