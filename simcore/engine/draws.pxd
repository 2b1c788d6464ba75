"""Random draws for compiled code, taken from a NumPy generator a few thousand at a time."""

cdef double* start_of(object array)

cdef class Draws:
    cdef double* e
    cdef int at_e
    cdef int n_e
    cdef double* u
    cdef double* z
    cdef int at_u
    cdef int at_z
    cdef object rng
    cdef object uniforms        # ndarrays that own what the pointers see
    cdef object normals
    cdef object exponentials
    cdef double uniform(self) noexcept
    cdef double normal(self) noexcept
    cdef double exponential(self) noexcept
