/* SipHash-1-3 of many two-word messages at once. */
#ifndef NATFAST_SIPHASH_MANY_H
#define NATFAST_SIPHASH_MANY_H
#include "dispatch.h"
#include "siphash.h"

NATFAST_DISPATCH
static void natfast_siphash_many(const uint64_t *restrict m0, const uint64_t *restrict m1, uint64_t *restrict out,
                                 size_t n, uint64_t k0, uint64_t k1)
{
    for (size_t i = 0; i < n; i++)
        out[i] = natfast_siphash13(m0[i], m1[i], k0, k1);
}
#endif
