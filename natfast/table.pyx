from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from natfast.memo cimport ORIGINAL, REPLY
from natfast.siphash cimport siphash13
from natfast.tuples cimport Half, first_word, half_equal, second_word

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* addr, size_t length, int advice)
    enum: MAP_NORESERVE
    enum: MADV_HUGEPAGE
    enum: MADV_DONTNEED

cdef enum:
    SLOTS = 10
    ALL_SLOTS = (1 << SLOTS) - 1
    FIRST_BUCKETS = 1024


cdef void* reserve(size_t size) noexcept nogil:
    """Address space that costs memory only where it is touched; 2 MiB pages are asked for."""
    cdef void* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if p == MAP_FAILED:
        return NULL
    if size >= (4 << 20):
        madvise(p, size, MADV_HUGEPAGE)
    return p


cdef inline size_t entries_size(Table* t) noexcept nogil:
    return <size_t>t.capacity * sizeof(Entry)

cdef inline size_t buckets_size(Table* t) noexcept nogil:
    return <size_t>t.max_buckets * sizeof(Bucket)

cdef inline size_t spill_size(Table* t) noexcept nogil:
    return <size_t>t.max_spill * sizeof(Bucket)

cdef inline size_t soonest_size(Table* t) noexcept nogil:
    return (<size_t>(t.capacity >> BLOCK_BITS) + 1) * sizeof(uint32_t)

cdef inline size_t sources_size(Table* t) noexcept nogil:
    return (<size_t>t.source_mask + 1) * sizeof(uint32_t)


cdef int table_init(Table* t, uint32_t max_entries, uint64_t k0, uint64_t k1) except -1:
    """Reserve room for `max_entries` confirmed entries and those still unconfirmed.

    Raises MemoryError if the address space is refused.
    """
    memset(t, 0, sizeof(Table))
    t.capacity = max_entries + 65536
    t.fresh = 1
    t.max_buckets = FIRST_BUCKETS
    while t.max_buckets < max_entries // 2:
        t.max_buckets *= 2
    t.level = FIRST_BUCKETS
    t.n_buckets = FIRST_BUCKETS
    t.max_spill = t.max_buckets + 1024
    t.spill_fresh = 1
    t.source_mask = 1023
    while t.source_mask < max_entries // 2:
        t.source_mask = t.source_mask * 2 + 1
    while t.first_bits < 31 and t.capacity >> t.first_bits:
        t.first_bits += 1
    t.k0 = k0
    t.k1 = k1
    t.inserted = 1
    t.entries = <Entry*>reserve(entries_size(t))
    t.buckets = <Bucket*>reserve(buckets_size(t))
    t.spill = <Bucket*>reserve(spill_size(t))
    t.sources = <uint32_t*>reserve(sources_size(t))
    t.soonest = <uint32_t*>reserve(soonest_size(t))
    if t.entries == NULL or t.buckets == NULL or t.spill == NULL or t.sources == NULL or t.soonest == NULL:
        table_free(t)
        raise MemoryError(f"no address space for a conntrack table of {max_entries} entries")
    return 0


cdef void table_free(Table* t) noexcept nogil:
    if t.entries != NULL:
        munmap(t.entries, entries_size(t))
    if t.buckets != NULL:
        munmap(t.buckets, buckets_size(t))
    if t.spill != NULL:
        munmap(t.spill, spill_size(t))
    if t.sources != NULL:
        munmap(t.sources, sources_size(t))
    if t.soonest != NULL:
        munmap(t.soonest, soonest_size(t))
    t.entries = NULL
    t.buckets = NULL
    t.spill = NULL
    t.sources = NULL
    t.soonest = NULL


cdef void table_clear(Table* t) noexcept nogil:
    """Forget everything and give the memory back; the reservation stays."""
    madvise(t.entries, entries_size(t), MADV_DONTNEED)
    madvise(t.buckets, buckets_size(t), MADV_DONTNEED)
    madvise(t.spill, spill_size(t), MADV_DONTNEED)
    madvise(t.sources, sources_size(t), MADV_DONTNEED)
    madvise(t.soonest, soonest_size(t), MADV_DONTNEED)
    t.fresh = 1
    t.free = 0
    t.count = 0
    t.level = FIRST_BUCKETS
    t.n_buckets = FIRST_BUCKETS
    t.spill_fresh = 1
    t.spill_free = 0
    t.sweep = 0
    t.credit = 0


