/* Loops that the compiler vectorises, built for several vector units; which one runs is chosen when the library is
 * loaded, and every choice gives the same numbers. NATFAST_PLAIN builds the plain one only. */
#ifndef NATFAST_DISPATCH_H
#define NATFAST_DISPATCH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(NATFAST_PLAIN)
#define NATFAST_DISPATCH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define NATFAST_DISPATCH
#endif

/* Sum of `n` unaligned 32-bit words of the machine's own order. */
NATFAST_DISPATCH
static uint64_t natfast_sum_words(const uint8_t *p, size_t n)
{
    uint64_t s = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t w;
        memcpy(&w, p + 4 * i, 4);
        s += w;
    }
    return s;
}
#endif
