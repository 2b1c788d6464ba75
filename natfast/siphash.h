/* SipHash-1-3 (Aumasson and Bernstein 2012) of many two-word messages at once. */
#ifndef NATFAST_SIPHASH_H
#define NATFAST_SIPHASH_H
#include "dispatch.h"

#define NATFAST_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define NATFAST_ROUND \
    v0 += v1; v1 = NATFAST_ROTL(v1, 13); v1 ^= v0; v0 = NATFAST_ROTL(v0, 32); \
    v2 += v3; v3 = NATFAST_ROTL(v3, 16); v3 ^= v2; \
    v0 += v3; v3 = NATFAST_ROTL(v3, 21); v3 ^= v0; \
    v2 += v1; v1 = NATFAST_ROTL(v1, 17); v1 ^= v2; v2 = NATFAST_ROTL(v2, 32);

NATFAST_DISPATCH
static void natfast_siphash_many(const uint64_t *restrict m0, const uint64_t *restrict m1, uint64_t *restrict out,
                                 size_t n, uint64_t k0, uint64_t k1)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v0 = 0x736F6D6570736575ULL ^ k0, v1 = 0x646F72616E646F6DULL ^ k1;
        uint64_t v2 = 0x6C7967656E657261ULL ^ k0, v3 = 0x7465646279746573ULL ^ k1;
        v3 ^= m0[i];
        NATFAST_ROUND
        v0 ^= m0[i];
        v3 ^= m1[i];
        NATFAST_ROUND
        v0 ^= m1[i];
        v2 ^= 0xFF;
        NATFAST_ROUND NATFAST_ROUND NATFAST_ROUND
        out[i] = v0 ^ v1 ^ v2 ^ v3;
    }
}
#endif
