"""The whole way of an ordinary packet of an established connection, in as few instructions as it takes.

What the hooks do one by one - the header's checks, tracking, translation of both ends, TTL - done at once, for TCP and UDP
packets without surprises. Anything else is left alone, and goes the long way. That both ways do the same is tested
(tests/natfast/test_fastpath.py).

Sums are of the machine's own words here, and the checksum fields are read and written as they lie: one's complement
arithmetic does not mind the byte order (RFC 1071 section 2 B), nor in which order what changes is added (RFC 1624).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.checksum cimport natfast_sum_words
from natfast.headers cimport ETH_HLEN, IPPROTO_TCP, IPPROTO_UDP, TCP_ACK, TCP_PSH, ip_total, ntohs
from natfast.state cimport Conntrack, count_packet, expired
from natfast.table cimport Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_DYING, IPS_FIXED_TIMEOUT, IPS_NAT_MASK, IPS_SEEN_REPLY
from natfast.tcp cimport TCP_ESTABLISHED, tcp_plain_ack
from natfast.trackers cimport udp_refresh
from natfast.tuples cimport Half, ports_word, first_word

cdef extern from "wide.h" nogil:
    uint16_t load16 "natfast_load16"(const void* p)
    uint32_t load32 "natfast_load32"(const void* p)
    uint64_t load64 "natfast_load64"(const void* p)
    void store16 "natfast_store16"(void* p, uint16_t v)
    uint64_t swap64 "natfast_be64"(uint64_t v)
    uint32_t swap32 "natfast_be32"(uint32_t v)
    uint16_t swap16 "natfast_be16"(uint16_t v)
    uint64_t last_bytes "natfast_last_bytes"(const uint8_t* end, uint32_t n)
    void put64 "natfast_put64"(uint8_t* p, uint64_t v)
    void put32 "natfast_put32"(uint8_t* p, uint32_t v)
    uint64_t rotate32 "natfast_rotate32"(uint64_t v)
    uint32_t rotate16 "natfast_rotate16"(uint32_t v)
    uint64_t add1 "natfast_add1"(uint64_t a, uint64_t b)
    uint64_t sub1 "natfast_sub1"(uint64_t a, uint64_t b)
    uint32_t fold1 "natfast_fold"(uint64_t s)
    bint sums_to_ffff "natfast_sums_to_ffff"(uint64_t s)

cdef enum:
    ORDINARY = IPS_CONFIRMED | IPS_SEEN_REPLY
    ORDINARY_MASK = IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_DYING | IPS_FIXED_TIMEOUT


cdef inline void tuple_words(const uint8_t* frame, uint32_t length, uint64_t* m0, uint64_t* m1) noexcept nogil:
    """The tuple of a plain TCP or UDP packet as the two words that are hashed; m1 is 0 for any other packet."""
    cdef const uint8_t* ip = frame + ETH_HLEN
    cdef uint32_t total, protocol
    m1[0] = 0
    if length < ETH_HLEN + 28:
        return
    total = ip_total(ip)
    protocol = ip[9]
    # one branch for all: which protocol it is cannot be foretold
    if ((load16(frame + 12) == swap16(0x0800)) & (ip[0] == 0x45) & (load16(ip + 6) & swap16(0x3FFF) == 0) & (total >= 28)
            & (total <= length - ETH_HLEN) & ((protocol == IPPROTO_TCP) | (protocol == IPPROTO_UDP))):
        m0[0] = rotate32(swap64(load64(ip + 12)))
        m1[0] = <uint64_t>13 << 56 | <uint64_t>protocol << 32 | rotate16(swap32(load32(ip + 20)))


cdef inline uint64_t sum_span(const uint8_t* p, uint32_t n) noexcept nogil:
    """Sum of `n` >= 8 bytes as the machine's own words, the odd last byte padded with zero."""
    cdef uint64_t s = 0
    cdef uint32_t words
    if n >= 128:
        words = (n >> 3) << 1
        s = natfast_sum_words(p, words)
        p += 4 * <size_t>words
        n &= 7
    else:
        while True:
            s = add1(s, load64(p))
            p += 8
            n -= 8
            if n < 8:
                break
    return add1(s, last_bytes(p + n, n))


cdef inline uint32_t forward_established(Conntrack* c, uint8_t* ip, uint64_t m0, uint64_t m1, uint32_t ref) noexcept nogil:
    """Forward the packet whose tuple's words these are if it is an ordinary one of entry `ref` >> 1: its length, else 0.

    0 means that nothing has been changed.
    """
    cdef Entry* e = &c.table.entries[ref >> 1]
    cdef int dir = ref & 1
    cdef const Half* there = &e.tuple[dir]
    cdef const Half* back = &e.tuple[1 - dir]
    cdef uint8_t* l4 = ip + 20
    cdef uint8_t* check_at
    cdef uint32_t total = ip_total(ip), n = total - 20, protocol = <uint8_t>(m1 >> 32), ports, check
    cdef uint64_t addresses, change
    cdef bint sound
    if ((first_word(there) != m0) | (ports_word(there) != <uint32_t>m1) | (e.proto != protocol) | (ip[8] <= 1)
            | (e.status & ORDINARY_MASK != ORDINARY) | expired(e, c.now)):
        return 0
    if not sums_to_ffff(add1(add1(load64(ip), load64(ip + 8)), load32(ip + 16))):
        return 0
    # the addresses of the pseudo header stand right before the transport's
    sound = not c.sysctl.checksum or sums_to_ffff(add1(sum_span(ip + 12, total - 12),
                                                       <uint32_t>ntohs(<uint16_t>protocol) + ntohs(<uint16_t>n)))
    if protocol == IPPROTO_TCP:
        check_at = l4 + 16
        if (not sound or n < 20 or e.state != TCP_ESTABLISHED or not e.status & IPS_ASSURED
                or load16(l4 + 12) & swap16(0xFF & ~TCP_PSH) != swap16(TCP_ACK) or not tcp_plain_ack(c, e, dir, l4, n)):
            return 0
    else:
        check_at = l4 + 6
        check = swap16(load16(l4 + 4))
        if not sound and load16(check_at) != 0 or check < 8 or check > n:
            return 0
        udp_refresh(c, e)
    c.stats.found += 1
    count_packet(e, dir, total)
    # as it leaves, its source is the other tuple's destination: read from the high end, that tuple's words are its fields
    addresses = first_word(back)
    ports = ports_word(back)
    change = sub1(load64(ip + 12), swap64(addresses))
    check = fold1(add1(change, <uint64_t>load16(ip + 10) + swap16(0x0100)))
    store16(ip + 10, <uint16_t>(check if check != 0xFFFF else 0))
    ip[8] -= 1
    if e.status & IPS_NAT_MASK:
        check = load16(check_at)
        if check != 0 or protocol == IPPROTO_TCP:
            check = fold1(add1(add1(change, sub1(load32(l4), swap32(ports))), check))
            if check == 0xFFFF:
                check = 0
            if check == 0 and protocol == IPPROTO_UDP:
                check = 0xFFFF
            store16(check_at, <uint16_t>check)
    put64(ip + 12, addresses)
    put32(l4, ports)
    return total
