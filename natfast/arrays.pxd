"""What callers hand over: times, columns and lengths, checked before anything looks at them."""
from libc.stdint cimport uint32_t

cdef dict COLUMN_TYPES
cdef object times_of(object now, Py_ssize_t n, str what)
cdef object column(str name, values, Py_ssize_t n)
cdef void* pointer(dict arrays, str name) except? NULL
cdef int refuse_longest(lengths, stride) except -1


cdef inline uint32_t longest(const uint32_t* lengths, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint32_t most = 0
    for i in range(n):
        most = lengths[i] if lengths[i] > most else most
    return most
