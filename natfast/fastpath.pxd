"""The whole way of an ordinary packet of an established connection, in as few instructions as it takes; and which packets open one.

What the hooks do one by one - the header's checks, tracking, translation of both ends, TTL - done at once, for TCP and UDP
packets without surprises. Anything else is left alone, and goes the long way. Batches take sixteen such packets at once
(forward_many.h). That all ways do the same is tested (tests/natfast/test_netfilter.py, test_vectors.py).

Sums are of the machine's own words here, and the checksum fields are read and written as they lie: one's complement
arithmetic does not mind the byte order (RFC 1071 section 2 B), nor in which order what changes is added (RFC 1624).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.checksum cimport fold, ip_checksum_ok, sum_span
from natfast.headers cimport ETH_HLEN, IPPROTO_TCP, IPPROTO_UDP, TCP_ACK, TCP_PSH, TCP_SYN, ip_total, ntohl, ntohs, put32
from natfast.state cimport Conntrack, count_packet
from natfast.sysctl cimport TIMEOUT_RETRANS, TIMEOUT_UNACK
from natfast.siphash cimport siphash13
from natfast.table cimport (Bucket, Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_DYING, IPS_FIXED_TIMEOUT, IPS_NAT_DONE_MASK, IPS_NAT_MASK,
                            IPS_SEEN_REPLY, bucket_of, probable_reference)
from natfast.tcp cimport TCP_ESTABLISHED, tcp_plain_ack
from natfast.trackers cimport udp_refresh
from natfast.tuples cimport Half, ports_word, first_word
from natfast.wide cimport (add1, join8, join16, load16, load32, load64, put64, rotate16, rotate32, store16, sub1, sums_to_ffff,
                           swap64)

cdef extern from "forward_many.h" nogil:
    enum:
        NATFAST_MANY
        NATFAST_BYTES
        NATFAST_NONE
        NATFAST_SLOTS
        NATFAST_TAG_SHIFT
        NATFAST_EV_ACK
        NATFAST_SACK_PERM
        NATFAST_UNACKED
        NATFAST_MAXACK_SET
    ctypedef struct Ordinary "natfast_ordinary":
        uint8_t* nobody
        uint32_t headers_ok
        uint32_t transports_ok
        uint32_t tcp_kind
        uint32_t tcp_kind_mask
        uint32_t udp_kind
        uint32_t udp_kind_mask
        uint32_t live_kind_mask
        uint32_t assured
        uint32_t nat_mask
        uint32_t tcp
        uint32_t tcp_retrans
        uint32_t tcp_unack
        uint32_t tcp_shut
        uint32_t udp
        uint32_t udp_stream
        uint32_t tcp_max_retrans
    ctypedef struct Packets "natfast_packets":
        uint8_t* ip[NATFAST_MANY]
        uint8_t* entry[NATFAST_MANY]
        uint32_t none[NATFAST_MANY]
        uint32_t ref[NATFAST_MANY]
        uint32_t now[NATFAST_MANY]
        uint32_t beyond[NATFAST_MANY]
        uint32_t length[NATFAST_MANY]
        uint32_t whole
        uint32_t sound
        uint32_t sooner
    ctypedef struct Soon "natfast_soon":
        uint8_t** entry
        uint8_t** bucket
    uint32_t established_many "natfast_established_many"(const Ordinary* o, Packets* g, uint32_t known, const Soon* soon, int unit)
    ctypedef struct Index "natfast_index":
        uint8_t* buckets
        uint8_t* entries
        uint32_t n_buckets
        uint32_t level
    uint32_t tuples_many "natfast_tuples_many"(uint8_t** ip, const uint32_t* length, uint64_t* m0, uint64_t* m1, Packets* g, int unit)
    uint32_t tails_many "natfast_tails_many"(Packets* g, int unit)
    void verify_many "natfast_verify_many"(const Ordinary* o, Packets* g, int unit)
    void places_many "natfast_places_many"(const Index* x, const uint64_t* hash, uint8_t** bucket, int unit)
    uint32_t matches_many "natfast_matches_many"(const Index* x, const uint64_t* hash, uint8_t** bucket, uint32_t wanted, uint32_t* ref,
                                                 uint8_t** entry, uint32_t* several, int unit)
    int unit_here "natfast_unit_here"()

cdef enum:
    ORDINARY = IPS_CONFIRMED | IPS_SEEN_REPLY
    UNANSWERED = IPS_CONFIRMED | IPS_NAT_DONE_MASK      # rules see its packets as NEW, but NAT has been decided for it
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
    if ((load16(frame + 12) == ntohs(0x0800)) & (ip[0] == 0x45) & (load16(ip + 6) & ntohs(0x3FFF) == 0) & (total >= 28)
            & (total <= length - ETH_HLEN) & ((protocol == IPPROTO_TCP) | (protocol == IPPROTO_UDP))):
        m0[0] = rotate32(swap64(load64(ip + 12)))
        m1[0] = <uint64_t>13 << 56 | <uint64_t>protocol << 32 | rotate16(ntohl(load32(ip + 20)))


cdef inline Bucket* probable_bucket(Conntrack* c, const uint8_t* frame, uint32_t length, uint64_t* m0, uint64_t* m1,
                                    uint32_t* ref) noexcept nogil:
    """Where the entry of a frame's packet is looked for, and the reference that it probably has there; NULL and 0 if it is no plain packet.

    `m0`, `m1`: the tuple's words.
    """
    cdef uint64_t h
    cdef Bucket* bucket
    ref[0] = 0
    tuple_words(frame, length, m0, m1)
    if m1[0] == 0:
        return NULL
    h = siphash13(m0[0], m1[0], c.table.k0, c.table.k1)
    bucket = bucket_of(&c.table, h)
    ref[0] = probable_reference(&c.table, bucket, h, m0[0], m1[0])
    return bucket


cdef inline uint32_t probable_entry(Conntrack* c, const uint8_t* frame, uint32_t length, uint64_t* m0, uint64_t* m1) noexcept nogil:
    """Reference of the entry that a frame's packet probably is of, and its tuple's words; 0 if there is none, or it is no plain packet."""
    cdef uint32_t ref
    probable_bucket(c, frame, length, m0, m1, &ref)
    return ref


cdef inline uint32_t check_offset(uint32_t protocol) noexcept nogil:
    """Where in TCP's or UDP's header the checksum is."""
    return 16 if protocol == IPPROTO_TCP else 6


cdef inline bint transport_sound(const Conntrack* c, const uint8_t* ip, uint64_t m1, bint bare) noexcept nogil:
    """Does the transport's checksum hold, or does nobody look at it? `m1`: the tuple's second word."""
    cdef uint32_t total = ip_total(ip), protocol = <uint8_t>(m1 >> 32)
    # the addresses of the pseudo header stand right before the transport's, whose length is the total that stands at ip + 2, less 20
    return bare or not c.sysctl.checksum or sums_to_ffff(add1(sum_span(ip + 12, total - 12),
                                                       <uint64_t>load16(ip + 2) + ntohs(<uint16_t>protocol) + ntohs(0xFFFF - 20)))


cdef inline void translate(uint8_t* ip, const Half* answer, uint32_t protocol, bint mapped, uint32_t hops) noexcept nogil:
    """Let a packet of TCP or UDP without options go where its answer comes from, as who that is for, with `hops` fewer to go.

    `mapped`: not, and there is nothing to mend but for the hops; then Linux leaves a checksum as it is, of the two zeros either.
    """
    # as it leaves, its source is the answer's destination: read from the high end, that tuple's words are its fields
    cdef uint8_t* l4 = ip + 20
    cdef uint8_t* check_at = l4 + check_offset(protocol)
    cdef uint64_t addresses = first_word(answer), change = sub1(load64(ip + 12), swap64(addresses))
    cdef uint32_t ports = ports_word(answer)
    cdef uint32_t check = fold(add1(change, <uint64_t>load16(ip + 10) + ntohs(<uint16_t>(hops << 8))))
    store16(ip + 10, <uint16_t>(check if check != 0xFFFF else 0))
    ip[8] -= <uint8_t>hops
    check = load16(check_at)
    if mapped & ((check != 0) | (protocol == IPPROTO_TCP)):
        check = fold(add1(add1(change, sub1(load32(l4), ntohl(ports))), check))
        # of the two zeros UDP takes one, all else the other
        check = check if check != 0xFFFF else 0
        store16(check_at, <uint16_t>(check if (check != 0) | (protocol != IPPROTO_UDP) else 0xFFFF))
    put64(ip + 12, addresses)
    put32(l4, ports)


cdef inline bint header_whole(const uint8_t* ip, bint bare) noexcept nogil:
    """Does the checksum of a header without options hold? `bare`: there are no checksums to verify, and no payload in memory."""
    return bare or ip_checksum_ok(ip, 20)


cdef inline uint32_t forward_known(Conntrack* c, uint8_t* ip, uint64_t m0, uint64_t m1, uint32_t ref, uint32_t standing,
                                   bint sound) noexcept nogil:
    """Forward the packet whose tuple's words these are if it is an ordinary one of entry `ref` >> 1: its length, else 0.

    Its header is whole. 0 means that nothing has been changed. `standing`: the connection's, ORDINARY or UNANSWERED. `sound`: see
    `transport_sound`.
    """
    cdef Entry* e = &c.table.entries[ref >> 1]
    cdef int dir = ref & 1
    cdef const Half* there = &e.tuple[dir]
    cdef uint8_t* l4 = ip + 20
    cdef uint32_t total = ip_total(ip), n = total - 20, protocol = <uint8_t>(m1 >> 32), check, must, may
    # of the entry's protocol, state and status what must be so for the short way
    must = join16(join8(<uint8_t>protocol, TCP_ESTABLISHED), standing | IPS_ASSURED)
    may = 0
    if protocol != IPPROTO_TCP:
        may = join16(join8(0, 0xFF), IPS_ASSURED)
    # all differences and doubts together, in one branch
    if ((first_word(there) ^ m0) | (ports_word(there) ^ <uint32_t>m1)
            | ((load32(&e.proto) ^ must) & join16(0xFFFF, ORDINARY_MASK | IPS_ASSURED | standing) & ~may)
            | (~((c.now - e.expires) & (1 - <uint32_t>ip[8])) >> 31)):
        return 0
    if protocol == IPPROTO_TCP:
        if (not sound or n < 20 or load16(l4 + 12) & ntohs(0xFF & ~TCP_PSH) != ntohs(TCP_ACK)
                or not tcp_plain_ack(c, e, dir, l4, n)):
            return 0
    else:
        check = ntohs(load16(l4 + 4))
        if not sound and load16(l4 + check_offset(IPPROTO_UDP)) != 0 or check < 8 or check > n:
            return 0
        udp_refresh(c, e)
    c.stats.found += 1
    count_packet(e, dir, total)
    translate(ip, &e.tuple[1 - dir], protocol, e.status & IPS_NAT_MASK != 0, 1)
    return total


cdef inline bint opens(const uint8_t* ip, uint64_t m1, bint sound) noexcept nogil:
    """Is this, whose header is whole, a packet that opens a connection, in order and with hops to go? `m1`: its tuple's second word."""
    cdef const uint8_t* l4 = ip + 20
    cdef uint32_t total = ip_total(ip), n = total - 20, protocol = <uint8_t>(m1 >> 32), size
    if ip[8] <= 1:
        return False
    if protocol == IPPROTO_TCP:
        size = (l4[12] >> 4) * 4
        return sound and n >= 20 and l4[13] & 0x3F == TCP_SYN and 20 <= size <= n
    size = ntohs(load16(l4 + 4))
    return (sound or load16(l4 + check_offset(IPPROTO_UDP)) == 0) and 8 <= size <= n


