"""The conntrack table: entries, the index that finds them by either tuple, the by-source index of NAT.

* **Entries** are 128 bytes, two cache lines: what every packet touches, then what the protocol tracker
  keeps. They lie in one address range reserved at creation and touched as it fills; an entry never moves.
* **Index**: 64-byte buckets of ten (16-bit tag, 32-bit reference) pairs for both directions. It grows by
  linear hashing (Litwin 1980): one bucket is split per few inserts, so nothing ever stops the world.
  A bucket that overflows chains to another; deletion fills its hole from the chain's end, so buckets
  do not rot.
* **Expiry** has no timers and writes nothing per packet: each block of 64 entries has a time before which none of them
  expires, which is set anew when that time comes and all 64 are looked at.
* **By source**: chains of the entries that share (address, port, protocol) of the original source, newest
  first, as Linux's nf_nat_bysource.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from natfast.memo cimport Memo, ORIGINAL, REPLY, SOURCE, recall
from natfast.tuples cimport Half, first_word, second_word, source_word

# Entry's status bits, at the positions of Linux's ip_conntrack_status.
cdef enum:                      # Status
    IPS_SEEN_REPLY = 1 << 1
    IPS_ASSURED = 1 << 2
    IPS_CONFIRMED = 1 << 3
    IPS_SRC_NAT = 1 << 4
    IPS_DST_NAT = 1 << 5
    IPS_NAT_MASK = 3 << 4
    IPS_SRC_NAT_DONE = 1 << 7
    IPS_DST_NAT_DONE = 1 << 8
    IPS_NAT_DONE_MASK = 3 << 7
    IPS_DYING = 1 << 9
    IPS_FIXED_TIMEOUT = 1 << 10
    IPS_NAT_CLASH = 1 << 11     # in the index by its reply only

# What one side has sent: highest end, highest end the peer allows, its window, its highest ack.
ctypedef struct Seen:
    uint32_t end
    uint32_t maxend
    uint32_t maxwin
    uint32_t maxack

ctypedef struct TcpTrack:
    Seen seen[2]
    uint8_t scale[2]
    uint8_t flags[2]
    uint32_t last_seq
    uint32_t last_ack
    uint32_t last_end
    uint16_t last_win
    uint8_t last_index
    uint8_t last_dir
    uint8_t last_flags
    uint8_t last_wscale
    uint8_t retrans

ctypedef struct UdpTrack:
    uint32_t stream_after       # ms: traffic both ways after this makes a stream

ctypedef struct SctpTrack:
    uint32_t vtag[2]
    uint8_t last_dir
    uint8_t init[2]
    uint8_t flags

ctypedef union Track:
    TcpTrack tcp
    UdpTrack udp
    SctpTrack sctp

ctypedef struct Entry:
    Half tuple[2]               # original, reply
    uint8_t proto
    uint8_t state
    uint16_t status
    uint32_t expires            # ms
    uint32_t src_next
    uint32_t src_prev
    uint32_t packets[2]
    uint64_t bytes[2]
    Track track
    uint32_t mark
    uint16_t masq_oif           # interface whose address was taken, 0 if none
    uint16_t pad

cdef inline bint settled(const Entry* e) noexcept nogil:
    """In the table and staying there."""
    return e.status & (IPS_CONFIRMED | IPS_DYING) == IPS_CONFIRMED

ctypedef struct Bucket:
    uint16_t tag[10]            # 0: free
    uint32_t ref[10]            # entry << 1 | direction
    uint32_t next               # overflow bucket, 0 if none

ctypedef struct Table:
    Entry* entries
    uint32_t capacity           # entries reserved; entry 0 is never used
    uint32_t fresh              # entries [fresh, capacity) were never used
    uint32_t free               # free list through src_next
    uint32_t count              # confirmed entries
    Bucket* buckets
    uint32_t n_buckets
    uint32_t level              # n_buckets lies in [level, 2 * level)
    uint32_t max_buckets
    Bucket* spill               # overflow buckets
    uint32_t spill_fresh
    uint32_t spill_free
    uint32_t max_spill
    # Chains of connections by their sources, newest entry first: its number in as many low bits as that takes. Above it one bit
    # for each source that came in since the chain was empty tells for most others that they are not in it, and no entry is read.
    uint32_t* sources
    uint32_t source_mask
    uint32_t first_bits
    uint64_t k0
    uint64_t k1
    Memo memo
    uint64_t inserted           # how many entries were ever put into the index, and one
    uint32_t* soonest           # ms, of each block of entries: none of them expires before
    uint32_t sweep              # next block to be looked at for expiry
    int32_t credit              # how many entries may be looked at by now

cdef extern from "simd.h" nogil:
    uint32_t natfast_tag_mask(const uint16_t* tags, uint16_t tag)
    int __builtin_ctz(unsigned int x)
    int __builtin_popcount(unsigned int x)
    void clear_line "natfast_clear_line"(void* p)
    void prefetch "natfast_prefetch"(const void* p)
    void prefetch_to_write "natfast_prefetch_to_write"(const void* p)


cdef enum:
    FILL = 5                    # slots in use per bucket, on average, before the next bucket is split
    TAG_SHIFT = 14              # a tag is bits 14 to 29 of the hash, a bucket's number its low bits


cdef enum:
    BLOCK_BITS = 6              # of 64 entries
    BLOCK = 1 << BLOCK_BITS


cdef inline void set_expiry(Table* t, Entry* e, uint32_t when) noexcept nogil:
    """When the entry expires, unless something refreshes it."""
    cdef uint32_t* soonest = &t.soonest[(<size_t>e - <size_t>t.entries) // (sizeof(Entry) * BLOCK)]
    e.expires = when
    if <int32_t>(when - soonest[0]) < 0:
        soonest[0] = when


cdef inline uint16_t tag_of(uint64_t h) noexcept nogil:
    """Never 0. It overlaps the bucket's number: a large table is split by what the tags say, and no entry is read."""
    cdef uint16_t tag = <uint16_t>(h >> TAG_SHIFT)
    return tag if tag != 0 else 0x8000