cdef void table_release(Table* t, uint32_t e) noexcept nogil:
    """Give an entry back that is in no index (any more)."""
    cdef Entry* x = &t.entries[e]
    release(t, e, hash_source(t, &x.tuple[0], x.proto) if x.status & IPS_SRC_NAT_DONE and x.src_prev == 0 else 0)


cdef inline void release(Table* t, uint32_t e, uint64_t source) noexcept nogil:
    """`source`: the hash of its source, which is needed only if its chain begins with it."""
    cdef Entry* x = &t.entries[e]
    cdef uint32_t* chain
    if x.status & IPS_SRC_NAT_DONE:
        if x.src_prev != 0:
            t.entries[x.src_prev].src_next = x.src_next
        else:
            chain = source_of(t, source)
            chain[0] = chain[0] ^ e ^ x.src_next if x.src_next != 0 else 0
        if x.src_next != 0:
            t.entries[x.src_next].src_prev = x.src_prev
    x.status = 0
    x.src_next = t.free
    t.free = e


cdef uint32_t table_search(Table* t, const Half* h, uint8_t proto, uint32_t role) noexcept nogil:
    """`table_find` of the remembered tuple, where it is not remembered as well that nobody has it."""
    cdef uint64_t hash = t.memo.hash[role]
    cdef uint16_t tag = tag_of(hash)
    cdef Bucket* b = bucket_of(t, hash)
    cdef Entry* e
    cdef uint32_t ref, hits
    while True:
        hits = natfast_tag_mask(b.tag, tag)
        while hits:
            ref = b.ref[__builtin_ctz(hits)]
            e = &t.entries[ref >> 1]
            prefetch(<char*>e + 64)                 # its tracker's half will be wanted, too
            if e.proto == proto and half_equal(&e.tuple[ref & 1], h):
                return ref
            hits &= hits - 1
        if b.next == 0:
            t.memo.absent[role] = t.inserted
            return 0
        b = &t.spill[b.next]


cdef uint32_t table_probe(Table* t, const Bucket* b, uint64_t hash, uint64_t m0, uint64_t m1) noexcept nogil:
    """The reference that the tuple with these words, and this hash, probably has in a bucket and what is chained to it; 0 if none.

    Of those whose tags agree all but the last are compared, so most often no entry is read.
    """
    cdef uint16_t tag = tag_of(hash)
    cdef const Entry* e
    cdef uint32_t ref = 0, hits
    while True:
        hits = natfast_tag_mask(b.tag, tag)
        while hits:
            if ref:
                e = &t.entries[ref >> 1]
                if first_word(&e.tuple[ref & 1]) == m0 and second_word(&e.tuple[ref & 1], e.proto) == m1:
                    return ref
            ref = b.ref[__builtin_ctz(hits)]
            hits &= hits - 1
        if b.next == 0:
            return ref
        b = &t.spill[b.next]


cdef uint32_t spill_alloc(Table* t) noexcept nogil:
    cdef uint32_t s = t.spill_free
    if s != 0:
        t.spill_free = t.spill[s].next
        memset(&t.spill[s], 0, sizeof(Bucket))
        return s
    # max_spill buckets hold every tuple even if all of them chain, so this cannot run out
    s = t.spill_fresh
    t.spill_fresh += 1
    return s


cdef void table_chain(Table* t, Bucket* b, uint16_t tag, uint32_t ref) noexcept nogil:
    """Put a reference into the first hole of a bucket or of those chained to it."""
    while not bucket_put(b, tag, ref):
        if b.next == 0:
            b.next = spill_alloc(t)
        b = &t.spill[b.next]


