"""What a TCP receiver holds beyond the next expected byte, and the SACK blocks that say so."""
from libc.stdint cimport uint32_t

ctypedef struct Range:
    uint32_t start
    uint32_t end

cdef class Reassembly:
    cdef Range* memory
    cdef Range* range               # within it: in sequence order, apart from each other
    cdef int n
    cdef int room                   # from there on
    cdef dict data                  # real bytes by where they start; zeros take no memory
    cdef uint32_t recent[4]         # a byte in each range that changed last, youngest first
    cdef int n_recent
    cdef bint fin
    cdef uint32_t fin_at
    cdef Range dsack                # what came a second time; start == end: nothing
    cdef void insert(self, uint32_t start, uint32_t end, bytes data) noexcept
    cdef int find(self, uint32_t at) noexcept
    cdef void note(self, uint32_t at, uint32_t start, uint32_t end) noexcept
    cdef int blocks(self, Range* out, int most) noexcept
    cdef uint32_t advance(self, uint32_t at) noexcept
    cdef void make_room(self) noexcept
    cdef void skip(self, int gone) noexcept
