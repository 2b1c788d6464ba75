/* Prefetching, and which of a bucket's ten 16-bit tags equal one: bit i for slot i. SSE2 is part of every x86-64. */
#ifndef NATFAST_SIMD_H
#define NATFAST_SIMD_H
#include <stdint.h>
#include <string.h>

/* A function of nothing but __builtin_prefetch is pure to GCC, and calls of it vanish: the empty asm is what it does. */
static inline void natfast_prefetch(const void *p)
{
    __builtin_prefetch(p);
    __asm__ volatile("" : : "r"(p));
}

/* ... as nobody else's, to save asking twice for what another core has and will be written to. */
static inline void natfast_prefetch_to_write(const void *p)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));       /* old processors that have no such instruction ignore it */
#else
    __builtin_prefetch(p, 1);
    __asm__ volatile("");
#endif
}

#if defined(__SSE2__)
#include <emmintrin.h>
/* 64 bytes of zeros: of a memset of known size compilers make one instruction that takes longer to begin than all these stores. */
static inline void natfast_clear_line(void *p)
{
    for (int i = 0; i < 4; i++)
        _mm_storeu_si128((__m128i *)p + i, _mm_setzero_si128());
}

static inline uint32_t natfast_tag_mask(const uint16_t *tags, uint16_t tag)
{
    __m128i eq = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)tags), _mm_set1_epi16((short)tag));
    __m128i last = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(tags + 2)), _mm_set1_epi16((short)tag));
    uint32_t both = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(eq, last));        /* slots 0 to 7, then 2 to 9 */
    return (both & 0xFF) | (both >> 6 & 0x300);
}
#else
static inline void natfast_clear_line(void *p) { memset(p, 0, 64); }

static inline uint32_t natfast_tag_mask(const uint16_t *tags, uint16_t tag)
{
    uint32_t mask = 0;
    for (int i = 0; i < 10; i++)
        mask |= (uint32_t)(tags[i] == tag) << i;
    return mask;
}
#endif
#endif
