"""Memory asked for ahead of its use."""
from libc.stdint cimport uint32_t, uintptr_t

cdef extern from "simd.h" nogil:
    void prefetch "natfast_prefetch"(const void* p)

cdef enum:
    LINE = 64                       # bytes of a cache line
    TRAIL = 20

# What something touched the last time it happened, and so will again. Nothing is read through it: what has moved
# meanwhile costs time, no more.
ctypedef struct Trail:
    uintptr_t span[TRAIL]           # the address of a line, and in its low bits how many follow that one
    uint32_t n
    uint32_t age                    # times that it has been followed ...
    uint32_t until                  # ... and after how many it is taken anew


cdef inline void trail_add(Trail* t, const void* p, size_t size) noexcept nogil:
    cdef uintptr_t first = <uintptr_t>p & ~<uintptr_t>(LINE - 1)
    if t.n < TRAIL and size:
        t.span[t.n] = first | (<uintptr_t>p + size - 1 - first) // LINE
        t.n += 1


cdef inline void trail_follow(const Trail* t) noexcept nogil:
    cdef const uintptr_t* span = t.span
    cdef const uintptr_t* end = span + t.n
    cdef uintptr_t p, last
    while span != end:
        p = span[0] & ~<uintptr_t>(LINE - 1)
        last = p + (span[0] & (LINE - 1)) * LINE
        while p <= last:
            prefetch(<const void*>p)
            p += LINE
        span += 1


cdef inline bint trail_is_due(Trail* t) noexcept nogil:
    """Is it time to take the trail anew? Soon at first, when connections and routes are being made; then ever more seldom."""
    t.age += 1
    if t.age < t.until:
        return False
    t.age = 0
    t.until = min(2 * t.until + 1, 255)
    t.n = 0
    return True
