"""Random draws for compiled code, the same that a NumPy generator gives Python."""
from numpy.random cimport bitgen_t

cdef enum:
    BATCH = 32                  # draws made at a time: few, for thousands of sources that each send little

cdef double* start_of(object array)

cdef class Draws:
    cdef bitgen_t* bits
    cdef int at_e
    cdef double e[BATCH]
    cdef int at_u
    cdef double u[BATCH]
    cdef int at_z
    cdef double z[BATCH]
    cdef object rng             # owns `bits`
    cdef double uniform(self) noexcept
    cdef double normal(self) noexcept
    cdef double exponential(self) noexcept
    cdef const double* exponentials(self) noexcept
