from libc.stdlib cimport abort, calloc, free
from libc.string cimport memset

cdef enum:
    SMALLEST = 8                    # most namespaces are containers that talk to a few
    LARGEST = 16384


cdef int ways_init(Ways* w) except -1:
    w.known = <KnownWay*>calloc(SMALLEST, sizeof(KnownWay))
    if w.known == NULL:
        raise MemoryError
    w.mask = SMALLEST - 1
    w.displaced = 0
    return 0


cdef void ways_free(Ways* w) noexcept nogil:
    free(w.known)
    w.known = NULL


cdef void ways_note(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil:
    cdef KnownWay* k = ways_place(w, addresses, where)
    cdef uint32_t room = w.mask + 1
    if k.where != 0:
        w.displaced += 1
        if w.displaced > room and room < LARGEST:
            free(w.known)
            w.known = <KnownWay*>calloc(2 * room, sizeof(KnownWay))
            if w.known == NULL:
                abort()
            w.mask = 2 * room - 1
            w.displaced = 0
            k = ways_place(w, addresses, where)
    k.addresses = addresses
    k.where = where
    k.way = way[0]


cdef void ways_clear(Ways* w) noexcept nogil:
    memset(w.known, 0, (<size_t>w.mask + 1) * sizeof(KnownWay))
