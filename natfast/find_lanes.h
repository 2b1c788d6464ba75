/* Which connections packets are of, for as many at once as a vector has lanes: `tuple_words` and the checksums (fastpath.pxd), `bucket_of`
 * and the first look of `probable_reference` (table.pxd). Included for each vector unit. */
/* See natfast_tuples_many: of the packets from `first` on. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(tuples)(uint8_t *const *ip, const uint32_t *length, uint64_t *m0, uint64_t *m1, natfast_packets *g, uint32_t first)
{
    u32v before[4], w[12];
    NATFAST_W(load_columns)(ip, -(size_t)2, before);        /* of which only the Ethernet type is taken */
    NATFAST_W(load_columns)(ip, 0, w);
    NATFAST_W(load_columns)(ip, 16, w + 4);
    u32v total = NATFAST_W(be16)(w[0] >> 16), protocol = w[2] >> 8 & 0xFF;
    u32v room = NATFAST_W(load)(length) - 14;
    lanes plain = NATFAST_W(is)(((before[0] & 0xFFFFFF) ^ 0x450008) | (w[1] & 0xFF3F0000), 0)
                & ~NATFAST_W(negative)((total - 28) | (room - total))
                & (NATFAST_W(is)(protocol, NATFAST_IPPROTO_TCP) | NATFAST_W(is)(protocol, NATFAST_IPPROTO_UDP));
    u32v ports = NATFAST_W(be32)(w[5]);
    NATFAST_W(store_pairs)(m0, NATFAST_W(be32)(w[3]), NATFAST_W(be32)(w[4]));
    NATFAST_W(store_pairs)(m1, NATFAST_W(keep)(plain, ports << 16 | ports >> 16), NATFAST_W(keep)(plain, protocol | 13U << 24));
    if (!g)
        return NATFAST_W(bits)(plain) << first;
    NATFAST_W(load_columns)(ip, 32, w + 8);
    total = NATFAST_W(select)(plain, total, NATFAST_W(each)(28));
    for (int k = 0; k < NATFAST_BYTES / 4; k++)
        NATFAST_W(store)(g->words[k] + first, k < 7 ? w[k] : w[k] & NATFAST_W(first_bytes)(total - 4 * k));
    NATFAST_W(store)(g->length + first, total);
    return NATFAST_W(bits)(plain) << first;
}

/* See natfast_tails_many: of the packets from `first` on. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(tails)(natfast_packets *g, uint32_t first)
{
    uint64_t last[NATFAST_LANES];           /* eight bytes, of which those count that are beyond */
    u32v total = NATFAST_W(load)(g->length + first);
    for (uint32_t k = 0; k < NATFAST_LANES; k++)
        last[k] = natfast_load64(g->ip[first + k] + g->length[first + k] - 8);
    NATFAST_W(store)(g->beyond + first, NATFAST_W(sum_pairs)(last, 8 * (NATFAST_BYTES + 8 - total)));
    return NATFAST_W(bits)(NATFAST_W(negative)(NATFAST_BYTES + 8 - total)) << first;
}

/* See natfast_verify_many: of the packets from `first` on. */
__attribute__((target(NATFAST_TARGET)))
static void NATFAST_W(verify)(const natfast_ordinary *o, natfast_packets *g, uint32_t first)
{
    u32v w[NATFAST_BYTES / 4];
    for (int k = 0; k < NATFAST_BYTES / 4; k++)
        w[k] = NATFAST_W(load)(g->words[k] + first);
    u32v addresses = NATFAST_W(halves)(w[3]) + NATFAST_W(halves)(w[4]);
    u32v sum = addresses + NATFAST_W(halves)(w[0]) + NATFAST_W(halves)(w[1]) + NATFAST_W(halves)(w[2]);
    g->whole |= NATFAST_W(bits)(NATFAST_W(is)(NATFAST_W(fold)(sum), 0xFFFF)) << first;
    if (o->transports_ok)
        return;
    sum = addresses + NATFAST_W(halves)(NATFAST_W(load)(g->beyond + first)) + (w[2] & 0xFF00)
        + NATFAST_W(be16)(NATFAST_W(load)(g->length + first) - 20);
    for (int k = 5; k < NATFAST_BYTES / 4; k++)
        sum += NATFAST_W(halves)(w[k]);
    g->sound |= NATFAST_W(bits)(NATFAST_W(is)(NATFAST_W(fold)(sum), 0xFFFF)) << first;
}

/* See natfast_places_many. */
__attribute__((target(NATFAST_TARGET)))
static void NATFAST_W(places)(const natfast_index *x, const uint64_t *hash, uint8_t **bucket)
{
    u32v b = NATFAST_W(load_low)(hash) & (2 * x->level - 1);
    b -= NATFAST_W(keep)(NATFAST_W(at_least)(b, NATFAST_W(each)(x->n_buckets)), NATFAST_W(each)(x->level));
    NATFAST_W(store_pointers)(bucket, x->buckets, b, 6);
}

/* See natfast_matches_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(matches)(const natfast_index *x, const uint64_t *hash, uint8_t *const *bucket, uint32_t wanted,
                                   uint32_t *ref, uint8_t **entry, uint32_t *several)
{
    uint32_t tag[NATFAST_LANES], slots[NATFAST_LANES], probable[NATFAST_LANES];
    u32v t = NATFAST_W(load_low)(hash) >> NATFAST_TAG_SHIFT & 0xFFFF;
    NATFAST_W(store)(tag, t | NATFAST_W(keep)(NATFAST_W(is)(t, 0), NATFAST_W(each)(0x8000)));
    __asm__ volatile("" : "+m"(tag));       /* read from there: compilers would rather take the vector to pieces, which takes longer */
    for (int k = 0; k < NATFAST_LANES; k++) {
        slots[k] = NATFAST_W(slots)(bucket[k], (uint16_t)tag[k]);
        probable[k] = natfast_load32(bucket[k] + 2 * NATFAST_SLOTS + 4 * NATFAST_W(first_slot)(slots[k]));
    }
    u32v hits = NATFAST_W(load)(slots);
    *several = wanted & ~NATFAST_W(bits)(NATFAST_W(is)(hits & (hits - 1), 0));
    u32v found = NATFAST_W(keep)(~NATFAST_W(is)(hits, 0) & NATFAST_W(lanes_of)(wanted), NATFAST_W(load)(probable));
    NATFAST_W(store)(ref, found);
    NATFAST_W(store_pointers)(entry, x->entries, found >> 1, 7);
    return NATFAST_W(bits)(~NATFAST_W(is)(found, 0));
}
