"""A batch's groups of frames, stage by stage: read, looked for, forwarded together where they are ordinary packets.

What each stage needs from memory is asked for one stage or two ahead. `Netfilter.forward_all` drives them, and does what is not ordinary.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from natfast.columns cimport BARE, compose_rows, fetch_rows
from natfast.fastpath cimport (established_many, forward_known, header_whole, Index, matches_many, NATFAST_EV_ACK, NATFAST_MANY,
                               NATFAST_MAXACK_SET, NATFAST_NONE, NATFAST_SACK_PERM, NATFAST_SLOTS, NATFAST_TAG_SHIFT, NATFAST_UNACKED,
                               ORDINARY, places_many, Soon, sum_beyond, tails_many, transport_sound, tuple_words, tuples_many,
                               verify_many)
from natfast.headers cimport ETH_HLEN
from natfast.siphash cimport siphash13_many
from natfast.state cimport Conntrack, milliseconds
from natfast.table cimport (Bucket, Entry, TAG_SHIFT, Table, bucket_of, natfast_tag_mask, prefetch, set_expiry, table_probe, tag_of,
                            __builtin_ctz)
from natfast.tcp cimport EV_ACK, MAXACK_SET, SACK_PERM, UNACKED
from natfast.tuples cimport Half, first_word, second_word, source_word


cdef bint layouts_agree() noexcept nogil:
    """Is what forward_many.h says of entries, and of TCP's flags in them, what table.pxd and tcp.pxd say?"""
    cdef Entry* e = NULL
    cdef Bucket* b = NULL
    return (sizeof(Bucket) == 64 and <size_t>&b.tag[NATFAST_SLOTS] == <size_t>&b.ref[0] and <size_t>&b.ref[NATFAST_SLOTS] == <size_t>&b.next
            and TAG_SHIFT == NATFAST_TAG_SHIFT
            and sizeof(Entry) == 128 and <size_t>&e.tuple[1] == 12 and <size_t>&e.proto == 24 and <size_t>&e.state == 25
            and <size_t>&e.status == 26 and <size_t>&e.expires == 28 and <size_t>&e.packets[0] == 40 and <size_t>&e.bytes[0] == 48
            and <size_t>&e.track.tcp.seen[0] == 64 and <size_t>&e.track.tcp.scale[0] == 96 and <size_t>&e.track.tcp.last_seq == 100
            and <size_t>&e.track.tcp.last_win == 112 and <size_t>&e.track.tcp.retrans == 118 and <size_t>&e.mark == 120
            and <size_t>&e.track.udp.stream_after == 64 and GROUP == NATFAST_MANY and EV_ACK == NATFAST_EV_ACK
            and SACK_PERM == NATFAST_SACK_PERM and UNACKED == NATFAST_UNACKED and MAXACK_SET == NATFAST_MAXACK_SET)


if not layouts_agree():
    raise ImportError("natfast: forward_many.h and the tables it works on were built from different sources")


cdef inline void index_of(const Table* t, Index* x) noexcept nogil:
    """Where to look, for many at once."""
    x.buckets = <uint8_t*>t.buckets
    x.entries = <uint8_t*>t.entries
    x.n_buckets = t.n_buckets
    x.level = t.level


