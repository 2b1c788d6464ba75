"""A hash map from 64-bit keys to 64-bit values: neighbours, FDB, sockets, route cache."""
from libc.stdint cimport uint32_t, uint64_t

cdef class U64Map:
    cdef uint64_t* keys
    cdef uint64_t* values
    cdef unsigned char* used
    cdef uint32_t mask
    cdef uint32_t count
    cdef void allocate(self, uint32_t room) noexcept
    cdef bint get(self, uint64_t key, uint64_t* value) noexcept
    cdef void put(self, uint64_t key, uint64_t value) noexcept
    cdef void remove(self, uint64_t key) noexcept
    cdef void clear(self) noexcept
