from libc.stdlib cimport abort, calloc, free
from libc.string cimport memset

cdef enum:
    SMALLEST = 8                    # most namespaces are containers that talk to a few
    LARGEST = 4096


cdef class WayCache:
    """One place for each hash: a newer decision displaces an older one, and where that happens often the cache grows.

    Nothing in it may outlive a change of what decisions rest on: whoever changes addresses or routes clears it.
    """

    def __cinit__(self):
        self.known = <KnownWay*>calloc(SMALLEST, sizeof(KnownWay))
        if self.known == NULL:
            raise MemoryError
        self.mask = SMALLEST - 1

    def __dealloc__(self):
        free(self.known)

    cdef void note(self, uint64_t addresses, uint32_t where, const Way* way) noexcept:
        cdef KnownWay* k = self.place(addresses, where)
        cdef uint32_t room = self.mask + 1
        if k.where != 0:
            self.displaced += 1
            if self.displaced > room and room < LARGEST:
                free(self.known)
                self.known = <KnownWay*>calloc(2 * room, sizeof(KnownWay))
                if self.known == NULL:
                    abort()
                self.mask = 2 * room - 1
                self.displaced = 0
                k = self.place(addresses, where)
        k.addresses = addresses
        k.where = where
        k.way = way[0]

    cdef void clear(self) noexcept:
        memset(self.known, 0, (<size_t>self.mask + 1) * sizeof(KnownWay))