cdef void split_one(Table* t) noexcept nogil:
    """Add a bucket: the tuples of its twin, `level` below, divide between the two by the next bit of their hashes."""
    cdef uint32_t low = t.n_buckets - t.level, level = t.level
    cdef Bucket old = t.buckets[low]
    cdef uint32_t chain = old.next
    cdef int bit = __builtin_ctz(level), i
    cdef bint upper
    cdef Entry* e
    cdef const Half* h
    t.n_buckets += 1
    if t.n_buckets == 2 * t.level:
        t.level = t.n_buckets
    memset(&t.buckets[low], 0, sizeof(Bucket))
    while True:
        for i in range(SLOTS):
            if old.tag[i] == 0:
                continue
            if bit >= TAG_SHIFT:
                upper = (old.tag[i] >> (bit - TAG_SHIFT)) & 1
            else:
                e = &t.entries[old.ref[i] >> 1]
                h = &e.tuple[old.ref[i] & 1]
                upper = (siphash13(first_word(h), second_word(h, e.proto), t.k0, t.k1) >> bit) & 1
            table_chain(t, &t.buckets[low + level if upper else low], old.tag[i], old.ref[i])
        if chain == 0:
            return
        # the chain's buckets are read before they are freed: copy out, then recycle
        old = t.spill[chain]
        t.spill[chain].next = t.spill_free
        t.spill_free = chain
        chain = old.next


cdef void table_grow(Table* t) noexcept nogil:
    """As many buckets as its entries ask for."""
    while 2 * t.count > FILL * t.n_buckets and t.n_buckets < t.max_buckets:
        split_one(t)


cdef void index_drop(Table* t, uint32_t ref, uint64_t hash) noexcept nogil:
    cdef uint16_t tag = tag_of(hash)
    cdef Bucket* b = bucket_of(t, hash)
    cdef uint32_t hits
    while True:
        hits = natfast_tag_mask(b.tag, tag)
        while hits:
            if b.ref[__builtin_ctz(hits)] == ref:
                empty_slot(t, b, __builtin_ctz(hits))
                return
            hits &= hits - 1
        if b.next == 0:
            return
        b = &t.spill[b.next]


cdef void empty_slot(Table* t, Bucket* b, int i) noexcept nogil:
    """Free a slot; what stands last in its chain moves there, and a bucket that this empties leaves the chain."""
    cdef Bucket* last = b
    cdef Bucket* before_last = b
    cdef uint32_t holes
    cdef int j
    b.tag[i] = 0
    if b.next == 0:
        return
    while last.next != 0:
        before_last = last
        last = &t.spill[last.next]
    holes = natfast_tag_mask(last.tag, 0)
    if holes != ALL_SLOTS:
        j = __builtin_ctz(holes ^ ALL_SLOTS)
        b.tag[i] = last.tag[j]
        b.ref[i] = last.ref[j]
        last.tag[j] = 0
        holes |= 1U << j
    if holes != ALL_SLOTS:
        return
    last.next = t.spill_free
    t.spill_free = before_last.next
    before_last.next = 0


cdef void table_unlink(Table* t, uint32_t e) noexcept nogil:
    """Take a confirmed entry out of the index. Whoever still holds it releases it."""
    cdef Entry* x = &t.entries[e]
    unlink(t, e, hash_half(t, &x.tuple[0], x.proto, ORIGINAL), hash_half(t, &x.tuple[1], x.proto, REPLY))


cdef inline void unlink(Table* t, uint32_t e, uint64_t original, uint64_t reply) noexcept nogil:
    if not t.entries[e].status & IPS_NAT_CLASH:
        index_drop(t, e << 1, original)
    index_drop(t, e << 1 | 1, reply)
    t.count -= 1
    t.entries[e].status |= IPS_DYING


cdef void table_delete(Table* t, uint32_t e, const uint64_t* hash) noexcept nogil:
    """`table_unlink` and `table_release` of an entry whose original, reply and source have these hashes."""
    unlink(t, e, hash[0], hash[1])
    release(t, e, hash[2])


cdef size_t table_bytes(Table* t) noexcept nogil:
    """Memory in use: entries ever touched, index, overflow, by-source heads, expiry of blocks."""
    return (<size_t>t.fresh * sizeof(Entry) + <size_t>t.n_buckets * sizeof(Bucket)
            + <size_t>t.spill_fresh * sizeof(Bucket) + sources_size(t) + soonest_size(t))
