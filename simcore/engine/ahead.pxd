"""Memory asked for ahead of its use."""
from libc.stdint cimport uint16_t, uint32_t, uintptr_t

cdef extern from "simd.h" nogil:
    void prefetch "natfast_prefetch"(const void* p)

cdef enum:
    LINE = 64                       # bytes of a cache line
    LINES = 20                      # that a trail has, at most
    FIRST = 2                       # times that nothing is followed

# What something touched the last time it happened, and so will again. Nothing is read through it: what has moved
# meanwhile costs time, no more.
ctypedef struct Trail:
    uint16_t age                    # times that it has been followed ...
    uint16_t until                  # ... and after how many it is taken anew
    uint16_t n
    uintptr_t line[LINES]


cdef inline void trail_add(Trail* t, const void* p, size_t size) noexcept nogil:
    """Add `size` bytes from `p` on; nothing if that is NULL, or the trail is long enough."""
    cdef uintptr_t line = <uintptr_t>p & ~<uintptr_t>(LINE - 1)
    cdef uint32_t i
    if p == NULL:
        return
    while line < <uintptr_t>p + size:
        for i in range(t.n):
            if t.line[i] == line:
                break
        else:
            if t.n == LINES:
                return
            t.line[t.n] = line
            t.n += 1
        line += LINE


cdef inline void trail_follow(const Trail* t) noexcept nogil:
    cdef uint32_t i
    for i in range(t.n):
        prefetch(<const void*>t.line[i])


cdef inline bint trail_is_due(Trail* t) noexcept nogil:
    """Is it time to take the trail anew? Not before connections and routes are made; soon then, and ever more seldom."""
    t.age += 1
    if t.age < max(t.until, <uint16_t>FIRST):
        return False
    t.age = 0
    t.until = min(4 * t.until + 3, 255)
    t.n = 0
    return True