cdef void read_ahead(Conntrack* c, const Batch* b, size_t at, Ahead* ahead) noexcept nogil:
    """Read the tuples of a group of frames and hash them together."""
    cdef uint32_t i, longer, n = <uint32_t>(b.count - at if b.count - at < GROUP else GROUP)
    cdef uint32_t* lengths = b.lengths + at
    cdef uint8_t* frame = b.frames + at * b.stride
    ahead.first = at
    if b.rows != NULL:
        lengths = ahead.packets.length
        for i in range(n):
            ahead.packets.ip[i] = b.frames + b.rows[at + i] * b.stride + ETH_HLEN
            ahead.packets.length[i] = b.lengths[b.rows[at + i]]
    else:
        if b.columns != NULL:
            i = at // GROUP % AHEAD * GROUP
            frame = b.frames + i * BARE
            lengths = b.lengths + i
            fetch_rows(b.columns, b.translated, at + 2 * GROUP)
            compose_rows(b.columns, at, n, frame, b.lengths + i, b.unit)
        for i in range(n):
            ahead.packets.ip[i] = frame + i * b.stride + ETH_HLEN
    ahead.lengths = lengths
    if b.times != NULL:
        for i in range(n):
            ahead.packets.now[i] = milliseconds(b.times[row_of(b, at + i)])
    ahead.together = b.unit != NATFAST_NONE and n == GROUP
    if ahead.together:
        ahead.plain = tuples_many(ahead.packets.ip, lengths, ahead.m0, ahead.m1, &ahead.packets, b.unit)
        longer = 0 if b.usual.transports_ok else tails_many(&ahead.packets, b.unit)
        while longer:
            i = <uint32_t>__builtin_ctz(longer)
            ahead.packets.beyond[i] = sum_beyond(ahead.packets.ip[i])
            longer &= longer - 1
        verify_many(&b.usual, &ahead.packets, b.unit)
    else:
        ahead.packets.whole = ahead.packets.sound = 0
        for i in range(n):
            tuple_words(ahead.packets.ip[i] - ETH_HLEN, lengths[i], &ahead.m0[i], &ahead.m1[i])
            if ahead.m1[i]:
                ahead.packets.whole |= <uint32_t>header_whole(ahead.packets.ip[i], b.bare) << i
                ahead.packets.sound |= <uint32_t>transport_sound(c, ahead.packets.ip[i], ahead.m1[i], b.bare) << i
    siphash13_many(ahead.m0, ahead.m1, ahead.hash, n, c.table.k0, c.table.k1)
    ahead.count = n


cdef void place_ahead(Conntrack* c, const Batch* b, Ahead* ahead) noexcept nogil:
    """Find the buckets that a group's packets are looked for in."""
    cdef uint32_t k
    cdef Index index
    ahead.n_buckets = c.table.n_buckets
    if ahead.together:
        index_of(&c.table, &index)
        places_many(&index, ahead.hash, ahead.bucket, b.unit)
    else:
        for k in range(ahead.count):
            ahead.bucket[k] = <uint8_t*>bucket_of(&c.table, ahead.hash[k])


cdef void match_ahead(Conntrack* c, const Batch* b, Ahead* ahead) noexcept nogil:
    """Find which entries a group's packets probably are of, as far as their first buckets tell."""
    cdef uint32_t k, hits, fresh
    cdef Bucket* bucket
    cdef Index index
    if ahead.n_buckets != c.table.n_buckets:       # the table has grown since
        place_ahead(c, b, ahead)
    if ahead.together:
        index_of(&c.table, &index)
        ahead.known = matches_many(&index, ahead.hash, ahead.bucket, ahead.plain, ahead.packets.ref, ahead.packets.entry,
                                   &ahead.unsure, b.unit)
    else:
        ahead.plain = ahead.known = ahead.unsure = 0
        for k in range(ahead.count):
            bucket = <Bucket*>ahead.bucket[k]
            hits = natfast_tag_mask(bucket.tag, tag_of(ahead.hash[k])) if ahead.m1[k] else 0
            ahead.plain |= <uint32_t>(ahead.m1[k] != 0) << k
            ahead.known |= <uint32_t>(hits != 0) << k
            ahead.unsure |= <uint32_t>(hits & (hits - 1) != 0) << k
            ahead.packets.ref[k] = bucket.ref[__builtin_ctz(hits)] if hits else 0
            ahead.packets.entry[k] = <uint8_t*>&c.table.entries[ahead.packets.ref[k] >> 1]
    fresh = ahead.plain & ~ahead.known
    while fresh:
        k = <uint32_t>__builtin_ctz(fresh)
        bucket = <Bucket*>ahead.bucket[k]
        if bucket.next:
            prefetch(&c.table.spill[bucket.next])
            ahead.unsure |= 1U << k
        fresh &= fresh - 1


