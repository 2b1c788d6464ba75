from libc.stdlib cimport abort, free
from libc.string cimport memset

from simcore.engine.ahead cimport LINE

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef enum:
    SMALLEST = 8                    # most namespaces are containers that talk to a few
    LARGEST = 65536


cdef bint make_room(Ways* w, uint32_t places) noexcept nogil:
    """Forget all, and have so many places; False without memory for them."""
    free(w.known)
    w.known = <KnownWay*>aligned_alloc(LINE, places * sizeof(KnownWay))
    if w.known == NULL:
        return False
    w.mask = places - 1
    w.displaced = 0
    ways_clear(w)
    return True


cdef int ways_init(Ways* w) except -1:
    if not make_room(w, SMALLEST):
        raise MemoryError
    return 0


cdef void ways_free(Ways* w) noexcept nogil:
    free(w.known)
    w.known = NULL


cdef KnownWay* place_for(Ways* w, uint64_t addresses, uint32_t where) noexcept nogil:
    cdef uint32_t at = ways_place(w, addresses, where)
    return &w.known[at ^ 1] if w.known[at].where != 0 and w.known[at ^ 1].where == 0 else &w.known[at]


cdef void ways_note(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil:
    cdef uint32_t places = w.mask + 1
    cdef KnownWay* k = place_for(w, addresses, where)
    if k.where != 0:
        w.displaced += 1
        if w.displaced > places // 4 and places < LARGEST:
            if not make_room(w, 2 * places):
                abort()
            k = place_for(w, addresses, where)
    k.addresses = addresses
    k.where = where
    k.way = way[0]


cdef void ways_clear(Ways* w) noexcept nogil:
    memset(w.known, 0, (<size_t>w.mask + 1) * sizeof(KnownWay))
