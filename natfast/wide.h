/* Fields that lie beside each other in memory, read and written in one access; every byte order gives the same values. */
#ifndef NATFAST_WIDE_H
#define NATFAST_WIDE_H
#include <stdint.h>
#include <string.h>

static inline uint16_t natfast_load16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t natfast_load32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t natfast_load64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void natfast_store64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline void natfast_store16(void *p, uint16_t v) { memcpy(p, &v, 2); }

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint64_t natfast_be64(uint64_t v) { return __builtin_bswap64(v); }
static inline uint64_t natfast_join32(uint32_t first, uint32_t second) { return (uint64_t)second << 32 | first; }
static inline uint32_t natfast_join16(uint16_t first, uint16_t second) { return (uint32_t)second << 16 | first; }
static inline uint16_t natfast_join8(uint8_t first, uint8_t second) { return (uint16_t)(second << 8 | first); }
/* two u32 or two u16, the first in the low half */
static inline uint64_t natfast_pair32(const uint32_t *p) { return natfast_load64(p); }
static inline uint32_t natfast_pair16(const uint16_t *p) { return natfast_load32(p); }
static inline void natfast_put_pair32(uint32_t *p, uint64_t v) { memcpy(p, &v, 8); }
static inline void natfast_put_pair16(uint16_t *p, uint32_t v) { memcpy(p, &v, 4); }
/* the `n` < 8 bytes before `end` as if followed by zeros; eight bytes before `end` are readable */
static inline uint64_t natfast_last_bytes(const uint8_t *end, uint32_t n) { return natfast_load64(end - 8) >> 1 >> (63 - 8 * n); }
#else
static inline uint64_t natfast_be64(uint64_t v) { return v; }
static inline uint64_t natfast_join32(uint32_t first, uint32_t second) { return (uint64_t)first << 32 | second; }
static inline uint32_t natfast_join16(uint16_t first, uint16_t second) { return (uint32_t)first << 16 | second; }
static inline uint16_t natfast_join8(uint8_t first, uint8_t second) { return (uint16_t)(first << 8 | second); }
static inline uint64_t natfast_pair32(const uint32_t *p) { return (uint64_t)p[1] << 32 | p[0]; }
static inline uint32_t natfast_pair16(const uint16_t *p) { return (uint32_t)p[1] << 16 | p[0]; }
static inline void natfast_put_pair32(uint32_t *p, uint64_t v) { p[0] = (uint32_t)v; p[1] = (uint32_t)(v >> 32); }
static inline void natfast_put_pair16(uint16_t *p, uint32_t v) { p[0] = (uint16_t)v; p[1] = (uint16_t)(v >> 16); }
static inline uint64_t natfast_last_bytes(const uint8_t *end, uint32_t n) { return n ? natfast_load64(end - 8) << (64 - 8 * n) : 0; }
#endif
static inline void natfast_put64(uint8_t *p, uint64_t v) { v = natfast_be64(v); memcpy(p, &v, 8); }
static inline uint64_t natfast_rotate32(uint64_t v) { return v << 32 | v >> 32; }
static inline uint32_t natfast_rotate16(uint32_t v) { return v << 16 | v >> 16; }

/* One's complement addition and subtraction: the carry comes round. */
static inline uint64_t natfast_add1(uint64_t a, uint64_t b) { a += b; return a + (a < b); }
static inline uint64_t natfast_sub1(uint64_t a, uint64_t b) { uint64_t d = a - b; return d - (a < b); }

/* A sum folded to 16 bits: 0 only if it is 0. Adding the halves both ways at once brings the carry round. */
static inline uint32_t natfast_fold(uint64_t s)
{
    uint32_t w = (uint32_t)((s + natfast_rotate32(s)) >> 32);
    return (w + natfast_rotate16(w)) >> 16;
}

/* Is a sum of words that are not all zero a multiple of 0xffff, as of data with a right checksum? 2**64 - 1 is a multiple, so what
 * came round did no harm; and multiplying by its inverse takes just the multiples of an odd number to the small values. */
static inline int natfast_sums_to_ffff(uint64_t s)
{
    uint64_t ones = 0x0001000100010001ULL;
    __asm__("" : "+r"(ones));               /* one multiplication: the compiler would make six shifts and additions of it */
    return 0 - s * ones <= ones;
}
#endif
