"""Memory asked for ahead of its use."""
from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.string cimport memset

cdef extern from "simd.h" nogil:
    void prefetch "natfast_prefetch"(const void* p)

cdef enum:
    LINE = 64                       # bytes of a cache line
    LINES = 5                       # of a span, at most
    SPANS = 20
    FIRST = 3                       # times that nothing is followed

# What something touched the last time it happened, and so will again. Nothing is read through it: what has moved
# meanwhile costs time, no more.
ctypedef struct Trail:
    uint32_t age                    # times that it has been followed ...
    uint32_t until                  # ... and after how many it is taken anew
    uint8_t n                       # spans
    uint8_t of[LINES]               # how many of them have one line, two, ...
    const char* span[SPANS]         # where each begins: those of one line first, then those of two, ...


cdef inline void trail_add(Trail* t, const void* p, size_t size) noexcept nogil:
    """Add `size` bytes from `p` on; nothing if that is NULL, or the trail is long enough."""
    cdef const char* first = <const char*>(<uintptr_t>p & ~<uintptr_t>(LINE - 1))
    cdef uint32_t more = min(<uint32_t>(<const char*>p + size - 1 - first) // LINE, <uint32_t>LINES - 1), i = t.n, longer
    if p == NULL or t.n == SPANS:
        return
    for longer in range(LINES - 1, more, -1):
        t.span[i] = t.span[i - t.of[longer]]        # the first of those makes room behind the last
        i -= t.of[longer]
    t.span[i] = first
    t.of[more] += 1
    t.n += 1


cdef inline const char** follow(const char** span, uint32_t n, uint32_t lines) noexcept nogil:
    cdef uint32_t i, k
    for i in range(n):
        for k in range(lines):
            prefetch(span[i] + k * LINE)
    return span + n


cdef inline void trail_follow(Trail* t) noexcept nogil:
    cdef const char** span = t.span
    # a loop for each length, so that none has another in it
    span = follow(span, t.of[0], 1)
    span = follow(span, t.of[1], 2)
    span = follow(span, t.of[2], 3)
    span = follow(span, t.of[3], 4)
    follow(span, t.of[4], LINES)


cdef inline bint trail_is_due(Trail* t) noexcept nogil:
    """Is it time to take the trail anew? Not before connections and routes are made; soon then, and ever more seldom."""
    t.age += 1
    if t.age < max(t.until, <uint32_t>FIRST):
        return False
    t.age = 0
    t.until = min(4 * t.until + 3, 255)
    t.n = 0
    memset(t.of, 0, LINES)
    return True