cdef void probe_ahead(Conntrack* c, Ahead* ahead) noexcept nogil:
    """Look closer where the first buckets did not tell; what then is of no entry will be new."""
    cdef uint32_t k, fresh, unsure = ahead.unsure
    while unsure:
        k = <uint32_t>__builtin_ctz(unsure)
        ahead.packets.ref[k] = table_probe(&c.table, <Bucket*>ahead.bucket[k], ahead.hash[k], ahead.m0[k], ahead.m1[k])
        ahead.packets.entry[k] = <uint8_t*>&c.table.entries[ahead.packets.ref[k] >> 1]
        ahead.known = ahead.known & ~(1U << k) | <uint32_t>(ahead.packets.ref[k] != 0) << k
        unsure &= unsure - 1
    fresh = ahead.plain & ~ahead.known
    if fresh:
        while fresh:
            ahead.is_new[ahead.n_new] = <uint8_t>__builtin_ctz(fresh)
            ahead.n_new += 1
            fresh &= fresh - 1
        expect_new(c, ahead)


cdef void expect_new(Conntrack* c, Ahead* a) noexcept nogil:
    """Nothing is known of some of these tuples: each may open a connection, translated as the last one was.

    All that such a connection will be looked for and entered by is hashed together.
    """
    cdef Table* t = &c.table
    cdef uint32_t i, k
    cdef Half reply
    cdef uint8_t proto
    for i in range(a.n_new):
        k = a.is_new[i]
        proto = <uint8_t>(a.m1[k] >> 32)
        reply.src = <uint32_t>(a.m0[k] >> 32)
        reply.sport = <uint16_t>(a.m1[k] >> 16)
        reply.dport = <uint16_t>a.m1[k]
        reply.dst = c.masquerading_as
        a.new0[EXPECTED * i] = first_word(&reply)
        a.new1[EXPECTED * i] = second_word(&reply, proto)
        a.new0[EXPECTED * i + 1] = <uint32_t>a.m0[k]
        a.new1[EXPECTED * i + 1] = source_word(reply.dport, proto)
    siphash13_many(a.new0, a.new1, a.new_hash, EXPECTED * a.n_new, t.k0, t.k1)


cdef uint32_t forward_together(Conntrack* c, Batch* b, Ahead* group, const Ahead* next, const Ahead* fetch) noexcept nogil:
    """Forward the ordinary packets of a whole group at once, and ask for the next one's entries and the buckets of the one behind it;
    bits of those that are done.

    What of them comes late in the group is done before what is not ordinary and comes early. That is the same as one by one
    as long as no two are of one connection, and none can end another's: so nothing behind a packet whose connection is
    not looked for by its tuple, nor behind a new one if the table may be full.
    """
    cdef uint32_t unknown, wanted, done, left
    cdef Soon soon
    cdef bint full = c.sysctl.max != 0 and c.table.count + 2 * GROUP > c.sysctl.max
    cdef Entry* e
    unknown = ~group.known & (~<uint32_t>0 if full else ~group.plain)
    wanted = group.known & ((unknown & (0 - unknown)) - 1)
    soon.entry = next.packets.entry
    soon.bucket = fetch.bucket
    done = established_many(&b.usual, &group.packets, wanted, &soon, b.unit)
    c.stats.found += how_many(done)
    left = group.packets.sooner
    while left:
        e = <Entry*>group.packets.entry[__builtin_ctz(left)]
        set_expiry(&c.table, e, e.expires)
        left &= left - 1
    return done


cdef uint32_t forward_in_turn(Conntrack* c, const Batch* b, Ahead* group) noexcept nogil:
    """Forward a group's packets one by one up to the first that is not an ordinary one; bits of those that are done."""
    cdef uint32_t k, done = 0
    for k in range(group.count):
        if b.times != NULL:
            c.now = milliseconds(b.times[row_of(b, group.first + k)])
        if group.packets.ref[k] == 0 or not group.packets.whole >> k & 1:
            break
        group.packets.length[k] = forward_known(c, group.packets.ip[k], group.m0[k], group.m1[k], group.packets.ref[k], ORDINARY,
                                                group.packets.sound >> k & 1)
        if group.packets.length[k] == 0:
            break
        done |= 1U << k
    return done
