"""What rules remember by address: hashlimit's token buckets, connlimit's connections.

Linux 6.18's xt_hashlimit and nf_conncount. Times are conntrack's milliseconds, where the kernel has jiffies; connections that are
gone are all forgotten when they are counted, of which the kernel forgets some at a time.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

from natfast.conntrack cimport find_live
from natfast.headers cimport IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, be16, ip_dst, ip_ihl, ip_src
from natfast.memo cimport ORIGINAL
from natfast.packet cimport Packet
from natfast.siphash cimport siphash13
from natfast.state cimport Conntrack, expired
from natfast.table cimport Entry, settled
from natfast.tcp cimport TCP_CLOSE, TCP_TIME_WAIT
from natfast.tuples cimport Half, Tuple, half_equal, parse_tuple

cdef enum:
    FIRST_SIZE = 64
    IPPROTO_ESP = 50
    IPPROTO_AH = 51


cdef inline uint32_t place(uint64_t first, uint64_t second, uint32_t size, const Conntrack* c) noexcept nogil:
    return <uint32_t>siphash13(first, second, c.table.k0, c.table.k1) & (size - 1)


cdef bint key_of(const Hashlimit* h, const Packet* k, Half* key) noexcept nogil:
    """What a packet's bucket is found by; False if it is too short to have the ports that it should."""
    cdef uint32_t proto = k.data[9], at = ip_ihl(k.data)
    key.src = ip_src(k.data) & h.src_mask if h.mode & BY_SRCIP else 0
    key.dst = ip_dst(k.data) & h.dst_mask if h.mode & BY_DSTIP else 0
    key.sport = 0
    key.dport = 0
    if not h.mode & (BY_SRCPORT | BY_DSTPORT):
        return True
    if proto == IPPROTO_AH:
        at += 4                                     # where its SPI stands, which counts as ports here
    elif (proto != IPPROTO_TCP and proto != IPPROTO_UDP and proto != IPPROTO_UDPLITE and proto != IPPROTO_SCTP
          and proto != IPPROTO_DCCP and proto != IPPROTO_ESP):
        return True
    if at + 4 > k.avail:
        return False
    if h.mode & BY_SRCPORT:
        key.sport = <uint16_t>be16(k.data + at)
    if h.mode & BY_DSTPORT:
        key.dport = <uint16_t>be16(k.data + at + 2)
    return True


cdef inline TokenBucket* bucket_of_key(const Hashlimit* h, const Half* key, const Conntrack* c) noexcept nogil:
    """The bucket of a key, or the hole where it belongs."""
    cdef uint32_t i = place(<uint64_t>key.src << 32 | key.dst, <uint64_t>key.sport << 16 | key.dport, h.size, c)
    while h.slot[i].used and not half_equal(&h.slot[i].key, key):
        i = (i + 1) & (h.size - 1)
    return &h.slot[i]


cdef bint make_room(Hashlimit* h, const Conntrack* c) noexcept nogil:
    """Let go of expired buckets, and have a hole for each of the rest at least; False if there is no memory."""
    cdef Hashlimit old = h[0]
    cdef uint32_t i, live = 0
    for i in range(old.size):
        live += old.slot[i].used and c.now - old.slot[i].seen < h.expire
    h.size = old.size if old.size else FIRST_SIZE
    while 2 * (live + 1) > h.size:
        h.size *= 2
    h.slot = <TokenBucket*>calloc(h.size, sizeof(TokenBucket))
    if h.slot == NULL:
        h[0] = old
        return False
    h.used = live
    h.swept = c.now
    for i in range(old.size):
        if old.slot[i].used and c.now - old.slot[i].seen < h.expire:
            bucket_of_key(h, &old.slot[i].key, c)[0] = old.slot[i]
    free(old.slot)
    return True


