"""A hash map from 63-bit keys to 64-bit values: neighbours, FDB, sockets."""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef inline uint32_t mix(uint64_t k) noexcept nogil:
    k ^= k >> 33
    k *= <uint64_t>0xFF51AFD7ED558CCDULL
    k ^= k >> 29
    return <uint32_t>k


# A key and its value side by side, and never on two cache lines: a look-up in a large map misses one.
ctypedef struct Cell:
    uint64_t key                # all ones if the cell is free
    uint64_t value


cdef inline uint64_t key_from(uint64_t hash) noexcept nogil:
    """A key from which those whose hashes are equal can count up."""
    return hash >> 2


cdef inline bint is_used(const Cell* c) noexcept nogil:
    return <int64_t>c.key >= 0


@cython.final
cdef class U64Map:
    cdef Cell* cells
    cdef uint32_t mask
    cdef uint32_t count
    cdef void allocate(self, uint32_t room) noexcept

    cdef inline uint64_t* find(self, uint64_t key) noexcept nogil:
        """Where the key's value stands, until the next `put` or `remove`; NULL if there is none."""
        cdef uint32_t i = mix(key) & self.mask
        cdef Cell* c = &self.cells[i]
        while c.key != key:
            if not is_used(c):
                return NULL
            i = (i + 1) & self.mask
            c = &self.cells[i]
        return &c.value

    cdef inline bint get(self, uint64_t key, uint64_t* value) noexcept nogil:
        cdef uint64_t* found = self.find(key)
        if found == NULL:
            return False
        value[0] = found[0]
        return True

    cdef void put(self, uint64_t key, uint64_t value) noexcept
    cdef void remove(self, uint64_t key) noexcept
    cdef void clear(self) noexcept
