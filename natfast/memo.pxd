"""What a connection's tuples hashed to, and which of them nobody has: a new one's are looked up, claimed and entered by turns.

A batch hashes them for many connections at once and leaves them here; else the first who asks computes, and those after
him read. Nothing but time depends on what is remembered.
"""
from libc.stdint cimport uint32_t, uint64_t
from natfast.siphash cimport siphash13

cdef enum:                      # Role: what is remembered of each is the last
    ORIGINAL = 0
    REPLY = 1
    SOURCE = 2
    ROLES = 3

ctypedef struct Memo:
    uint64_t m0[ROLES]
    uint64_t m1[ROLES]          # never 0 of what is remembered: its top byte is the message's length
    uint64_t hash[ROLES]
    uint64_t absent[ROLES]      # how many entries the table had ever got when it was looked for in vain; 0 if it was not


cdef inline void remember(Memo* m, uint32_t role, uint64_t m0, uint64_t m1, uint64_t hash) noexcept nogil:
    m.m0[role] = m0
    m.m1[role] = m1
    m.hash[role] = hash
    m.absent[role] = 0


cdef inline uint64_t recall(Memo* m, uint32_t role, uint64_t m0, uint64_t m1, uint64_t k0, uint64_t k1) noexcept nogil:
    """The SipHash-1-3 of these two words; computed if need be."""
    if (m.m0[role] ^ m0) | (m.m1[role] ^ m1):
        remember(m, role, m0, m1, siphash13(m0, m1, k0, k1))
    return m.hash[role]
