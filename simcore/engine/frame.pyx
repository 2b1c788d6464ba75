from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memset

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* addr, size_t length, int advice)
    enum: MADV_HUGEPAGE

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** p, size_t alignment, size_t size)

cdef enum:
    SLAB = 512                  # frames allocated at a time ...
    FEW = 8 * SLAB              # ... until there are so many; then by huge pages, as tens of thousands in flight miss the TLB
    HUGE_PAGE = 2 << 20         # bytes

cdef Frame* _free = NULL
cdef long _made = 0
cdef uint64_t _next_id = 1
cdef long _live = 0


cdef void more() noexcept:
    """Make free frames."""
    global _free, _made
    cdef void* slab = NULL
    cdef long n = SLAB, i
    if _made < FEW:
        slab = malloc(SLAB * sizeof(Frame))
    elif posix_memalign(&slab, HUGE_PAGE, HUGE_PAGE) == 0:
        madvise(slab, HUGE_PAGE, MADV_HUGEPAGE)
        n = HUGE_PAGE // sizeof(Frame)
    if slab == NULL:
        abort()                 # as Python itself would
    for i in range(n):
        (<Frame*>slab)[i].next = _free
        _free = &(<Frame*>slab)[i]
    _made += n


cdef Frame* grab() noexcept:
    global _free, _live
    if _free == NULL:
        more()
    cdef Frame* f = _free
    _free = f.next
    _live += 1
    return f


cdef Frame* frame_new(uint32_t have, uint32_t length) noexcept:
    """A frame of `length` bytes, the first `have` of them in memory and not yet written."""
    global _next_id
    cdef Frame* f = grab()
    f.len = length
    f.have = have
    f.next = NULL
    f.pieces = NULL
    f.born = 0
    f.flow = 0
    f.mark = 0
    f.frag_max = 0
    f.packet_type = PACKET_HOST
    f.checksum_ok = 0
    f.id = _next_id
    _next_id += 1
    if have <= FRAME_ROOM:
        f.data = f.room
    else:
        f.data = <uint8_t*>malloc(have)
        if f.data == NULL:
            abort()
    return f


cdef Frame* frame_copy(const Frame* f) noexcept:
    """A copy with an identity of its own on the wire but the same `id`: it is the same packet."""
    cdef Frame* g = frame_new(f.have, f.len)
    memcpy(g.data, f.data, f.have)
    g.born = f.born
    g.id = f.id
    g.flow = f.flow
    g.mark = f.mark
    g.frag_max = f.frag_max
    g.packet_type = f.packet_type
    g.checksum_ok = f.checksum_ok
    g.pieces = f.pieces
    if g.pieces != NULL:
        Py_INCREF(<object>g.pieces)
    return g


cdef Frame* frame_from_bytes(const uint8_t* p, uint32_t n) noexcept:
    cdef Frame* f = frame_new(n, n)
    memcpy(f.data, p, n)
    return f


cdef Frame* frame_of(data) except NULL:
    """A frame with the content of bytes or the like."""
    cdef Py_buffer view
    cdef Frame* f
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    f = frame_from_bytes(<const uint8_t*>view.buf, <uint32_t>view.len)
    PyBuffer_Release(&view)
    return f


cdef bint frame_extend(Frame* f, uint32_t have) noexcept:
    """Bring more of the frame into memory, as `frame_need` asks."""
    cdef uint8_t* data
    if have > f.len:
        return False
    if have > FRAME_ROOM or f.data != f.room:
        data = <uint8_t*>malloc(have)
        if data == NULL:
            abort()
        memcpy(data, f.data, f.have)
        if f.data != f.room:
            free(f.data)
        f.data = data
    memset(f.data + f.have, 0, have - f.have)
    f.have = have
    return True


cdef void frame_free(Frame* f) noexcept:
    global _free, _live
    if f.data != f.room:
        free(f.data)
    if f.pieces != NULL:
        Py_DECREF(<object>f.pieces)
    f.next = _free
    _free = f
    _live -= 1


cdef object frame_bytes(const Frame* f):
    """The frame as it is on the wire."""
    cdef bytes b = PyBytes_FromStringAndSize(NULL, f.len)
    cdef char* p = PyBytes_AS_STRING(b)
    cdef uint32_t n = f.have if f.have < f.len else f.len
    memcpy(p, f.data, n)
    memset(p + n, 0, f.len - n)
    return b


cdef void fq_clear(FrameQueue* q) noexcept:
    cdef Frame* f
    while True:
        f = fq_pop(q)
        if f == NULL:
            return
        frame_free(f)


cdef Frame* fq_pop_tail(FrameQueue* q) noexcept nogil:
    """Take the youngest frame: a walk, but only when a queue overflows."""
    cdef Frame* f = q.head
    cdef Frame* last = q.tail
    if last == NULL or f == last:
        return fq_pop(q)
    while f.next != last:
        f = f.next
    f.next = NULL
    q.tail = f
    q.packets -= 1
    q.bytes -= last.len
    return last


def live_frames():
    """Frames in use: a run that ends with none in flight has leaked none."""
    return _live


def reset_ids():
    """Start numbering frames from 1 again, so that runs in one process compare."""
    global _next_id
    _next_id = 1