cdef int hashlimit_take(Hashlimit* h, Conntrack* c, const Packet* k) noexcept nogil:
    """1 and a token less if the packet's bucket has one, 0 if not; -1 if the packet is to be dropped: malformed, or no room."""
    cdef Half key
    cdef TokenBucket* b
    if not key_of(h, k, &key):
        return -1
    if 3 * (h.used + 1) > 2 * h.size and not make_room(h, c):
        return -1
    b = bucket_of_key(h, &key, c)
    if not b.used or c.now - b.seen >= h.expire:
        if not b.used and h.most and h.used >= h.most:
            if c.now - h.swept < h.interval or not make_room(h, c) or h.used >= h.most:
                return -1
            b = bucket_of_key(h, &key, c)
        h.used += not b.used
        b.key = key
        b.used = True
        b.tokens = h.burst
    else:
        b.tokens += (c.now - b.seen) * 1e-3 * h.rate
        if b.tokens > h.burst:
            b.tokens = h.burst
    b.seen = c.now
    if b.tokens < 1:
        return 0
    b.tokens -= 1
    return 1


cdef void hashlimit_free(Hashlimit* h) noexcept nogil:
    free(h.slot)
    h.slot = NULL


cdef inline Connections* connections_of(const Connlimit* l, uint32_t address, const Conntrack* c) noexcept nogil:
    cdef uint32_t i = place(address, 0, l.size, c)
    while l.slot[i].used and l.slot[i].address != address:
        i = (i + 1) & (l.size - 1)
    return &l.slot[i]


cdef bint widen(Connlimit* l, const Conntrack* c) noexcept nogil:
    """Room for more addresses; those without connections are forgotten. False if there is no memory."""
    cdef Connlimit old = l[0]
    cdef uint32_t i
    l.size = 2 * old.size if old.size else FIRST_SIZE
    l.slot = <Connections*>calloc(l.size, sizeof(Connections))
    if l.slot == NULL:
        l[0] = old
        return False
    l.used = 0
    for i in range(old.size):
        if old.slot[i].used and old.slot[i].n:
            connections_of(l, old.slot[i].address, c)[0] = old.slot[i]
            l.used += 1
        elif old.slot[i].used:
            free(old.slot[i].list)
    free(old.slot)
    return True


cdef const Entry* entry_of(Conntrack* c, Counted* counted) noexcept nogil:
    """A connection's entry; NULL if the table has it no more, or not yet."""
    cdef const Entry* e = &c.table.entries[counted.entry]
    if counted.entry == 0 or not settled(e) or e.proto != counted.original.proto or not half_equal(&e.tuple[0], &counted.original.h):
        counted.entry = find_live(c, &counted.original.h, counted.original.proto, ORIGINAL) >> 1
        e = &c.table.entries[counted.entry]
    return NULL if counted.entry == 0 or expired(e, c.now) else e


cdef uint32_t connlimit_count(Connlimit* l, Conntrack* c, const Packet* k, uint32_t address) noexcept nogil:
    """How many connections an address has, the packet's own included, which is counted from now on.

    0 if it cannot be counted: it has no tuple, or there is no memory.
    """
    cdef Connections* of
    cdef Counted* more
    cdef Tuple mine
    cdef const Entry* e = &c.table.entries[k.ct]
    cdef uint32_t i, n = 0
    cdef bint known = False, own
    if k.ct != 0:
        mine.h = e.tuple[0]
        mine.proto = e.proto
    elif not parse_tuple(k.data, k.avail, &mine, &i):
        return 0
    if 3 * (l.used + 1) > 2 * l.size and not widen(l, c):
        return 0
    of = connections_of(l, address, c)
    if not of.used:
        of.used = True
        of.address = address
        l.used += 1
    for i in range(of.n):
        e = entry_of(c, &of.list[i])
        if e == NULL:
            continue
        own = mine.proto == of.list[i].original.proto and half_equal(&mine.h, &of.list[i].original.h)
        if own or e.proto != IPPROTO_TCP or e.state != TCP_TIME_WAIT and e.state != TCP_CLOSE:
            of.list[n] = of.list[i]
            n += 1
            known |= own
    of.n = n
    if known:
        return n
    if n == of.room:
        more = <Counted*>realloc(of.list, (2 * of.room + 4) * sizeof(Counted))
        if more == NULL:
            return 0
        of.list = more
        of.room = 2 * of.room + 4
    of.list[n].entry = k.ct
    of.list[n].original = mine
    of.n = n + 1
    return of.n


cdef void connlimit_free(Connlimit* l) noexcept nogil:
    cdef uint32_t i
    for i in range(l.size):
        free(l.slot[i].list)
    free(l.slot)
    l.slot = NULL
    l.size = 0
