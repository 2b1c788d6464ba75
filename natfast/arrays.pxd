"""What callers hand over: times, columns and lengths, checked before anything looks at them."""
from libc.stdint cimport uint8_t, uint32_t

# A batch of frames as the caller has it: row i is `stride` bytes at `at` + i * stride, of which lengths[i] are the frame.
ctypedef struct Frames:
    uint8_t* at
    size_t stride
    uint32_t* lengths
    size_t count

cdef dict COLUMN_TYPES
cdef object times_of(object now, Py_ssize_t n, str what)
cdef object column(str name, values, Py_ssize_t n)
cdef void* pointer(dict arrays, str name) except? NULL
cdef int frames_of(frames, lengths, Frames* f) except -1
