from libc.stdlib cimport abort, calloc, free
from libc.string cimport memset


cdef class U64Map:
    """Open addressing, linear probing, deletion by shifting back: no tombstones."""

    def __cinit__(self):
        self.allocate(16)

    cdef void allocate(self, uint32_t room) noexcept:
        self.keys = <uint64_t*>calloc(room, 8)
        self.values = <uint64_t*>calloc(room, 8)
        self.used = <unsigned char*>calloc(room, 1)
        if self.keys == NULL or self.values == NULL or self.used == NULL:
            abort()
        self.mask = room - 1
        self.count = 0

    def __dealloc__(self):
        free(self.keys)
        free(self.values)
        free(self.used)

    cdef void put(self, uint64_t key, uint64_t value) noexcept:
        cdef uint32_t i, n
        cdef uint64_t* keys
        cdef uint64_t* values
        cdef unsigned char* used
        if 2 * (self.count + 1) > self.mask:
            keys, values, used, n = self.keys, self.values, self.used, self.mask + 1
            self.allocate(2 * n)
            for i in range(n):
                if used[i]:
                    self.put(keys[i], values[i])
            free(keys)
            free(values)
            free(used)
        i = mix(key) & self.mask
        while self.used[i]:
            if self.keys[i] == key:
                self.values[i] = value
                return
            i = (i + 1) & self.mask
        self.used[i] = 1
        self.keys[i] = key
        self.values[i] = value
        self.count += 1

    cdef void remove(self, uint64_t key) noexcept:
        cdef uint32_t i = mix(key) & self.mask, j, home
        while self.used[i]:
            if self.keys[i] == key:
                break
            i = (i + 1) & self.mask
        if not self.used[i]:
            return
        self.count -= 1
        j = i
        while True:
            j = (j + 1) & self.mask
            if not self.used[j]:
                break
            home = mix(self.keys[j]) & self.mask
            if ((j - home) & self.mask) >= ((j - i) & self.mask):
                self.keys[i] = self.keys[j]
                self.values[i] = self.values[j]
                i = j
        self.used[i] = 0

    cdef void clear(self) noexcept:
        memset(self.used, 0, self.mask + 1)
        self.count = 0
