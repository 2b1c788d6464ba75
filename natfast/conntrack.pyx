"""nf_conntrack_in and nf_conntrack_confirm, and what may happen to an entry in between.

A packet owns an entry that it has made, until that is confirmed, and one that it has taken out of the table:
`conntrack_put` at the end of its way gives it back.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from natfast.headers cimport (IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, ip_dst,
                              ip_frag, ip_ihl, icmp_is_error, IP_OFFSET)
from natfast.log cimport LOG_TABLE_FULL, log_packet
from natfast.memo cimport ORIGINAL, REPLY
from natfast.packet cimport (BY_CLASH, BY_FULL_TABLE, BY_WANT_OF_PORTS, IP_CT_ESTABLISHED, IP_CT_ESTABLISHED_REPLY, IP_CT_IS_REPLY,
                             IP_CT_NEW, IP_CT_RELATED, IP_CT_RELATED_REPLY, IP_CT_UNTRACKED, Packet)
from natfast.siphash cimport siphash13_many
from natfast.state cimport Conntrack, TRACK_ACCEPT, TRACK_INVALID, TRACK_REPEAT, TRACK_UNCOUNTED, expired, heard, random32
from natfast.table cimport (BLOCK, BLOCK_BITS, Bucket, Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_DYING, IPS_FIXED_TIMEOUT, IPS_NAT_CLASH,
                            IPS_NAT_MASK, IPS_SEEN_REPLY, IPS_SRC_NAT_DONE, Table, bucket_of, hash_half, prefetch, set_expiry, settled,
                            source_of, table_delete, table_insert, table_release, table_unlink)
from natfast.tcp cimport tcp_can_early_drop, tcp_packet
from natfast.trackers cimport generic_packet, gre_packet, icmp_packet, sctp_packet, sum_accepted, udp_packet, udplite_packet
from natfast.tuples cimport Tuple, first_word, half_equal, invert, parse_tuple, second_word, source_word


cdef enum:
    UNDUE = 4                   # credit that it costs to see that nothing of a block is due
    FAR = 1 << 30               # ms after which a block of no entries is looked at again


cdef void kill(Conntrack* c, uint32_t ei) noexcept nogil:
    """Delete a confirmed entry that no packet holds."""
    table_unlink(&c.table, ei)
    table_release(&c.table, ei)


cdef void buried(Conntrack* c, uint32_t ei) noexcept nogil:
    """`kill` an entry that has expired."""
    kill(c, ei)
    c.stats.expired += 1


cdef inline void condemn(Conntrack* c, Doomed* d, uint32_t ei) noexcept nogil:
    """`kill` one entry, soon; `execute` sees to the last ones."""
    cdef Condemned* now = &d.half[d.filling]
    cdef Entry* e = &c.table.entries[ei]
    cdef uint32_t i = now.n
    now.entry[i] = ei
    now.m0[TUPLES * i] = first_word(&e.tuple[0])
    now.m1[TUPLES * i] = second_word(&e.tuple[0], e.proto)
    now.m0[TUPLES * i + 1] = first_word(&e.tuple[1])
    now.m1[TUPLES * i + 1] = second_word(&e.tuple[1], e.proto)
    now.m0[TUPLES * i + 2] = e.tuple[0].src
    now.m1[TUPLES * i + 2] = source_word(e.tuple[0].sport, e.proto)
    if e.status & IPS_SRC_NAT_DONE:
        prefetch(&c.table.entries[e.src_prev])
        prefetch(&c.table.entries[e.src_next])
    now.n += 1
    d.count += 1
    if now.n == GATHER:
        change_halves(c, d)


cdef void change_halves(Conntrack* c, Doomed* d) noexcept nogil:
    """Hash what one half has gathered and ask for all that it hangs in; the other half has arrived, and goes."""
    cdef Condemned* now = &d.half[d.filling]
    cdef Table* t = &c.table
    cdef uint32_t i
    siphash13_many(now.m0, now.m1, now.hash, TUPLES * now.n, t.k0, t.k1)
    for i in range(now.n):
        prefetch(bucket_of(t, now.hash[TUPLES * i]))
        prefetch(bucket_of(t, now.hash[TUPLES * i + 1]))
        prefetch(source_of(t, now.hash[TUPLES * i + 2]))
    d.filling ^= 1
    now = &d.half[d.filling]
    for i in range(now.n):
        table_delete(t, now.entry[i], &now.hash[TUPLES * i])
    now.n = 0


cdef uint32_t execute(Conntrack* c, Doomed* d) noexcept nogil:
    """What is condemned and still there goes; returns how many went since the last time."""
    cdef uint32_t n = d.count
    if n:
        change_halves(c, d)
        change_halves(c, d)
    d.count = 0
    return n


cdef bint sweep_block(Conntrack* c, Doomed* doomed, uint32_t block) noexcept nogil:
    """Condemn what has expired of a block, and find out when to look at it again; False if it is not due yet."""
    cdef Table* t = &c.table
    cdef uint32_t first = block << BLOCK_BITS, last = min(first + BLOCK, t.fresh), i
    cdef uint32_t soonest = c.now + FAR
    cdef Entry* e
    if <int>(t.soonest[block] - c.now) > 0:
        return False
    for i in range(first if first else 1, last):
        e = &t.entries[i]
        prefetch(e + 24)
        if not settled(e):
            continue
        if expired(e, c.now):
            condemn(c, doomed, i)
        elif <int>(e.expires - soonest) < 0:
            soonest = e.expires
    t.soonest[block] = soonest
    return True


cdef void sweep_blocks(Conntrack* c) noexcept nogil:
    """Spend the credit on looking at blocks of entries, and delete those that have expired."""
    cdef Table* t = &c.table
    cdef Doomed doomed
    cdef uint32_t n = 0
    doomed_init(&doomed)
    while t.credit > 0:
        if t.sweep << BLOCK_BITS >= t.fresh:
            n += execute(c, &doomed)                # none is condemned twice
            t.sweep = 0
        t.credit -= BLOCK if sweep_block(c, &doomed, t.sweep) else UNDUE
        t.sweep += 1
    c.stats.expired += n + execute(c, &doomed)


cdef uint32_t sweep_all(Conntrack* c) noexcept nogil:
    """Delete all that has expired; returns how many."""
    cdef Doomed doomed
    cdef uint32_t n, block
    doomed_init(&doomed)
    for block in range((c.table.fresh + BLOCK - 1) >> BLOCK_BITS):
        sweep_block(c, &doomed, block)
    n = execute(c, &doomed)
    c.stats.expired += n
    c.swept = c.now
    return n


cdef uint32_t delete_matching(Conntrack* c, const Wanted* w) noexcept nogil:
    """Delete the confirmed entries whose original tuple has all that is wanted; returns how many."""
    cdef Table* t = &c.table
    cdef Entry* e
    cdef Doomed doomed
    cdef uint32_t i
    doomed_init(&doomed)
    for i in range(1, t.fresh):
        e = &t.entries[i]
        prefetch(e + 24)
        if (settled(e) and (w.protocol < 0 or e.proto == w.protocol)
                and (w.src < 0 or e.tuple[0].src == w.src) and (w.dst < 0 or e.tuple[0].dst == w.dst)
                and (w.sport < 0 or e.tuple[0].sport == w.sport) and (w.dport < 0 or e.tuple[0].dport == w.dport)):
            condemn(c, &doomed, i)
    return execute(c, &doomed)


cdef bint early_drop(Conntrack* c) noexcept nogil:
    """Make room in a full table: delete one unassured entry, found from a random bucket on.

    Linux looks at eight of its nf_conntrack_buckets: as many tuples as those hold on average are looked at here,
    whatever our buckets hold (16 if the limit is as large as the number of buckets).
    """
    cdef Table* t = &c.table
    cdef Bucket* b
    cdef Entry* e
    cdef uint32_t seen = 0, k
    cdef int i
    cdef uint32_t at = random32(c)
    cdef uint64_t most = 1 + <uint64_t>16 * t.count // c.sysctl.buckets
    for k in range(t.n_buckets):
        b = &t.buckets[(at + k) % t.n_buckets]
        while True:
            for i in range(10):
                if b.tag[i] == 0:
                    continue
                seen += 1
                e = &t.entries[b.ref[i] >> 1]
                if not e.status & IPS_ASSURED or (e.proto == IPPROTO_TCP and tcp_can_early_drop(e)):
                    kill(c, b.ref[i] >> 1)
                    c.stats.early_drop += 1
                    return True
            if b.next == 0:
                break
            b = &t.spill[b.next]
        if seen >= most:
            return False
    return False


cdef bint make_room(Conntrack* c) noexcept nogil:
    """Rid a full table of what has expired, or of one unassured entry; False if it stays full."""
    if c.swept != c.now and sweep_all(c) != 0:
        return True
    return early_drop(c)


cdef void table_full(Conntrack* c, const Packet* p) noexcept nogil:
    """Count the packet that finds no room, and say so, at most ten times in five seconds."""
    c.stats.drop += 1
    c.stats.table_full += 1
    if c.now - c.full_since >= 5000 or c.full_said == 0:
        c.full_since = c.now
        c.full_said = 0
    if c.full_said < 10:
        c.full_said += 1
        log_packet(&c.log, LOG_TABLE_FULL, 0, c.now, 0, p)


cdef int track(Conntrack* c, uint32_t ei, Packet* p, uint32_t off, int dir, bint at_prerouting) noexcept nogil:
    cdef Entry* e = &c.table.entries[ei]
    if e.proto == IPPROTO_TCP:
        return tcp_packet(c, ei, p, off, dir, at_prerouting)
    if e.proto == IPPROTO_UDP:
        return udp_packet(c, e, p, off, at_prerouting)
    if e.proto == IPPROTO_ICMP:
        return icmp_packet(c, e)
    if e.proto == IPPROTO_GRE:
        return gre_packet(c, e)
    if e.proto == IPPROTO_SCTP:
        return sctp_packet(c, e, p, off, dir, at_prerouting)
    if e.proto == IPPROTO_UDPLITE:
        return udplite_packet(c, e, p, off, at_prerouting)
    return generic_packet(c, e)


cdef int icmp_error(Conntrack* c, Packet* p, uint32_t off, bint at_prerouting) noexcept nogil:
    """Checks on any ICMP packet; an error is related to the connection it quotes.

    Returns TRACK_INVALID, or TRACK_ACCEPT with `p.ct` set for a related error.
    """
    cdef const uint8_t* icmp = p.data + off
    cdef uint32_t inner, inner_l4, ref
    cdef Tuple quoted, sent
    cdef Entry* e
    cdef int dir
    if p.len < off + 8 or p.avail < off + 8:
        return TRACK_INVALID
    if not sum_accepted(c, p, off, IPPROTO_ICMP, at_prerouting):
        return TRACK_INVALID
    if icmp[0] > 18:
        return TRACK_INVALID
    if not icmp_is_error(icmp[0]):
        return TRACK_ACCEPT
    inner = off + 8
    if p.avail < inner + 20 or not parse_tuple(p.data + inner, p.avail - inner, &quoted, &inner_l4):
        return TRACK_INVALID
    if not invert(&quoted, &sent):
        return TRACK_INVALID
    ref = find_live(c, &sent.h, sent.proto, ORIGINAL)
    if ref == 0:
        return TRACK_INVALID
    e = &c.table.entries[ref >> 1]
    dir = ref & 1
    if ip_dst(p.data) != e.tuple[dir].dst:              # the error must go to who sent the quoted packet
        return TRACK_INVALID
    p.ct = ref >> 1
    p.ctinfo = <unsigned char>(IP_CT_RELATED + (IP_CT_IS_REPLY if dir else 0))
    return TRACK_ACCEPT


cdef int conntrack_in(Conntrack* c, Packet* p, bint at_prerouting) noexcept nogil:
    """PREROUTING and OUTPUT: gives the packet its connection, or none if it is INVALID."""
    cdef Tuple t, reply
    cdef uint32_t off, ref, ei
    cdef Entry* e
    cdef int verdict, dir
    if p.ct != 0 or p.ctinfo == IP_CT_UNTRACKED:
        return CT_ACCEPT                                # seen before: loopback, or on the bridge
    off = 20 if p.key != NULL else ip_ihl(p.data)
    if p.key == NULL and (ip_frag(p.data) & IP_OFFSET or off > p.len):
        c.stats.invalid += 1
        return CT_ACCEPT
    if p.data[9] == IPPROTO_ICMPV6:
        # its tracker takes it, and checks it against an IPv6 header that is not there
        c.stats.invalid += 1
        return CT_ACCEPT
    if p.data[9] == IPPROTO_ICMP:
        if icmp_error(c, p, off, at_prerouting) == TRACK_INVALID:
            c.stats.invalid += 1
            return CT_ACCEPT
        if p.ct != 0:
            return CT_ACCEPT
    if p.key != NULL:
        t = p.key[0]
    elif not parse_tuple(p.data, p.avail, &t, &off):
        c.stats.invalid += 1
        return CT_ACCEPT
    while True:
        ref = p.hint
        p.hint = 0
        if ref == 0 or not still_there(c, ref, &t):
            ref = find_live(c, &t.h, t.proto, ORIGINAL)
        if ref == 0:
            if not invert(&t, &reply):
                c.stats.invalid += 1
                return CT_ACCEPT
            ei = entry_for_new(c)
            if ei == 0:
                table_full(c, p)
                p.dropped_by = BY_FULL_TABLE
                return CT_DROP
            e = &c.table.entries[ei]
            e.tuple[0] = t.h
            e.tuple[1] = reply.h
            e.proto = t.proto
            p.owned = True
            dir = 0
        else:
            ei = ref >> 1
            e = &c.table.entries[ei]
            dir = ref & 1
            c.stats.found += 1
        p.ct = ei
        if dir:
            p.ctinfo = IP_CT_ESTABLISHED_REPLY
        elif e.status & IPS_SEEN_REPLY:
            p.ctinfo = IP_CT_ESTABLISHED
        else:
            p.ctinfo = IP_CT_NEW
        verdict = track(c, ei, p, off, dir, at_prerouting)
        if verdict == TRACK_ACCEPT or verdict == TRACK_UNCOUNTED:
            heard(e, dir, verdict, p.len)
            return CT_ACCEPT
        conntrack_put(c, p)
        if verdict == TRACK_REPEAT:
            continue
        c.stats.invalid += 1
        return CT_ACCEPT


cdef bint resolve_clash(Conntrack* c, Packet* p, uint32_t winner, uint64_t original, uint64_t reply) noexcept nogil:
    """Two first packets of a connectionless flow were under way at once (nf_ct_resolve_clash).

    If both were translated alike, the second joins the first's entry. If not (DNAT to another server), its entry is
    findable by the answer alone, for one second. TCP and the rest: the second is dropped and sent again.
    """
    cdef Entry* mine = &c.table.entries[p.ct]
    cdef Entry* other = &c.table.entries[winner]
    cdef int i
    if mine.proto != IPPROTO_UDP and mine.proto != IPPROTO_UDPLITE and mine.proto != IPPROTO_GRE:
        return False
    if half_equal(&mine.tuple[0], &other.tuple[0]) and half_equal(&mine.tuple[1], &other.tuple[1]):
        for i in range(2):
            other.packets[i] += mine.packets[i]
            other.bytes[i] += mine.bytes[i]
        conntrack_put(c, p)
        p.ct = winner
        p.ctinfo = IP_CT_ESTABLISHED if other.status & IPS_SEEN_REPLY else IP_CT_NEW
        return True
    if find_live(c, &mine.tuple[1], mine.proto, REPLY) != 0:
        return False
    mine.status |= IPS_FIXED_TIMEOUT | IPS_NAT_CLASH
    set_expiry(&c.table, mine, c.now + 1000)
    table_insert(&c.table, p.ct, original, reply)
    p.owned = False
    return True


cdef int conntrack_confirm(Conntrack* c, Packet* p) noexcept nogil:
    """POSTROUTING and INPUT, last of all: the packet is going through, so its connection exists."""
    cdef Table* t = &c.table
    cdef Entry* e
    cdef uint32_t ref
    cdef uint64_t original, reply
    if p.ct == 0:
        return CT_ACCEPT
    e = &t.entries[p.ct]
    if e.status & (IPS_CONFIRMED | IPS_DYING):
        return CT_ACCEPT
    original = hash_half(t, &e.tuple[0], e.proto, ORIGINAL)
    reply = hash_half(t, &e.tuple[1], e.proto, REPLY)
    if t.memo.absent[ORIGINAL] != t.inserted or t.memo.absent[REPLY] != t.inserted:     # nobody has looked since the last one came in
        ref = find_live(c, &e.tuple[0], e.proto, ORIGINAL)
        if ref == 0:
            ref = find_live(c, &e.tuple[1], e.proto, REPLY)
        if ref != 0:
            # another packet was faster, or NAT found no free port
            c.stats.insert_failed += 1
            if resolve_clash(c, p, ref >> 1, original, reply):
                c.stats.clash_resolve += 1
                return CT_ACCEPT
            c.stats.drop += 1
            p.dropped_by = BY_WANT_OF_PORTS if e.status & IPS_NAT_MASK else BY_CLASH
            return CT_DROP
    table_insert(t, p.ct, original, reply)
    p.owned = False
    c.stats.insert += 1
    return CT_ACCEPT


cdef void conntrack_attach(Packet* p, const Packet* cause) noexcept nogil:
    """An ICMP error made here belongs to the connection of the packet that caused it, the other way round.

    It need not be in the table: it may be unconfirmed, or have been deleted by that very packet.
    """
    if cause.ct != 0:
        p.ct = cause.ct
        p.ctinfo = IP_CT_RELATED if cause.ctinfo >= IP_CT_IS_REPLY else IP_CT_RELATED_REPLY


cdef void conntrack_put(Conntrack* c, Packet* p) noexcept nogil:
    """The packet lets go of its connection."""
    cdef uint32_t status
    if p.owned:
        status = c.table.entries[p.ct].status
        if not status & IPS_CONFIRMED or status & IPS_DYING:
            table_release(&c.table, p.ct)
    p.owned = False
    p.ct = 0
    p.ctinfo = 0
