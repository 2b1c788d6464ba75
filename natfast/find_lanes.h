/* `tuple_words` (fastpath.pxd), `bucket_of` and `reference_in` (table.pxd) for as many packets at once as a vector has lanes; included for
 * each vector unit. */
/* See natfast_tuples_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(tuples)(uint8_t *const *ip, const uint32_t *length, uint64_t *m0, uint64_t *m1, uint32_t *beyond,
                                  uint32_t *longer)
{
    u32v w[4], v[4];            /* from the Ethernet type on, and from the addresses on */
    NATFAST_W(load_columns)(ip, -(size_t)2, w);
    NATFAST_W(load_columns)(ip, 12, v);
    u32v total = NATFAST_W(be16)(w[1]), protocol = w[2] >> 24;
    u32v room = NATFAST_W(load)(length) - 14;
    lanes plain = NATFAST_W(is)(((w[0] & 0xFFFFFF) ^ 0x450008) | (w[2] & 0xFF3F), 0)
                & ~NATFAST_W(negative)((total - 28) | (room - total))
                & (NATFAST_W(is)(protocol, NATFAST_IPPROTO_TCP) | NATFAST_W(is)(protocol, NATFAST_IPPROTO_UDP));
    u32v ports = NATFAST_W(be32)(v[2]);
    NATFAST_W(store_pairs)(m0, NATFAST_W(be32)(v[0]), NATFAST_W(be32)(v[1]));
    NATFAST_W(store_pairs)(m1, NATFAST_W(keep)(plain, ports << 16 | ports >> 16), NATFAST_W(keep)(plain, protocol | 13U << 24));
    if (!beyond)
        return NATFAST_W(bits)(plain);
    /* of the last eight bytes those that are beyond */
    uint64_t last[NATFAST_LANES];
    uint32_t end[NATFAST_LANES];
    total = NATFAST_W(select)(plain, total, NATFAST_W(each)(28));
    NATFAST_W(store)(end, total);
    for (int k = 0; k < NATFAST_LANES; k++)
        last[k] = natfast_load64(ip[k] + end[k] - 8);
    NATFAST_W(store)(beyond, NATFAST_W(sum_pairs)(last, 8 * (NATFAST_BYTES + 8 - total)));
    *longer = NATFAST_W(bits)(NATFAST_W(negative)(NATFAST_BYTES + 8 - total));
    return NATFAST_W(bits)(plain);
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