cdef inline uint32_t kind_of(uint32_t protocol, uint32_t state, uint32_t status) noexcept nogil:
    """An entry's protocol, state and status as one number."""
    return protocol | state << 8 | status << 16


cdef inline void ordinary(Conntrack* c, bint bare, Ordinary* o) noexcept nogil:
    """What `forward_known` goes by, for many packets of one batch."""
    cdef uint32_t* tcp = c.sysctl.tcp
    o.nobody = <uint8_t*>c.table.entries
    o.headers_ok = bare
    o.transports_ok = bare or not c.sysctl.checksum
    o.tcp_kind = kind_of(IPPROTO_TCP, TCP_ESTABLISHED, ORDINARY | IPS_ASSURED)
    o.tcp_kind_mask = kind_of(0xFF, 0xFF, ORDINARY_MASK | IPS_ASSURED)
    o.udp_kind = kind_of(IPPROTO_UDP, 0, ORDINARY)
    o.udp_kind_mask = kind_of(0xFF, 0, ORDINARY_MASK)
    o.live_kind_mask = kind_of(0xFF, 0, IPS_CONFIRMED | IPS_DYING)
    o.assured = kind_of(0, 0, IPS_ASSURED)
    o.nat_mask = kind_of(0, 0, IPS_NAT_MASK)
    o.tcp = tcp[TCP_ESTABLISHED]
    o.tcp_retrans = tcp[TIMEOUT_RETRANS]
    o.tcp_unack = tcp[TIMEOUT_UNACK]
    o.tcp_shut = min(o.tcp, o.tcp_retrans)
    o.udp = c.sysctl.udp
    o.udp_stream = c.sysctl.udp_stream
    o.tcp_max_retrans = c.sysctl.tcp_max_retrans


cdef inline uint32_t sum_beyond(const uint8_t* ip) noexcept nogil:
    """One's complement sum of what follows the first NATFAST_BYTES of a packet that has more than those."""
    cdef uint64_t s = sum_span(ip + NATFAST_BYTES, ip_total(ip) - NATFAST_BYTES)
    return <uint32_t>((s + rotate32(s)) >> 32)