cdef inline Bucket* bucket_of(Table* t, uint64_t h) noexcept nogil:
    cdef uint32_t b = <uint32_t>h & (2 * t.level - 1)
    # without a branch: half of the hashes are on either side of the next split
    return &t.buckets[b - (t.level & -<uint32_t>(b >= t.n_buckets))]


cdef inline uint32_t probable_reference(Table* t, const Bucket* b, uint64_t h, uint64_t m0, uint64_t m1) noexcept nogil:
    """The reference that the tuple with these words, whose hash is `h`, probably has in its bucket; 0 if none."""
    cdef uint32_t hits = natfast_tag_mask(b.tag, tag_of(h))
    if hits & (hits - 1) or hits == 0 and b.next:
        return table_probe(t, b, h, m0, m1)
    return b.ref[__builtin_ctz(hits)] if hits else 0


cdef inline uint32_t* source_of(Table* t, uint64_t h) noexcept nogil:
    """Where the chain of a source with this hash begins."""
    return &t.sources[<uint32_t>h & t.source_mask]


cdef inline uint32_t chain_first(const Table* t, uint32_t chain) noexcept nogil:
    return chain & ((1U << t.first_bits) - 1)


cdef inline uint32_t source_bit(const Table* t, uint64_t h) noexcept nogil:
    """The bit of a chain that a source with this hash sets."""
    return 1U << (t.first_bits + <uint32_t>((h >> 32) * (32 - t.first_bits) >> 32))


cdef inline uint64_t hash_half(Table* t, const Half* h, uint8_t proto, uint32_t role) noexcept nogil:
    return recall(&t.memo, role, first_word(h), second_word(h, proto), t.k0, t.k1)


cdef inline uint64_t hash_source(Table* t, const Half* h, uint8_t proto) noexcept nogil:
    return recall(&t.memo, SOURCE, h.src, source_word(h.sport, proto), t.k0, t.k1)


cdef inline uint32_t table_alloc(Table* t) noexcept nogil:
    """A zeroed entry that no index knows yet; 0 if none is left."""
    cdef uint32_t e = t.free
    cdef Entry* soon
    if e != 0:
        t.free = t.entries[e].src_next
        # the turn of one further on comes soon, and what was swept together lies in a row
        soon = t.entries + <int32_t>(t.free + 3 * (t.free - e))
        prefetch(soon)
        prefetch(<char*>soon + 64)
        clear_line(&t.entries[e])
        clear_line(<char*>&t.entries[e] + 64)
        return e
    if t.fresh >= t.capacity:
        return 0
    e = t.fresh
    t.fresh += 1
    return e


