from libc.stdlib cimport abort, free, malloc
from libc.string cimport memset


cdef class U64Map:
    """Open addressing, linear probing, deletion by shifting back: no tombstones."""

    def __cinit__(self):
        self.allocate(16)

    cdef void allocate(self, uint32_t room) noexcept:
        self.cells = <Cell*>malloc(room * sizeof(Cell))           # which is aligned to 16 bytes, a cell
        if self.cells == NULL:
            abort()
        self.mask = room - 1
        self.clear()

    def __dealloc__(self):
        free(self.cells)

    cdef void put(self, uint64_t key, uint64_t value) noexcept:
        cdef uint32_t i, n
        cdef Cell* old
        cdef Cell* c
        if 2 * (self.count + 1) > self.mask:
            old, n = self.cells, self.mask + 1
            self.allocate(2 * n)
            for i in range(n):
                if is_used(&old[i]):
                    self.put(old[i].key, old[i].value)
            free(old)
        i = mix(key) & self.mask
        while True:
            c = &self.cells[i]
            if not is_used(c):
                break
            if c.key == key:
                c.value = value
                return
            i = (i + 1) & self.mask
        c.key = key
        c.value = value
        self.count += 1

    cdef void remove(self, uint64_t key) noexcept:
        cdef uint32_t i = mix(key) & self.mask, j, home
        while is_used(&self.cells[i]) and self.cells[i].key != key:
            i = (i + 1) & self.mask
        if not is_used(&self.cells[i]):
            return
        self.count -= 1
        j = i
        while True:
            j = (j + 1) & self.mask
            if not is_used(&self.cells[j]):
                break
            home = mix(self.cells[j].key) & self.mask
            if ((j - home) & self.mask) >= ((j - i) & self.mask):
                self.cells[i] = self.cells[j]
                i = j
        self.cells[i].key = ~<uint64_t>0

    cdef void clear(self) noexcept:
        memset(self.cells, 0xFF, (<size_t>self.mask + 1) * sizeof(Cell))
        self.count = 0
