"""SipHash-1-3 (Aumasson and Bernstein 2012) of messages of two words, the length in the top byte of the second."""
from libc.stdint cimport uint64_t

cdef extern from "siphash.h" nogil:
    uint64_t siphash13 "natfast_siphash13"(uint64_t m0, uint64_t m1, uint64_t k0, uint64_t k1)

cdef extern from "siphash_many.h" nogil:
    void siphash13_many "natfast_siphash_many"(const uint64_t* m0, const uint64_t* m1, uint64_t* out, size_t n, uint64_t k0, uint64_t k1)
