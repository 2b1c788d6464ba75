"""Random draws for compiled code, taken from a NumPy generator a few thousand at a time."""

cdef double* start_of(object array)

cdef class Draws:
    cdef object rng
    cdef object uniforms        # ndarrays that own what the pointers see
    cdef object normals
    cdef object exponentials
    cdef double* u
    cdef double* z
    cdef double* e
    cdef int at_u
    cdef int at_z
    cdef int at_e
    cdef double uniform(self) noexcept
    cdef double normal(self) noexcept
    cdef double exponential(self) noexcept
