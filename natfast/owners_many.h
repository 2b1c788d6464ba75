/* Owners of many packets at once, by their tuples' words. */
#ifndef NATFAST_OWNERS_MANY_H
#define NATFAST_OWNERS_MANY_H
#include "dispatch.h"
#include "siphash.h"

/* `words` of the endpoints that count (`source`, `destination`: all ones if so, else 0) and of the protocol, in place, hashed to
 * numbers below `workers`. */
NATFAST_DISPATCH
static void natfast_owners_many(uint64_t *restrict m0, uint64_t *restrict m1, uint8_t *restrict out, size_t n, uint64_t source,
                                uint64_t destination, uint64_t key, uint32_t workers)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t from = (m0[i] & 0xFFFFFFFFU) << 16 | (m1[i] & 0xFFFF), to = m0[i] >> 32 << 16 | (m1[i] >> 16 & 0xFFFF);
        m0[i] = natfast_siphash13((from & source) ^ (to & destination), m1[i] >> 32 & 0xFF, key, key);
    }
    for (size_t i = 0; i < n; i++)
        m0[i] = (m0[i] >> 32) * workers >> 32;
    for (size_t i = 0; i < n; i++)      /* apart, as a loop whose numbers are of different sizes is not vectorised whole */
        out[i] = (uint8_t)m0[i];
}
#endif