cdef inline uint32_t table_find(Table* t, const Half* h, uint8_t proto, uint32_t role) noexcept nogil:
    """Reference (entry << 1 | direction) of the entry that has this tuple; 0 if none. `role`: whose place in the memo it takes."""
    hash_half(t, h, proto, role)
    return 0 if t.memo.absent[role] == t.inserted else table_search(t, h, proto, role)


cdef inline bint surely_absent(Table* t, uint32_t role) noexcept nogil:
    """Has nobody the remembered tuple? False if that would take more than a look into one bucket."""
    cdef const Bucket* b = bucket_of(t, t.memo.hash[role])
    if natfast_tag_mask(b.tag, tag_of(t.memo.hash[role])) | b.next:
        return False
    t.memo.absent[role] = t.inserted
    return True


cdef inline uint32_t source_head(Table* t, const Half* h, uint8_t proto) noexcept nogil:
    """First entry of the chain that this original source may be in; 0 if it is in none."""
    cdef uint64_t hash = hash_source(t, h, proto)
    cdef uint32_t chain = source_of(t, hash)[0]
    return chain_first(t, chain) if chain & source_bit(t, hash) else 0


cdef inline void source_link(Table* t, uint32_t e) noexcept nogil:
    cdef Entry* x = &t.entries[e]
    cdef uint64_t hash = hash_source(t, &x.tuple[0], x.proto)
    cdef uint32_t* chain = source_of(t, hash)
    x.src_prev = 0
    x.src_next = chain_first(t, chain[0])
    if x.src_next != 0:
        t.entries[x.src_next].src_prev = e
    chain[0] ^= x.src_next ^ e
    chain[0] |= source_bit(t, hash)


cdef inline bint bucket_put(Bucket* b, uint16_t tag, uint32_t ref) noexcept nogil:
    """Fill a bucket's first hole; False if it has none."""
    cdef uint32_t holes = natfast_tag_mask(b.tag, 0)
    if holes:
        b.tag[__builtin_ctz(holes)] = tag
        b.ref[__builtin_ctz(holes)] = ref
    return holes != 0


cdef inline void index_put(Table* t, uint32_t ref, uint64_t hash) noexcept nogil:
    cdef Bucket* b = bucket_of(t, hash)
    if not bucket_put(b, tag_of(hash), ref):
        table_chain(t, b, tag_of(hash), ref)


cdef inline void table_insert(Table* t, uint32_t e, uint64_t original, uint64_t reply) noexcept nogil:
    """Make the entry findable by both its tuples, which have these hashes; after a clash by the answer's alone."""
    cdef Entry* x = &t.entries[e]
    if not x.status & IPS_NAT_CLASH:
        index_put(t, e << 1, original)
    index_put(t, e << 1 | 1, reply)
    t.inserted += 1
    x.status |= IPS_CONFIRMED
    set_expiry(t, x, x.expires)                 # its block counts it from now on
    t.count += 1
    if 2 * t.count > FILL * t.n_buckets:
        table_grow(t)


cdef int table_init(Table* t, uint32_t max_entries, uint64_t k0, uint64_t k1) except -1
cdef void table_free(Table* t) noexcept nogil
cdef void table_release(Table* t, uint32_t e) noexcept nogil
cdef uint32_t table_probe(Table* t, const Bucket* b, uint64_t hash, uint64_t m0, uint64_t m1) noexcept nogil
cdef uint32_t table_search(Table* t, const Half* h, uint8_t proto, uint32_t role) noexcept nogil
cdef void table_chain(Table* t, Bucket* b, uint16_t tag, uint32_t ref) noexcept nogil
cdef void table_grow(Table* t) noexcept nogil
cdef void table_unlink(Table* t, uint32_t e) noexcept nogil
cdef void table_delete(Table* t, uint32_t e, const uint64_t* hash) noexcept nogil
cdef size_t table_bytes(Table* t) noexcept nogil
cdef void table_clear(Table* t) noexcept nogil
