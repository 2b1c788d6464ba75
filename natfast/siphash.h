/* SipHash-1-3 (Aumasson and Bernstein 2012) of a message of two words, its length in the top byte of the second. */
#ifndef NATFAST_SIPHASH_H
#define NATFAST_SIPHASH_H
#include <stdint.h>

#define NATFAST_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define NATFAST_ROUND \
    v0 += v1; v1 = NATFAST_ROTL(v1, 13); v1 ^= v0; v0 = NATFAST_ROTL(v0, 32); \
    v2 += v3; v3 = NATFAST_ROTL(v3, 16); v3 ^= v2; \
    v0 += v3; v3 = NATFAST_ROTL(v3, 21); v3 ^= v0; \
    v2 += v1; v1 = NATFAST_ROTL(v1, 17); v1 ^= v2; v2 = NATFAST_ROTL(v2, 32);

static inline __attribute__((always_inline)) uint64_t natfast_siphash13(uint64_t m0, uint64_t m1, uint64_t k0, uint64_t k1)
{
    uint64_t v0 = 0x736F6D6570736575ULL ^ k0, v1 = 0x646F72616E646F6DULL ^ k1;
    uint64_t v2 = 0x6C7967656E657261ULL ^ k0, v3 = 0x7465646279746573ULL ^ k1;
    v3 ^= m0;
    NATFAST_ROUND
    v0 ^= m0;
    v3 ^= m1;
    NATFAST_ROUND
    v0 ^= m1;
    v2 ^= 0xFF;
    NATFAST_ROUND NATFAST_ROUND NATFAST_ROUND
    return v0 ^ v1 ^ v2 ^ v3;
}
#endif
