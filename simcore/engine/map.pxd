"""A hash map from 64-bit keys to 64-bit values: neighbours, FDB, sockets."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t


cdef inline uint32_t mix(uint64_t k) noexcept nogil:
    k ^= k >> 33
    k *= <uint64_t>0xFF51AFD7ED558CCDULL
    k ^= k >> 29
    return <uint32_t>k


# A key and its value side by side: a look-up in a large map misses one cache line, not three.
ctypedef struct Cell:
    uint64_t key
    uint64_t value
    uint64_t used


@cython.final
cdef class U64Map:
    cdef Cell* cells
    cdef uint32_t mask
    cdef uint32_t count
    cdef void allocate(self, uint32_t room) noexcept

    cdef inline uint64_t* find(self, uint64_t key) noexcept nogil:
        """Where the key's value stands, until the next `put` or `remove`; NULL if there is none."""
        cdef uint32_t i = mix(key) & self.mask
        while self.cells[i].used:
            if self.cells[i].key == key:
                return &self.cells[i].value
            i = (i + 1) & self.mask
        return NULL

    cdef inline bint get(self, uint64_t key, uint64_t* value) noexcept nogil:
        cdef uint64_t* found = self.find(key)
        if found == NULL:
            return False
        value[0] = found[0]
        return True

    cdef void put(self, uint64_t key, uint64_t value) noexcept
    cdef void remove(self, uint64_t key) noexcept
    cdef void clear(self) noexcept
