"""What the last few tuples hashed to, and which of them nobody has: a new connection's are looked up, claimed and entered
by turns.

A batch hashes them for many connections at once and leaves them here; else the first who asks computes, and those after
him read. Nothing but time depends on what is remembered.
"""
from libc.stdint cimport uint32_t, uint64_t
from natfast.siphash cimport siphash13

cdef enum:
    MEMO = 4                    # both tuples, the source, and one more that may be tried

ctypedef struct Memo:
    uint64_t m0[MEMO]
    uint64_t m1[MEMO]           # never 0 of what is remembered: its top byte is the message's length
    uint64_t hash[MEMO]
    uint64_t absent[MEMO]       # how many entries the table had ever got when it was looked for in vain; 0 if it was not
    uint32_t oldest


cdef inline void remember(Memo* m, uint64_t m0, uint64_t m1, uint64_t hash) noexcept nogil:
    cdef uint32_t i = m.oldest
    m.m0[i] = m0
    m.m1[i] = m1
    m.hash[i] = hash
    m.absent[i] = 0
    m.oldest = (i + 1) % MEMO


cdef inline uint32_t recall(Memo* m, uint64_t m0, uint64_t m1, uint64_t k0, uint64_t k1) noexcept nogil:
    """Where in the memo the SipHash-1-3 of these two words is; computed if need be."""
    cdef uint32_t i
    for i in range(MEMO):
        if (m.m0[i] ^ m0) | (m.m1[i] ^ m1) == 0:
            return i
    i = m.oldest
    remember(m, m0, m1, siphash13(m0, m1, k0, k1))
    return i


cdef inline uint64_t hash_words(Memo* m, uint64_t m0, uint64_t m1, uint64_t k0, uint64_t k1) noexcept nogil:
    return m.hash[recall(m, m0, m1, k0, k1)]
