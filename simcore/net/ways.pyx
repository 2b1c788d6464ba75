from libc.stdlib cimport abort, free
from libc.string cimport memset

from simcore.engine.ahead cimport LINE, Trail, trail_add

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef enum:
    SMALLEST = 8                    # most namespaces are containers that talk to a few
    LARGEST = 65536


cdef bint make_room(Ways* w, uint32_t places) noexcept nogil:
    """Have so many places, all free; False without memory for them."""
    w.known = <KnownWay*>aligned_alloc(2 * LINE, places * sizeof(KnownWay))
    if w.known == NULL:
        return False
    w.mask = places - 1
    empty(w)
    return True


cdef int ways_init(Ways* w) except -1:
    if not make_room(w, SMALLEST):
        raise MemoryError
    return 0


cdef void grow(Ways* w) noexcept nogil:
    cdef Ways old = w[0]
    cdef uint32_t i
    if not make_room(w, 2 * (old.mask + 1)):
        abort()
    for i in range(old.mask + 1):
        if old.known[i].where != 0:
            put(w, old.known[i].addresses, old.known[i].where, &old.known[i].way)
    free(old.known)


cdef void ways_free(Ways* w) noexcept nogil:
    free(w.known)
    w.known = NULL


cdef void put(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil:
    cdef uint32_t at = ways_place(w, addresses, where)
    cdef KnownWay* k = &w.known[at ^ 1] if w.known[at].where != 0 and w.known[at ^ 1].where == 0 else &w.known[at]
    w.used += k.where == 0
    k.addresses = addresses
    k.where = where
    k.way = way[0]


cdef void ways_note(Ways* w, uint64_t addresses, uint32_t where, const Way* way) noexcept nogil:
    """Remember a decision that is not known."""
    if w.used > w.mask // 3 and w.mask + 1 < LARGEST:
        grow(w)
    put(w, addresses, where, way)


cdef void empty(Ways* w) noexcept nogil:
    memset(w.known, 0, (<size_t>w.mask + 1) * sizeof(KnownWay))
    w.used = 0


cdef void ways_clear(Ways* w) noexcept nogil:
    """What decisions rest on has changed: none holds any more."""
    empty(w)
    w.changes += 1


cdef const KnownWay* ways_trail(const Ways* w, uint64_t addresses, uint32_t where, Trail* t) noexcept nogil:
    """The decision, NULL if it is not known; what looking for it touches is added to the trail."""
    cdef const KnownWay* k = ways_find(w, addresses, where)
    cdef uint32_t at = ways_place(w, addresses, where)
    if k == &w.known[at]:
        trail_add(t, k, sizeof(KnownWay))
    elif k != NULL:
        trail_add(t, &w.known[at & ~1], 2 * sizeof(KnownWay))
    return k
