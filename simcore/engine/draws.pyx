import numpy as np

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uintptr_t
from numpy.random cimport bitgen_t

cdef extern from "numpy/random/distributions.h" nogil:
    void random_standard_uniform_fill(bitgen_t* bits, Py_ssize_t n, double* out)
    void random_standard_exponential_fill(bitgen_t* bits, Py_ssize_t n, double* out)
    void random_standard_normal_fill(bitgen_t* bits, Py_ssize_t n, double* out)


cdef double* start_of(object array):
    """The memory of a float64 array; whoever keeps the pointer keeps the array."""
    return <double*><uintptr_t>array.ctypes.data


cdef class Draws:
    """Draws from one named stream.

    Parameters
    ----------
    rng : numpy.random.Generator
        Only this object may draw from it: a few are made ahead.
    """

    def __init__(self, rng):
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng: expected numpy.random.Generator, got {type(rng).__name__}")
        self.rng = rng
        self.bits = <bitgen_t*>PyCapsule_GetPointer(rng.bit_generator.capsule, "BitGenerator")
        self.at_e = self.at_u = self.at_z = BATCH

    cdef double uniform(self) noexcept:
        """In [0, 1)."""
        if self.at_u == BATCH:
            random_standard_uniform_fill(self.bits, BATCH, self.u)
            self.at_u = 0
        self.at_u += 1
        return self.u[self.at_u - 1]

    cdef double normal(self) noexcept:
        """Mean 0, standard deviation 1."""
        if self.at_z == BATCH:
            random_standard_normal_fill(self.bits, BATCH, self.z)
            self.at_z = 0
        self.at_z += 1
        return self.z[self.at_z - 1]

    cdef double exponential(self) noexcept:
        """Mean 1."""
        if self.at_e == BATCH:
            self.exponentials()
            self.at_e = 0
        self.at_e += 1
        return self.e[self.at_e - 1]

    cdef const double* exponentials(self) noexcept:
        """The next BATCH of them, for who goes through them by himself: good until the next call."""
        random_standard_exponential_fill(self.bits, BATCH, self.e)
        self.at_e = BATCH
        return self.e
