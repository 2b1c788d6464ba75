import numpy as np

from libc.stdint cimport uintptr_t

cdef enum:
    BATCH = 2048
    FIRST = 32                  # of exponential ones


cdef double* start_of(object array):
    """The memory of a float64 array; whoever keeps the pointer keeps the array."""
    return <double*><uintptr_t>array.ctypes.data


cdef class Draws:
    """Draws from one named stream.

    Parameters
    ----------
    rng : numpy.random.Generator
        Only this object may draw from it: batches are taken ahead.
    """

    def __init__(self, rng):
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng: expected numpy.random.Generator, got {type(rng).__name__}")
        self.rng = rng
        self.at_u = self.at_z = BATCH
        self.at_e = self.n_e = 0

    cdef double uniform(self) noexcept:
        """In [0, 1)."""
        if self.at_u == BATCH:
            self.uniforms = self.rng.random(BATCH)
            self.u = start_of(self.uniforms)
            self.at_u = 0
        self.at_u += 1
        return self.u[self.at_u - 1]

    cdef double normal(self) noexcept:
        """Mean 0, standard deviation 1."""
        if self.at_z == BATCH:
            self.normals = self.rng.standard_normal(BATCH)
            self.z = start_of(self.normals)
            self.at_z = 0
        self.at_z += 1
        return self.z[self.at_z - 1]

    cdef double exponential(self) noexcept:
        """Mean 1."""
        if self.at_e == self.n_e:
            # thousands of sources that each send little would spend their time on draws that nobody uses
            self.n_e = min(BATCH, 4 * self.n_e) if self.n_e else FIRST
            self.exponentials = self.rng.standard_exponential(self.n_e)
            self.e = start_of(self.exponentials)
            self.at_e = 0
        self.at_e += 1
        return self.e[self.at_e - 1]
